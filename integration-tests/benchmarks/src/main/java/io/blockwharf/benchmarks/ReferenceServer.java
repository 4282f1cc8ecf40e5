package io.blockwharf.benchmarks;

import java.io.EOFException;
import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ClosedChannelException;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * An NBD server that does for a request only what no server can avoid, and so shows how far any
 * server can get on this machine with this load generator. A platform thread per connection takes
 * all requests that are there with one read and answers them with one write.
 *
 * <p>With a file it reads and writes that, one plain call per request; it knows no other command,
 * checks nothing and waits for the disk. Without one it makes up the data that the {@link DataFile}
 * would have and forgets what is written.
 */
final class ReferenceServer {
    /** As in the daemon, reads from here on leave by sendfile. */
    private static final int FILE_THRESHOLD = 64 << 10;

    private final SocketChannel channel;
    private final long size;
    private final Optional<FileChannel> file;
    private boolean structured;

    private ReferenceServer(SocketChannel channel, long size, Optional<FileChannel> file) {
        this.channel = channel;
        this.size = size;
        this.file = file;
    }

    /**
     * Arguments: path of the socket, size of the export in bytes, path of the file if there is one.
     */
    public static void main(String[] arguments) throws IOException {
        var socket = Path.of(arguments[0]);
        Files.deleteIfExists(socket);
        Optional<FileChannel> file = Optional.empty();
        if (arguments.length > 2) {
            file =
                    Optional.of(
                            FileChannel.open(
                                    Path.of(arguments[2]),
                                    StandardOpenOption.READ,
                                    StandardOpenOption.WRITE));
        }
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(socket));
            serve(listener, Long.parseLong(arguments[1]), file);
        }
    }

    /** Serves clients until the listener is closed. */
    static void serve(ServerSocketChannel listener, long size, Optional<FileChannel> file)
            throws IOException {
        try {
            while (true) {
                var server = new ReferenceServer(listener.accept(), size, file);
                Thread.ofPlatform().daemon().start(server::run);
            }
        } catch (ClosedChannelException e) {
            // the end
        }
    }

    private void run() {
        try (channel) {
            if (negotiate()) {
                transmit();
            }
        } catch (IOException e) {
            // the client has gone
        }
    }

    private boolean negotiate() throws IOException {
        var out = ByteBuffer.allocate(64);
        write(out.putLong(Wire.NBDMAGIC).putLong(Wire.IHAVEOPT).putShort((short) 3));
        if (!fill(ByteBuffer.allocate(4))) {
            return false;
        }
        while (true) {
            var header = ByteBuffer.allocate(16);
            if (!fill(header)) {
                return false;
            }
            int option = header.getInt(8);
            if (!fill(ByteBuffer.allocate(header.getInt(12)))) {
                return false;
            }
            if (option == Wire.OPT_GO) {
                reply(out, option, Wire.REP_INFO, 12);
                out.putShort((short) Wire.INFO_EXPORT).putLong(size).putShort((short) 1);
                write(out);
            } else if (option == Wire.OPT_STRUCTURED_REPLY) {
                structured = true;
            }
            write(reply(out, option, Wire.REP_ACK, 0));
            if (option == Wire.OPT_GO) {
                return true;
            }
        }
    }

    private void transmit() throws IOException {
        var in = ByteBuffer.allocateDirect(256 << 10).limit(0);
        var out = ByteBuffer.allocateDirect(1 << 20);
        DataFile.fill(out);
        while (true) {
            if (in.remaining() < Wire.REQUEST_BYTES) {
                write(out);
                in.compact();
                if (channel.read(in) < 0) {
                    return;
                }
                in.flip();
                continue;
            }
            int at = in.position();
            int command = in.getShort(at + 6);
            long cookie = in.getLong(at + 8);
            long offset = in.getLong(at + 16);
            int length = in.getInt(at + 24);
            in.position(at + Wire.REQUEST_BYTES);
            if (command == Wire.CMD_DISC) {
                return;
            }
            boolean read = command == Wire.CMD_READ;
            if (out.remaining() < Wire.CHUNK_BYTES + 8 + (read ? length : 0)) {
                write(out);
            }
            if (!read) {
                take(in, out, offset, length);
            }
            if (read && structured) {
                out.putInt(Wire.STRUCTURED_REPLY_MAGIC)
                        .putShort((short) Wire.CHUNK_DONE)
                        .putShort((short) Wire.CHUNK_OFFSET_DATA)
                        .putLong(cookie)
                        .putInt(8 + length)
                        .putLong(offset);
            } else {
                out.putInt(Wire.SIMPLE_REPLY_MAGIC).putInt(0).putLong(cookie);
            }
            if (read) {
                give(out, offset, length);
            }
        }
    }

    /** Puts the data of a read behind its header. */
    private void give(ByteBuffer out, long offset, int length) throws IOException {
        if (file.isEmpty()) {
            DataFile.mark(out, out.position(), offset, length);
            out.position(out.position() + length);
        } else if (length >= FILE_THRESHOLD) {
            write(out);
            long at = offset;
            while (at < offset + length) {
                at += file.get().transferTo(at, offset + length - at, channel);
            }
        } else {
            out.limit(out.position() + length);
            for (long at = offset; out.hasRemaining(); ) {
                int n = file.get().read(out, at);
                if (n < 0) {
                    throw new EOFException("the file is shorter than it was");
                }
                at += n;
            }
            out.limit(out.capacity());
        }
    }

    /** Takes the payload of a write, as it arrives. */
    private void take(ByteBuffer in, ByteBuffer out, long offset, int length) throws IOException {
        int left = length;
        while (true) {
            int step = Math.min(left, in.remaining());
            if (file.isEmpty()) {
                in.position(in.position() + step);
            } else {
                int limit = in.limit();
                in.limit(in.position() + step);
                for (long at = offset + length - left; in.hasRemaining(); ) {
                    at += file.get().write(in, at);
                }
                in.limit(limit);
            }
            left -= step;
            if (left == 0) {
                return;
            }
            write(out);
            if (channel.read(in.clear()) < 0) {
                throw new EOFException("the client has gone");
            }
            in.flip();
        }
    }

    private static ByteBuffer reply(ByteBuffer out, int option, int type, int length) {
        return out.putLong(Wire.OPTION_REPLY_MAGIC).putInt(option).putInt(type).putInt(length);
    }

    private boolean fill(ByteBuffer buffer) throws IOException {
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                return false;
            }
        }
        return true;
    }

    private void write(ByteBuffer out) throws IOException {
        out.flip();
        while (out.hasRemaining()) {
            channel.write(out);
        }
        out.clear();
    }
}

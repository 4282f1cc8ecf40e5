package io.blockwharf.benchmarks;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * An NBD server without a disk: it makes up the data that the {@link DataFile} would have and
 * forgets what is written. It does for a request only what no server can avoid, and so shows how
 * far the load generator goes. Serves one client at a time, and only this module's client.
 */
final class NullServer {
    private final SocketChannel channel;
    private final long size;
    private boolean structured;

    private NullServer(SocketChannel channel, long size) {
        this.channel = channel;
        this.size = size;
    }

    /** Arguments: path of the socket, size of the export in bytes. */
    public static void main(String[] arguments) throws IOException {
        var socket = Path.of(arguments[0]);
        Files.deleteIfExists(socket);
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(socket));
            serve(listener, Long.parseLong(arguments[1]));
        }
    }

    /** Serves one client after the other until the listener is closed. */
    static void serve(ServerSocketChannel listener, long size) throws IOException {
        while (true) {
            try (SocketChannel channel = listener.accept()) {
                var server = new NullServer(channel, size);
                if (server.negotiate()) {
                    server.transmit();
                }
            } catch (java.nio.channels.ClosedChannelException e) {
                return;
            }
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
        long skip = 0;
        while (true) {
            if (skip > 0) {
                int step = (int) Math.min(skip, in.remaining());
                in.position(in.position() + step);
                skip -= step;
            }
            if (skip > 0 || in.remaining() < Wire.REQUEST_BYTES) {
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
                DataFile.mark(out, out.position(), offset, length);
                out.position(out.position() + length);
            } else {
                skip = length;
            }
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

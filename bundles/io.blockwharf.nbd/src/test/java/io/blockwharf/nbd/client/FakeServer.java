package io.blockwharf.nbd.client;

import io.blockwharf.linux.SocketAddress;

import java.io.DataInputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A server that does what a test says: one script per connection, the last one for all further
 * ones. It shares no code with the client.
 */
final class FakeServer implements AutoCloseable {
    /** What to do with a client; the connection is closed behind it. */
    @FunctionalInterface
    interface Script {
        void serve(Peer peer) throws IOException;
    }

    /** A request as it came. */
    record Asked(int flags, int type, long cookie, long offset, int length, byte[] payload) {}

    /** A client. */
    static final class Peer {
        private final DataInputStream in;
        private final OutputStream out;

        Peer(SocketChannel channel) {
            in = new DataInputStream(Channels.newInputStream(channel));
            out = Channels.newOutputStream(channel);
        }

        void send(ServerBytes bytes) throws IOException {
            out.write(bytes.bytes());
        }

        /** Lets the client have structured replies and base:allocation, number 7. */
        void negotiate(long size, int flags) throws IOException {
            send(new ServerBytes().greeting());
            in.readInt();
            while (true) {
                in.readLong();
                int option = in.readInt();
                in.readNBytes(in.readInt());
                switch (option) {
                    case ServerBytes.EXTENDED ->
                            send(new ServerBytes().reply(option, ServerBytes.UNSUP));
                    case ServerBytes.SET_CONTEXT ->
                            send(
                                    new ServerBytes()
                                            .context(7, "base:allocation")
                                            .reply(option, ServerBytes.ACK));
                    case ServerBytes.GO -> {
                        send(new ServerBytes().export(size, flags).reply(option, ServerBytes.ACK));
                        return;
                    }
                    default -> send(new ServerBytes().reply(option, ServerBytes.ACK));
                }
            }
        }

        Asked next() throws IOException {
            in.readInt();
            int flags = in.readUnsignedShort();
            int type = in.readUnsignedShort();
            long cookie = in.readLong();
            long offset = in.readLong();
            int length = in.readInt();
            byte[] payload = type == 1 ? in.readNBytes(length) : new byte[0];
            return new Asked(flags, type, cookie, offset, length, payload);
        }

        /** Serves a disk until the client goes. */
        void serve(byte[] disk) throws IOException {
            while (true) {
                Asked asked = next();
                if (asked.type() == 2) {
                    return;
                }
                answer(asked, disk);
            }
        }

        void answer(Asked asked, byte[] disk) throws IOException {
            int at = (int) asked.offset();
            ServerBytes reply = new ServerBytes();
            switch (asked.type()) {
                case 0 -> {
                    byte[] data = java.util.Arrays.copyOfRange(disk, at, at + asked.length());
                    reply.data(asked.cookie(), 1, asked.offset(), data);
                }
                case 1 -> {
                    System.arraycopy(asked.payload(), 0, disk, at, asked.length());
                    reply.simple(asked.cookie(), 0);
                }
                case 7 -> reply.status(asked.cookie(), 7, asked.length(), 0);
                default -> reply.simple(asked.cookie(), 0);
            }
            send(reply);
        }
    }

    private final Path path;
    private final List<Script> scripts;
    private final AtomicInteger connections = new AtomicInteger();
    private ServerSocketChannel listening;

    FakeServer(Path path, Script... scripts) throws IOException {
        this.path = path;
        this.scripts = List.of(scripts);
        listen();
    }

    SocketAddress address() {
        return new SocketAddress.Unix(path.toString());
    }

    int connections() {
        return connections.get();
    }

    void listen() throws IOException {
        Files.deleteIfExists(path);
        ServerSocketChannel socket = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        socket.bind(UnixDomainSocketAddress.of(path));
        listening = socket;
        Thread.ofPlatform().daemon().start(() -> accept(socket));
    }

    private void accept(ServerSocketChannel socket) {
        try {
            while (true) {
                SocketChannel channel = socket.accept();
                int number = connections.getAndIncrement();
                Script script = scripts.get(Math.min(number, scripts.size() - 1));
                Thread.ofPlatform().daemon().start(() -> serve(channel, script));
            }
        } catch (IOException e) {
            // the end of the test
        }
    }

    private static void serve(SocketChannel channel, Script script) {
        try (channel) {
            script.serve(new Peer(channel));
        } catch (IOException e) {
            // the client has gone
        }
    }

    /** Nobody can connect any more. */
    void deaf() throws IOException {
        listening.close();
        Files.deleteIfExists(path);
    }

    @Override
    public void close() throws IOException {
        deaf();
    }
}

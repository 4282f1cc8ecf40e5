package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;

/**
 * Clients that would have the daemon remember more than it wants: its memory stays bounded, and
 * others are served meanwhile. Limits are several times what was seen.
 */
class NbdMemoryIT {
    private static final int CLIENTS = 32;
    private static final long OPTION_MAGIC = 0x49484156454F5054L;
    private static final int REQUEST_MAGIC = 0x25609513;
    private static final int READ = 0;
    private static final int WRITE = 1;
    private static final int BLOCK_STATUS = 7;

    /** Most that the server may hold for a client, whatever it does. */
    private static final long PER_CLIENT_KIB = 4 << 10;

    @TempDir Path directory;

    /** Connects a client and leaves it in the middle of something. */
    private interface Misdeed {
        void commit(SocketChannel channel) throws IOException;
    }

    private void isBounded(Misdeed misdeed) throws IOException {
        Path socket = directory.resolve("s");
        Path image = Image.random(directory.resolve("image"), 64 * MIB);
        var clients = new ArrayList<SocketChannel>();
        try (var daemon = Daemon.serving(directory, socket, image, ",writable=on")) {
            String uri = "nbd+unix:///disk?socket=" + socket;
            Tools.run("nbdinfo", uri).ok();
            long before = residentKib(daemon);
            for (int i = 0; i < CLIENTS; i++) {
                var channel = QmpClient.unixChannel(socket);
                clients.add(channel);
                receive(channel, 18);
                channel.write(ByteBuffer.allocate(4).putInt(3).flip());
                misdeed.commit(channel);
            }
            assertEquals(Long.toString(64 * MIB), Tools.run("nbdinfo", "--size", uri).ok().strip());
            long grown = residentKib(daemon) - before;
            assertTrue(grown < CLIENTS * PER_CLIENT_KIB, () -> grown + " KiB more");
        } finally {
            for (SocketChannel client : clients) {
                client.close();
            }
        }
    }

    private static long residentKib(Daemon daemon) throws IOException {
        return Files.readString(Path.of("/proc", Long.toString(daemon.pid()), "status"))
                .lines()
                .filter(line -> line.startsWith("VmRSS:"))
                .mapToLong(line -> Long.parseLong(line.replaceAll("\\D", "")))
                .sum();
    }

    @Test
    void optionsWithoutEnd() throws IOException {
        // 32 MiB, the most that is not refused at sight, of which a part comes
        isBounded(
                channel -> {
                    channel.write(
                            ByteBuffer.allocate(16)
                                    .putLong(OPTION_MAGIC)
                                    .putInt(10)
                                    .putInt(32 << 20)
                                    .flip());
                    write(channel, ByteBuffer.allocate(8 << 20));
                });
    }

    @Test
    void aNegotiationThatGoesRoundInCircles() throws IOException {
        // Lists, contexts and structured replies again and again; the answers are not read
        isBounded(
                channel -> {
                    byte[] name = "disk".getBytes(StandardCharsets.UTF_8);
                    var round = ByteBuffer.allocate(256);
                    round.putLong(OPTION_MAGIC).putInt(8).putInt(0);
                    round.putLong(OPTION_MAGIC).putInt(3).putInt(0);
                    for (int option : new int[] {9, 10}) {
                        round.putLong(OPTION_MAGIC).putInt(option).putInt(8 + name.length);
                        round.putInt(name.length).put(name).putInt(0);
                    }
                    round.flip();
                    flood(channel, round, 4 << 20);
                });
    }

    @Test
    void requestsHalfSent() throws IOException {
        isBounded(
                channel -> {
                    enter(channel);
                    write(channel, request(WRITE, 0, 32 << 20));
                    write(channel, ByteBuffer.allocate((16 << 20) + 1));
                });
    }

    @Test
    void readsWhoseRepliesNobodyTakes() throws IOException {
        isBounded(
                channel -> {
                    enter(channel);
                    flood(channel, request(READ, 0, 32 << 20), 1 << 20);
                });
    }

    @Test
    void smallReadsByTheThousandWhoseRepliesNobodyTakes() throws IOException {
        isBounded(
                channel -> {
                    enter(channel);
                    flood(channel, request(READ, 4096, 4096), 4 << 20);
                });
    }

    @Test
    void questionsThatWereNotNegotiatedByTheThousand() throws IOException {
        isBounded(
                channel -> {
                    enter(channel);
                    flood(channel, request(BLOCK_STATUS, 0, 1 << 20), 4 << 20);
                });
    }

    /** NBD_OPT_EXPORT_NAME: simple replies, no further option. */
    private static void enter(SocketChannel channel) throws IOException {
        byte[] name = "disk".getBytes(StandardCharsets.UTF_8);
        channel.write(
                ByteBuffer.allocate(16 + name.length)
                        .putLong(OPTION_MAGIC)
                        .putInt(1)
                        .putInt(name.length)
                        .put(name)
                        .flip());
        receive(channel, 10);
    }

    private static ByteBuffer request(int type, long offset, int length) {
        return ByteBuffer.allocate(28)
                .putInt(REQUEST_MAGIC)
                .putShort((short) 0)
                .putShort((short) type)
                .putLong(1)
                .putLong(offset)
                .putInt(length)
                .flip();
    }

    private static void write(SocketChannel channel, ByteBuffer bytes) throws IOException {
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
    }

    /** Sends a message again and again, at most so many bytes, until the server takes no more. */
    private static void flood(SocketChannel channel, ByteBuffer message, int most)
            throws IOException {
        channel.configureBlocking(false);
        for (int sent = 0; sent < most; ) {
            int n = channel.write(message);
            if (n == 0) {
                break;
            }
            sent += n;
            if (!message.hasRemaining()) {
                message.rewind();
            }
        }
    }

    private static void receive(SocketChannel channel, int length) throws IOException {
        var buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            assertTrue(channel.read(buffer) >= 0, "closed");
        }
    }
}

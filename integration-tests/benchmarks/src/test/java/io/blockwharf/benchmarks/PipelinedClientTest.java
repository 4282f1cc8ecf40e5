package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Optional;

/** The client against the reference server, and against servers that lie. */
class PipelinedClientTest {
    private static final long SIZE = 16 << 20;
    private static final Duration SHORT = Duration.ofMillis(20);

    @TempDir Path directory;
    private Path socket;
    private ServerSocketChannel listener;

    @BeforeEach
    void listen() throws IOException {
        socket = directory.resolve("s");
        listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX);
        listener.bind(UnixDomainSocketAddress.of(socket));
    }

    @AfterEach
    void close() throws IOException {
        listener.close();
    }

    @ParameterizedTest(name = "{0} of {1} bytes, depth {2}, structured {3}, disk {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    RANDOM_READ      |   4096 |  1 | false | false
                    RANDOM_READ      |   4096 | 64 | false | true
                    RANDOM_READ      |   4096 | 16 | true  | false
                    RANDOM_WRITE     |   4096 |  1 | false | true
                    RANDOM_WRITE     |   4096 | 64 | true  | false
                    SEQUENTIAL_READ  | 262144 | 16 | false | false
                    SEQUENTIAL_READ  | 262144 | 16 | false | true
                    SEQUENTIAL_READ  | 262144 | 16 | true  | false
                    SEQUENTIAL_WRITE | 262144 | 16 | false | true
                    """)
    void everyRequestIsAnswered(
            Load.Access access, int bytes, int depth, boolean structured, boolean disk)
            throws IOException {
        Optional<FileChannel> file = Optional.empty();
        if (disk) {
            Path path = DataFile.create(directory.resolve("disk"), SIZE).path();
            file =
                    Optional.of(
                            FileChannel.open(
                                    path, StandardOpenOption.READ, StandardOpenOption.WRITE));
        }
        serve(SIZE, file);
        var load = new Load(access, bytes, depth, Load.Client.PIPELINED);
        try (var client = PipelinedClient.connect(socket, "any", structured)) {
            assertTrue(client.run(load, SHORT).requests() >= depth);
            assertTrue(
                    client.run(load, SHORT).requests() >= depth,
                    "a connection serves several runs");
        }
        if (file.isPresent()) {
            file.get().close();
        }
    }

    @Test
    void wrongDataIsNoticed() {
        assertLie(
                "wrong data",
                (request, out) -> {
                    simple(out, 0, request.getLong(8));
                    out.position(out.position() + 4096);
                });
    }

    @Test
    void anErrorIsNoticed() {
        assertLie(
                "error 5",
                (request, out) -> simple(out, 5, request.getLong(8)).position(16 + 4096));
    }

    @Test
    void aReplyToNothingIsNoticed() {
        assertLie("not in flight", (_, out) -> simple(out, 0, 7).position(16 + 4096));
    }

    @Test
    void whatIsNoReplyIsNoticed() {
        assertLie("not a reply", (_, out) -> out.putLong(1).putLong(2).putInt(3));
    }

    @Test
    void dataOfAnotherPlaceIsNoticed() {
        assertLie(
                "was not asked for",
                (request, out) -> {
                    chunk(out, Wire.CHUNK_OFFSET_DATA, request.getLong(8), 8 + 4096);
                    out.putLong(request.getLong(16) + 4096).position(out.position() + 4096);
                });
    }

    @Test
    void missingDataIsNoticed() {
        assertLie(
                "lacks 4096 bytes",
                (request, out) -> chunk(out, Wire.CHUNK_NONE, request.getLong(8), 0));
    }

    @Test
    void aServerThatLeavesIsNoticed() {
        serve(ch -> {});
        assertThrows(EOFException.class, () -> PipelinedClient.connect(socket, "any", false));
    }

    @Test
    void aServerOfAnotherProtocolIsNoticed() {
        serve(ch -> ch.write(ByteBuffer.allocate(18)));
        var e =
                assertThrows(
                        IOException.class, () -> PipelinedClient.connect(socket, "any", false));
        assertEquals("not a newstyle NBD server", e.getMessage());
    }

    /** What a lying server puts into its buffer for the first request. */
    private interface Lie {
        void answer(ByteBuffer request, ByteBuffer out);
    }

    private interface Conversation {
        void with(SocketChannel channel) throws IOException;
    }

    private void assertLie(String message, Lie lie) {
        serve(
                channel -> {
                    var out = ByteBuffer.allocate(8192);
                    out.putLong(Wire.NBDMAGIC).putLong(Wire.IHAVEOPT).putShort((short) 3);
                    channel.write(out.flip());
                    receive(channel, 4 + 16 + 4 + "any".length() + 2);
                    out.clear()
                            .putLong(Wire.OPTION_REPLY_MAGIC)
                            .putInt(Wire.OPT_GO)
                            .putInt(Wire.REP_INFO)
                            .putInt(12);
                    out.putShort((short) Wire.INFO_EXPORT).putLong(4096).putShort((short) 1);
                    out.putLong(Wire.OPTION_REPLY_MAGIC)
                            .putInt(Wire.OPT_GO)
                            .putInt(Wire.REP_ACK)
                            .putInt(0);
                    channel.write(out.flip());
                    ByteBuffer request = receive(channel, Wire.REQUEST_BYTES);
                    lie.answer(request, out.clear());
                    channel.write(out.flip());
                    receive(channel, 1);
                });
        var e =
                assertThrows(
                        IOException.class,
                        () -> {
                            try (var client = PipelinedClient.connect(socket, "any", false)) {
                                client.run(Load.random(false, 1, Load.Client.PIPELINED), SHORT);
                            }
                        });
        assertTrue(e.getMessage().contains(message), e.getMessage());
    }

    private static ByteBuffer simple(ByteBuffer out, int error, long cookie) {
        return out.putInt(Wire.SIMPLE_REPLY_MAGIC).putInt(error).putLong(cookie);
    }

    private static void chunk(ByteBuffer out, int type, long cookie, int length) {
        out.putInt(Wire.STRUCTURED_REPLY_MAGIC)
                .putShort((short) Wire.CHUNK_DONE)
                .putShort((short) type);
        out.putLong(cookie).putInt(length);
    }

    private static ByteBuffer receive(SocketChannel channel, int length) throws IOException {
        var buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining() && channel.read(buffer) >= 0) {}
        return buffer.flip();
    }

    private void serve(long size, Optional<FileChannel> file) {
        Thread.ofPlatform()
                .daemon()
                .start(
                        () -> {
                            try {
                                ReferenceServer.serve(listener, size, file);
                            } catch (IOException e) {
                                throw new UncheckedIOException(e);
                            }
                        });
    }

    private void serve(Conversation conversation) {
        Thread.ofPlatform()
                .daemon()
                .start(
                        () -> {
                            try (var channel = listener.accept()) {
                                conversation.with(channel);
                            } catch (IOException e) {
                                throw new UncheckedIOException(e);
                            }
                        });
    }
}

package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.linux.HostFile;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;

/** proto.md, "Transmission": on a thread of its own and on a loop, hot and cold, in all styles. */
@Timeout(120)
abstract class TransmissionTest {
    private static final long SIZE = 64 << 20;

    @TempDir Path directory;
    private TestServer server;
    private FakeNode node;
    private NbdExport export;
    private final List<HostFile> opened = new ArrayList<>();
    private final boolean onLoop;
    private final boolean cold;

    TransmissionTest(boolean onLoop, boolean cold) {
        this.onLoop = onLoop;
        this.cold = cold;
    }

    @BeforeEach
    void start() throws Exception {
        server = new TestServer(directory);
        node = new FakeNode(SIZE);
        node.cold = cold;
        export = server.export("disk", "", node, true, onLoop);
        server.export("ro", "", node, false, onLoop);
    }

    @AfterEach
    void stop() {
        server.close();
        assertEquals(0, node.openQueues());
        assertEquals(0, node.pins());
        opened.forEach(HostFile::close);
    }

    private Client client(int style, String... contexts) throws IOException {
        return Client.ready(server.socket, "disk", style, contexts);
    }

    private byte[] stored(long offset, int length) {
        return node.memory.asSlice(offset, length).toArray(ValueLayout.JAVA_BYTE);
    }

    private static byte[] random(int length, int seed) {
        byte[] bytes = new byte[length];
        new Random(seed).nextBytes(bytes);
        return bytes;
    }

    @ParameterizedTest(name = "style {0}: {1}+{2}")
    @CsvSource({
        "0, 0, 1", "8, 0, 1", "11, 0, 1",
        "0, 511, 4098", "8, 511, 4098", "11, 511, 4098",
        "0, 65536, 65536", "8, 65536, 65536", "11, 65536, 65536",
        "0, 4096, 1000000", "8, 4096, 1000000", "11, 4096, 1000000",
        "0, 0, 33554432", "8, 0, 33554432", "11, 0, 33554432",
        "0, 67108863, 1", "8, 67108863, 1", "11, 67108863, 1",
    })
    void readReturnsWhatIsStored(int style, long offset, int length) throws IOException {
        node.fill(offset, length, 3);
        try (Client client = client(style)) {
            assertArrayEquals(stored(offset, length), client.read(offset, length, 0));
        }
    }

    @ParameterizedTest(name = "style {0}: {1}+{2}")
    @CsvSource({
        "0, 0, 1", "8, 1, 1", "11, 2, 1",
        "0, 511, 4098", "8, 511, 4098", "11, 511, 4098",
        "8, 4096, 65536", "8, 4096, 65537", "11, 12345, 1000000",
        "0, 0, 33554432", "8, 1, 33554432", "11, 4096, 33554432",
    })
    void writeIsStored(int style, long offset, int length) throws IOException {
        for (int flags : new int[] {0, Client.FUA}) {
            byte[] data = random(length, length + flags);
            try (Client client = client(style)) {
                client.write(flags, 5, offset, data);
                assertEquals(0, client.result());
                assertArrayEquals(data, stored(offset, length));
                assertArrayEquals(data, client.read(offset, length, 0));
            }
        }
    }

    /** QEMU's client sends no PAYLOAD_LEN; the stream must not lose its step. */
    @Test
    void extendedWritesAreStoredWithoutTheirFlagToo() throws IOException {
        try (Client client = client(11)) {
            for (int length : new int[] {512, 1 << 20}) {
                byte[] data = random(length, length);
                client.send(client.header(Client.WRITE, 0, 7, 4096, length, length).put(data));
                assertEquals(0, client.result());
                assertArrayEquals(data, client.read(4096, length, 0));
            }
        }
    }

    @Test
    void writesWithFuaReachTheNodeWithFua() throws IOException {
        try (Client client = client(8)) {
            client.write(Client.FUA, 1, 4096, new byte[512]);
            assertEquals(0, client.result());
            client.write(Client.FUA, 1, 0, new byte[1 << 20]);
            assertEquals(0, client.result());
        }
        assertEquals(List.of("write 4096+512/1", "write 0+1048576/1"), node.calls());
    }

    /**
     * Commands without data: what reaches the node. RequestFlags: 1 FUA, 2 MAY_UNMAP, 4
     * NO_FALLBACK.
     */
    @ParameterizedTest(name = "{0} flags {1} -> {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    3 | 0  | 0    | 0      | flush
                    3 | 1  | 0    | 0      | flush
                    4 | 0  | 4096 | 8192   | discard 4096+8192
                    4 | 1  | 4096 | 8192   | discard 4096+8192, flush
                    6 | 0  | 4096 | 8192   | zero 4096+8192/2
                    6 | 1  | 4096 | 8192   | zero 4096+8192/3
                    6 | 2  | 4096 | 8192   | zero 4096+8192/0
                    6 | 16 | 4096 | 8192   | zero 4096+8192/6
                    6 | 19 | 4096 | 8192   | zero 4096+8192/5
                    6 | 0  | 0    | 67108864 | zero 0+67108864/2
                    4 | 0  | 0    | 67108864 | discard 0+67108864
                    5 | 0  | 0    | 4000000 |
                    4 | 0  | 4096 | 0      |
                    1 | 0  | 4096 | 0      |
                    0 | 0  | 4096 | 0      |
                    """)
    void commandsReachTheNode(int type, int flags, long offset, long length, String calls)
            throws IOException {
        for (int style : new int[] {0, 8, 11}) {
            node.calls.clear();
            try (Client client = client(style)) {
                int all = style == 11 && type == 1 ? flags | Client.PAYLOAD_LEN : flags;
                client.request(type, all, 9, offset, length);
                assertEquals(0, client.result());
            }
            assertEquals(calls == null ? "" : calls, String.join(", ", node.calls()));
        }
    }

    /** "Error values", and "Request types" for each command. Size: 64 MiB. */
    @ParameterizedTest(name = "{0} {1} flags {2} {3}+{4} -> {5} {6}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    disk | 0 | 0  | 67108864 | 1        | 22 | operation past EOF; From: 67108864, Len: 1, Size: 67108864
                    disk | 0 | 0  | 67108863 | 2        | 22 | operation past EOF; From: 67108863, Len: 2, Size: 67108864
                    disk | 0 | 0  | -1       | 1        | 22 | operation past EOF; From: 18446744073709551615, Len: 1, Size: 67108864
                    disk | 0 | 0  | 9223372036854775807 | 4096 | 22 | operation past EOF; From: 9223372036854775807, Len: 4096, Size: 67108864
                    disk | 0 | 0  | 0        | 33554433 | 75 | len (33554433) is larger than max len (33554432)
                    disk | 0 | 8  | 0        | 1        | 22 | unsupported flags for command read (got 0x8)
                    disk | 0 | 2  | 0        | 1        | 22 | unsupported flags for command read (got 0x2)
                    disk | 1 | 0  | 67108864 | 512      | 28 | operation past EOF; From: 67108864, Len: 512, Size: 67108864
                    disk | 1 | 4  | 0        | 512      | 22 | unsupported flags for command write (got 0x4)
                    ro   | 1 | 0  | 0        | 512      | 1  | Export is read-only
                    ro   | 1 | 0  | 0        | 1000000  | 1  | Export is read-only
                    ro   | 4 | 0  | 0        | 512      | 1  | Export is read-only
                    ro   | 6 | 0  | 0        | 512      | 1  | Export is read-only
                    disk | 6 | 0  | 67108864 | 1        | 28 | operation past EOF; From: 67108864, Len: 1, Size: 67108864
                    disk | 4 | 0  | 67108864 | 1        | 22 | operation past EOF; From: 67108864, Len: 1, Size: 67108864
                    disk | 5 | 0  | 67108864 | 1        | 22 | operation past EOF; From: 67108864, Len: 1, Size: 67108864
                    disk | 5 | 0  | 0        | 33554433 | 75 | len (33554433) is larger than max len (33554432)
                    disk | 7 | 0  | 0        | 4096     | 22 | CMD_BLOCK_STATUS not negotiated
                    disk | 3 | 2  | 0        | 0        | 22 | unsupported flags for command flush (got 0x2)
                    disk | 8 | 0  | 0        | 0        | 22 | invalid request type (8) received
                    disk | 65535 | 0 | 0     | 512      | 22 | invalid request type (65535) received
                    """)
    void refusedRequests(
            String name, int type, int flags, long offset, int length, int error, String text)
            throws IOException {
        for (int style : new int[] {0, 8, 11}) {
            try (Client client = Client.ready(server.socket, name, style)) {
                if (type == Client.WRITE) {
                    int all = style == 11 && flags != 0 ? flags | Client.PAYLOAD_LEN : flags;
                    client.write(all, 42, offset, new byte[length]);
                } else {
                    client.request(type, flags, 42, offset, length);
                }
                Client.Chunk chunk = client.chunk();
                assertEquals(42, chunk.cookie());
                if (style == 0) {
                    assertEquals(error == 75 ? 22 : error, chunk.error());
                } else {
                    String flagsText = style == 11 && type == 1 && flags != 0 ? "0x24" : "0x4";
                    assertEquals(text.replace("0x4)", flagsText + ")"), chunk.text());
                    assertEquals(error, chunk.error());
                }
                assertEquals(0, client.read(0, 1, 0)[0]); // the connection goes on
            }
        }
        assertEquals(List.of(), node.calls());
    }

    /** Whoever may be writing the image now: clients stay, and see it. */
    @ParameterizedTest
    @ValueSource(ints = {0, 8, 11})
    void onAnInactiveNodeNothingButLooksIsAdmitted(int style) throws IOException {
        node.fill(0, 4096, 1);
        try (Client client = client(style)) {
            node.inactive = true;
            for (int type : new int[] {1, 3, 4, 5, 6}) {
                if (type == Client.WRITE) {
                    client.write(0, 42, 0, new byte[512]);
                } else {
                    client.request(type, 0, 42, 0, type == 3 ? 0 : 512);
                }
                Client.Chunk chunk = client.chunk();
                assertEquals(1, chunk.error());
                if (style != 0) {
                    assertEquals("export is inactive", chunk.text());
                }
            }
            client.request(7, 0, 43, 0, 512);
            assertEquals(22, client.result()); // not negotiated: it is admitted
            assertEquals(List.of(), node.calls());
            assertArrayEquals(stored(0, 512), client.read(0, 512, 0));
            node.inactive = false;
            client.request(3, 0, 44, 0, 0);
            assertEquals(0, client.result());
            assertEquals(List.of("flush"), node.calls());
        }
    }

    /** The payload is not read: "if a payload length would be ... a denial of service attack". */
    @ParameterizedTest
    @ValueSource(ints = {0, 8, 11})
    void oversizeWriteIsAnsweredThenDisconnected(int style) throws IOException {
        try (Client client = client(style)) {
            client.request(
                    Client.WRITE, style == 11 ? Client.PAYLOAD_LEN : 0, 7, 0, (32 << 20) + 1);
            assertEquals(22, client.result());
            assertTrue(client.isClosed());
        }
    }

    @Test
    void failuresOfTheNodeAreAnswered() throws IOException {
        node.badOffset = 8192;
        Object[][] table = {
            {Errno.EIO, 5},
            {Errno.ENOSPC, 28},
            {Errno.EROFS, 1},
            {Errno.ENOMEM, 12},
            {Errno.EDQUOT, 28},
            {Errno.EFBIG, 28},
            {Errno.ETIMEDOUT, 5},
        };
        for (Object[] row : table) {
            node.failure = (Errno) row[0];
            for (int style : new int[] {0, 8, 11}) {
                try (Client client = client(style)) {
                    client.request(Client.READ, 0, 1, 8192, 4096);
                    assertEquals(row[1], client.result());
                    client.write(0, 2, 8192, new byte[4096]);
                    assertEquals(row[1], client.result());
                    client.write(0, 3, 8192, new byte[200_000]);
                    assertEquals(row[1], client.result());
                    assertEquals(0, client.read(0, 1, 0)[0]);
                }
            }
        }
    }

    @Test
    void fastZeroThatIsNotFastFails() throws IOException {
        node.badOffset = 0;
        try (Client client = client(8)) {
            client.request(Client.WRITE_ZEROES, Client.FAST_ZERO, 1, 0, 4096);
            assertEquals(95, client.result());
        }
    }

    /** NBD_REPLY_TYPE_OFFSET_HOLE: data, hole, data, hole. */
    @ParameterizedTest
    @ValueSource(ints = {8, 11})
    void holesAreSentAsHolesUnlessNotToBeFragmented(int style) throws IOException {
        node.fill(0, 4096, 1);
        node.fill(16384, 8192, 2);
        try (Client client = client(style)) {
            client.request(Client.READ, 0, 1, 0, 65536);
            List<Integer> types = client.reply().stream().map(Client.Chunk::type).toList();
            // What would block is fetched as one piece
            assertEquals(cold ? List.of(1) : List.of(1, 2, 1, 2), types);
            assertArrayEquals(stored(0, 65536), client.read(0, 65536, 0));
            client.request(Client.READ, Client.DF, 1, 0, 65536);
            assertEquals(List.of(1), client.reply().stream().map(Client.Chunk::type).toList());
            client.request(Client.READ, 0, 1, 32768, 32768);
            List<Client.Chunk> hole = client.reply();
            assertEquals(List.of(2), hole.stream().map(Client.Chunk::type).toList());
            assertEquals(32768, ByteBuffer.wrap(hole.getFirst().payload()).getInt(8));
        }
    }

    @Test
    void simpleRepliesHaveNoHoles() throws IOException {
        node.fill(4096, 4096, 1);
        try (Client client = client(0)) {
            assertArrayEquals(stored(0, 65536), client.read(0, 65536, 0));
        }
    }

    /** NBD_CMD_BLOCK_STATUS over data 4K, hole 12K, data 8K, hole. */
    @ParameterizedTest(name = "style {0} flags {1} {2}+{3} -> {4} | {5}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    8  | 0 | 0     | 65536 | 4096 0 12288 3 8192 0 67084288 3 | 4096 1 12288 0 8192 1 67084288 0
                    11 | 0 | 0     | 65536 | 4096 0 12288 3 8192 0 67084288 3 | 4096 1 12288 0 8192 1 67084288 0
                    8  | 8 | 0     | 65536 | 4096 0  | 4096 1
                    8  | 8 | 8192  | 4096  | 4096 3  | 4096 0
                    11 | 8 | 8192  | 65536 | 8192 3  | 8192 0
                    8  | 0 | 100   | 100   | 3996 0  | 3996 1
                    8  | 0 | 67108863 | 1  | 1 3     | 1 0
                    """)
    void blockStatus(
            int style, int flags, long offset, long length, String allocation, String depth)
            throws IOException {
        node.fill(0, 4096, 1);
        node.fill(16384, 8192, 2);
        try (Client client = client(style, "qemu:allocation-depth", "base:allocation")) {
            client.request(Client.BLOCK_STATUS, flags, 4, offset, length);
            List<Client.Chunk> chunks = client.reply();
            assertEquals(2, chunks.size());
            assertEquals("0: " + allocation, extents(chunks.get(0)));
            assertEquals("1: " + depth, extents(chunks.get(1)));
        }
    }

    private static String extents(Client.Chunk chunk) {
        ByteBuffer in = ByteBuffer.wrap(chunk.payload());
        StringBuilder text = new StringBuilder().append(in.getInt()).append(':');
        if (chunk.type() == Client.STATUS_EXT) {
            assertEquals(in.getInt(), in.remaining() / 16);
        }
        while (in.hasRemaining()) {
            boolean wide = chunk.type() == Client.STATUS_EXT;
            text.append(' ').append(wide ? in.getLong() : in.getInt());
            text.append(' ').append(wide ? in.getLong() : in.getInt());
        }
        return text.toString();
    }

    /** EXTENDED_HEADERS, NBD_CMD_BLOCK_STATUS with a payload of context ids. */
    @ParameterizedTest(name = "{0} -> {1}")
    @CsvSource({
        "0, 0",
        "1, 1",
        "'1 0', '0 1'",
        "'0 0', error",
        "2, error",
        "'', error",
        "'0 1 2', error"
    })
    void blockStatusOfChosenContexts(String ids, String answered) throws IOException {
        try (Client client = client(11, "qemu:allocation-depth", "base:allocation")) {
            int[] numbers =
                    ids.isEmpty()
                            ? new int[0]
                            : java.util.Arrays.stream(ids.split(" "))
                                    .mapToInt(Integer::parseInt)
                                    .toArray();
            int bytes = 8 + 4 * numbers.length;
            ByteBuffer out =
                    client.header(Client.BLOCK_STATUS, Client.PAYLOAD_LEN, 6, 4096, bytes, bytes);
            out.putLong(8192);
            for (int number : numbers) {
                out.putInt(number);
            }
            client.send(out);
            List<Client.Chunk> chunks = client.reply();
            if (answered.equals("error")) {
                assertEquals(22, chunks.getFirst().error());
            } else {
                List<String> found = new ArrayList<>();
                for (Client.Chunk chunk : chunks) {
                    found.add("" + ByteBuffer.wrap(chunk.payload()).getInt());
                }
                assertEquals(answered, String.join(" ", found));
            }
            assertEquals(0, client.read(0, 1, 0)[0]);
        }
    }

    @Test
    void blockStatusOfNothingIsRefused() throws IOException {
        try (Client client = client(8, "base:allocation")) {
            client.request(Client.BLOCK_STATUS, 0, 1, 0, 0);
            assertEquals("need non-zero length", client.chunk().text());
        }
    }

    @Test
    void thousandsOfExtentsComeInSeveralReplies() throws IOException {
        for (long at = 0; at < SIZE; at += 8192) {
            node.fill(at, 1, 1);
        }
        try (Client client = client(8, "base:allocation")) {
            long at = 0;
            int extents = 0;
            while (at < SIZE) {
                client.request(Client.BLOCK_STATUS, 0, 1, at, SIZE - at);
                ByteBuffer in = ByteBuffer.wrap(client.reply().getFirst().payload());
                in.getInt();
                while (in.hasRemaining()) {
                    at += in.getInt();
                    in.getInt();
                    extents++;
                }
            }
            assertEquals(SIZE, at);
            assertEquals(SIZE / 4096, extents);
        }
    }

    @Test
    void pipelinedRequestsAreAllAnswered() throws Exception {
        node.fill(0, 1 << 20, 3);
        int count = 5000;
        try (Client client = client(8)) {
            Thread sender =
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            for (int i = 0; i < count; i++) {
                                                long at = i * 997L % (1 << 18);
                                                if (i % 3 == 0) {
                                                    client.write(0, i, at + (1 << 19), new byte[i]);
                                                } else {
                                                    client.request(0, 0, i, at, 1 + i);
                                                }
                                            }
                                        } catch (IOException e) {
                                            throw new java.io.UncheckedIOException(e);
                                        }
                                    });
            Set<Long> seen = new HashSet<>();
            for (int i = 0; i < count; ) {
                Client.Chunk chunk = client.chunk();
                assertEquals(0, chunk.error());
                if (chunk.type() == Client.OFFSET_DATA) {
                    int at = (int) (chunk.cookie() * 997L % (1 << 18));
                    int offset = (int) ByteBuffer.wrap(chunk.payload()).getLong();
                    assertTrue(offset >= at);
                    byte[] data =
                            java.util.Arrays.copyOfRange(
                                    chunk.payload(), 8, chunk.payload().length);
                    assertArrayEquals(stored(offset, data.length), data);
                }
                if (chunk.done()) {
                    assertTrue(seen.add(chunk.cookie()));
                    i++;
                }
            }
            sender.join();
        }
    }

    /** Reads that arrive together: some at hand, some to wait for, one that fails. */
    @ParameterizedTest(name = "style {0}, {1} bytes")
    @CsvSource({
        "8, 1024",
        "11, 1024",
        "8, 4096",
        "11, 4096",
        "8, 32768",
        "11, 32768",
        "8, 32769",
        "8, 512"
    })
    void readsThatArriveTogetherAreAnsweredEachInItsWay(int style, int length) throws IOException {
        int count = 100;
        node.fill(0, SIZE, 3);
        node.coldAt = offset -> offset / 65536 % 5 < 2;
        node.badOffset = 42 * 65536;
        node.failure = Errno.EIO;
        try (Client client = client(style)) {
            ByteBuffer all = ByteBuffer.allocate(count * 32);
            for (int i = 0; i < count; i++) {
                all.put(client.header(Client.READ, 0, i, i * 65536L, length, 0).flip());
            }
            client.send(all);
            Set<Long> seen = new HashSet<>();
            while (seen.size() < count) {
                Client.Chunk chunk = client.chunk();
                assertTrue(chunk.done() && seen.add(chunk.cookie()));
                if (chunk.cookie() == 42) {
                    assertEquals(5, chunk.error());
                    continue;
                }
                ByteBuffer payload = ByteBuffer.wrap(chunk.payload());
                assertEquals(chunk.cookie() * 65536, payload.getLong());
                byte[] data = new byte[payload.remaining()];
                payload.get(data);
                assertArrayEquals(stored(chunk.cookie() * 65536, length), data);
            }
        }
    }

    /** A client that sends without reading can have what its socket holds, and no more. */
    @Test
    void clientThatDoesNotReadIsNotServedWithoutBound() throws Exception {
        node.fill(0, SIZE, 3);
        try (Client client = client(8);
                Client other = client(8)) {
            for (int i = 0; i < 200; i++) {
                client.request(Client.READ, 0, i, 0, 1 << 20);
            }
            assertArrayEquals(stored(0, 4096), other.read(0, 4096, 0));
            for (int i = 0; i < 200; i++) {
                assertEquals(0, client.result());
            }
        }
    }

    @Test
    void repliesComeInTheOrderOfTheDevice() throws Exception {
        node.cold = true;
        node.held = true;
        node.fill(0, 16384, 3);
        try (Client client = client(8)) {
            for (int i = 0; i < 4; i++) {
                client.request(Client.READ, 0, i, 4096L * i, 4096);
            }
            node.release(4);
            for (int i = 3; i >= 0; i--) {
                assertEquals(i, client.chunk().cookie());
            }
        }
    }

    @Test
    void hotRequestsOvertakeColdOnes() throws Exception {
        node.fill(0, 16384, 3);
        node.held = true;
        try (Client client = client(8)) {
            client.request(Client.FLUSH, 0, 1, 0, 0);
            node.cold = false;
            client.request(Client.READ, 0, 2, 0, 4096);
            assertEquals(2, client.chunk().cookie());
            node.release(1);
            assertEquals(1, client.chunk().cookie());
        }
    }

    /** No more than 16 at a time; the rest waits in the socket. */
    @Test
    void manyColdRequestsAreAnswered() throws Exception {
        node.cold = true;
        node.fill(0, 1 << 20, 3);
        try (Client client = client(11)) {
            for (int i = 0; i < 200; i++) {
                client.request(Client.READ, 0, i, 4096L * i, 4096);
            }
            Set<Long> seen = new HashSet<>();
            for (int i = 0; i < 200; i++) {
                seen.add(client.reply().getFirst().cookie());
            }
            assertEquals(200, seen.size());
        }
    }

    /** Memory for requests in flight is bounded; all of them are answered nevertheless. */
    @Test
    void largeColdRequestsAreAnswered() throws Exception {
        node.cold = true;
        node.fill(0, SIZE, 3);
        try (Client client = client(11)) {
            for (int i = 0; i < 8; i++) {
                client.request(Client.READ, 0, i, 0, 32 << 20);
            }
            for (int i = 0; i < 8; i++) {
                assertEquals(0, client.result());
            }
        }
    }

    /** NBD_CMD_DISC: "The server MUST handle all outstanding requests". */
    @Test
    void disconnectFinishesWhatIsInFlight() throws Exception {
        node.held = true;
        try (Client client = client(8)) {
            client.request(Client.WRITE_ZEROES, 0, 1, 0, 4096);
            client.request(Client.DISC, 0, 2, 0, 0);
            node.release(1);
            assertEquals(0, client.result());
            assertTrue(client.isClosed());
        }
    }

    /** Both arrive together, so the queue is born in the same turn in which the socket ends. */
    @Test
    void disconnectRightBehindARequestFinishesIt() throws Exception {
        node.held = true;
        try (Client client = client(8)) {
            client.requestAndLeave(Client.WRITE_ZEROES, 1, 0, 4096);
            node.release(1);
            assertEquals(0, client.result());
            assertTrue(client.isClosed());
        }
    }

    @Test
    void hardRemovalFinishesWhatIsInFlightAndFlushes() throws Exception {
        node.held = true;
        try (Client client = client(8)) {
            client.request(Client.WRITE_ZEROES, 0, 1, 0, 4096);
            Thread release =
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            node.release(1);
                                        } catch (InterruptedException e) {
                                            throw new AssertionError(e);
                                        }
                                    });
            release.join();
            assertTrue(export.inUse());
            export.requestShutdown();
            TestServer.awaitClosed(export);
            assertTrue(client.isClosed());
        }
        assertEquals(List.of("zero 0+4096/2", "flush"), node.calls());
    }

    /** Of a long write pieces are on the disk before the one that fails; they are made durable. */
    @Test
    void whatIsWrittenOfAWriteThatFailsIsFlushed() throws Exception {
        int length = 1 << 20; // more than the input holds: it is written as it arrives
        node.badOffset = length - 1;
        try (Client client = client(8)) {
            client.write(0, 1, 0, random(length, 1));
            assertEquals(5, client.result());
        }
        export.requestShutdown();
        TestServer.awaitClosed(export);
        assertEquals("flush", node.calls().getLast());
    }

    /** Removal mode hide: nobody new; those who are there are served until they leave. */
    @Test
    void hiddenExportServesItsClientsUntilTheyLeave() throws Exception {
        try (Client client = client(8)) {
            export.requestHide(false);
            assertFalse(export.closed().toCompletableFuture().isDone());
            client.write(0, 1, 0, new byte[512]);
            assertEquals(0, client.result());
            try (Client late = new Client(server.socket).greet(3)) {
                assertEquals(0x80000006, late.ask(7, Client.infoData("disk")).getLast().type());
            }
        }
        TestServer.awaitClosed(export);
        assertFalse(export.inUse());
    }

    /** Removal mode soft: "The error value ... SHOULD be NBD_ESHUTDOWN". */
    @Test
    void softlyRemovedExportRefusesRequests() throws Exception {
        try (Client client = client(8)) {
            export.requestHide(false);
            export.requestHide(true);
            client.request(Client.READ, 0, 1, 0, 512);
            Client.Chunk chunk = client.chunk();
            assertEquals(108, chunk.error());
            assertEquals("export is shutting down", chunk.text());
            client.write(0, 2, 0, new byte[100_000]);
            assertEquals(108, client.result());
            export.requestShutdown();
            TestServer.awaitClosed(export);
            assertTrue(client.isClosed());
        }
        assertEquals(List.of(), node.calls());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 8, 11})
    void garbageEndsTheConnection(int style) throws IOException {
        try (Client client = client(style)) {
            client.send(ByteBuffer.wrap(random(64, 1)).position(64));
            assertTrue(client.isClosed());
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 27, 28, 29, 5000, 100_000, 900_000})
    void halfARequestAndGone(int bytes) throws IOException {
        try (Client client = client(8)) {
            ByteBuffer all = client.header(Client.WRITE, 0, 1, 0, 1 << 20, 1 << 20);
            all.position(bytes);
            client.send(all);
        }
        try (Client client = client(8)) {
            assertEquals(0, client.read(8 << 20, 1, 0)[0]);
        }
    }

    /** Reads of 64 KiB and more come straight from the file. */
    @Test
    void filesAreSentWithoutCopying() throws Exception {
        node.fill(0, 4 << 20, 3);
        Path file = directory.resolve("file");
        Files.write(file, stored(0, 4 << 20));
        try (HostFile open = HostFile.open(file.toString())) {
            node.host = Optional.of(new HostExtent(open.fd(), 0, 0, 4 << 20));
            for (int style : new int[] {0, 8, 11}) {
                try (Client client = client(style)) {
                    for (int i = 0; i < 5; i++) {
                        client.request(Client.READ, 0, i, 100, 300_000);
                    }
                    for (int i = 0; i < 5; i++) {
                        if (style == 0) {
                            client.chunk();
                            assertArrayEquals(
                                    stored(100, 300_000), client.receive(300_000).array());
                        } else {
                            assertArrayEquals(
                                    stored(100, 300_000),
                                    java.util.Arrays.copyOfRange(
                                            client.reply().getFirst().payload(), 8, 300_008));
                        }
                    }
                }
            }
        }
    }

    private HostExtent fileOf(int bytes) throws IOException {
        node.cold = false; // only what is in memory is sent from a file
        node.fill(0, bytes, 3);
        Path file = Files.write(directory.resolve("file"), stored(0, bytes));
        HostFile open = HostFile.open(file.toString());
        opened.add(open);
        return new HostExtent(open.fd(), 0, 0, bytes);
    }

    /** More than sockets hold. */
    private static final int LONG = 32 << 20;

    private byte[] dataOf(Client client, int style, int length) throws IOException {
        if (style == 0) {
            assertEquals(0, client.chunk().error());
            return client.receive(length).array();
        }
        List<Client.Chunk> reply = client.reply();
        assertEquals(Client.NONE, reply.getLast().type());
        byte[] payload = reply.getFirst().payload();
        return java.util.Arrays.copyOfRange(payload, 8, payload.length);
    }

    @ParameterizedTest(name = "style {0}")
    @ValueSource(ints = {0, 8, 11})
    void aFileStaysOpenWhileItIsSent(int style) throws Exception {
        node.host = Optional.of(fileOf(LONG));
        try (Client client = client(style)) {
            client.request(Client.READ, 0, 1, 0, LONG);
            client.request(Client.READ, 0, 2, 512, 70_000);
            node.awaitPins(1);
            assertArrayEquals(stored(0, LONG), dataOf(client, style, LONG));
            assertArrayEquals(stored(512, 70_000), dataOf(client, style, 70_000));
            node.awaitPins(0);
            assertEquals(2, node.pinned());
        }
    }

    @Test
    void aClientThatLeavesLetsTheFileGo() throws Exception {
        node.host = Optional.of(fileOf(LONG));
        try (Client client = client(8)) {
            client.request(Client.READ, 0, 1, 0, LONG);
            node.awaitPins(1);
        }
        node.awaitPins(0);
        try (Client client = client(8)) {
            client.request(Client.READ, 0, 1, 0, LONG);
            node.awaitPins(1);
            export.requestShutdown();
            node.awaitPins(0);
            TestServer.awaitClosed(export);
        }
    }

    @Test
    void noFileIsSentWhileTheGraphChanges() throws Exception {
        HostExtent file = fileOf(1 << 20);
        node.fill(0, 1 << 20, 5); // the file is another one by now
        node.host = Optional.of(file);
        node.changing = true;
        try (Client client = client(8)) {
            assertArrayEquals(stored(100, 300_000), client.read(100, 300_000, 0));
            assertArrayEquals(stored(0, 65_536), client.read(0, 65_536, 0));
        }
        assertEquals(0, node.pinned());
    }

    /** sendfile(2) refuses odd positions then, and a socket is full at any of them. */
    @ParameterizedTest(name = "style {0}")
    @ValueSource(ints = {0, 8, 11})
    void aFileThatIsReopenedForDirectAccessIsSentOn(int style) throws Exception {
        node.host = Optional.of(fileOf(LONG));
        try (Client client = client(style)) {
            client.request(Client.READ, 0, 1, 1, LONG - 1);
            node.awaitPins(1);
            opened.getFirst().direct(true);
            assertArrayEquals(stored(1, LONG - 1), dataOf(client, style, LONG - 1));
            for (int offset : new int[] {0, 100, 4097}) {
                client.request(Client.READ, 0, 2, offset, 100_001);
                assertArrayEquals(stored(offset, 100_001), dataOf(client, style, 100_001));
            }
        }
    }

    /** NBD_CMD_READ: "MUST still complete the transmission of any current chunk"; or disconnect. */
    @Test
    void fileThatIsTooShortIsPaddedAndReported() throws Exception {
        node.cold = false; // only what is in memory is sent from a file
        node.fill(0, 1 << 20, 3);
        Path file = directory.resolve("file");
        Files.write(file, stored(0, 100_000));
        try (HostFile open = HostFile.open(file.toString())) {
            node.host = Optional.of(new HostExtent(open.fd(), 0, 0, 1 << 20));
            for (int style : new int[] {8, 11}) {
                try (Client client = client(style)) {
                    client.request(Client.READ, 0, 1, 0, 1 << 20);
                    List<Client.Chunk> chunks = client.reply();
                    assertEquals(2, chunks.size());
                    assertEquals((1 << 20) + 8, chunks.get(0).payload().length);
                    assertEquals(Client.ERROR_OFFSET, chunks.get(1).type());
                    assertEquals(5, chunks.get(1).error());
                    assertEquals(0, client.read(4096, 1, 0).length - 1);
                }
            }
            try (Client client = client(0)) {
                client.request(Client.READ, 0, 1, 0, 1 << 20);
                assertEquals(0, client.chunk().error());
                client.receive(100_000);
                assertTrue(client.isClosed());
            }
        }
    }

    /** A resize: who is connected keeps the size that it knows, and fails cleanly past the end. */
    @Test
    void shrunkNodeFailsCleanly() throws IOException {
        try (Client client = client(8)) {
            node.resize(1 << 20);
            client.request(Client.READ, 0, 1, 1 << 20, 4096);
            assertEquals(22, client.result());
            client.write(0, 1, 1 << 20, new byte[4096]);
            assertEquals(28, client.result());
            assertEquals(0, client.read((1 << 20) - 1, 1, 0)[0]);
        }
    }
}

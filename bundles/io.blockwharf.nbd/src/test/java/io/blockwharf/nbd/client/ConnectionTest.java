package io.blockwharf.nbd.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.nbd.ScriptedLink;
import io.blockwharf.nbd.wire.ReplyStyle;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.ProtocolException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.OptionalInt;
import java.util.stream.Stream;

/** Replies of a server, honest and not. proto.md, "Transmission". */
class ConnectionTest {
    static final int ALL_FLAGS = 0x1 | 0x4 | 0x8 | 0x20 | 0x40 | 0x800;

    /** The cookies of the first, second and third request of a connection. */
    private static final long FIRST = 0;

    private static final long SECOND = 1 << 8 | 1;
    private static final long THIRD = 2 << 8 | 2;

    static Terms terms(ReplyStyle style, int flags) {
        return new Terms(style, 1 << 20, flags, 1, 0, 32 << 20, OptionalInt.of(7));
    }

    /** A connection whose server has said everything before it was asked. */
    static final class Scene {
        private final List<Request> finished = new ArrayList<>();
        private final Connection connection;
        private final ScriptedLink link;

        Scene(Terms terms, byte[] server, int portion) {
            link = new ScriptedLink(server, 0, portion, true);
            connection = new Connection(this, link, terms, false, false);
        }

        Scene(ServerBytes server) {
            this(terms(ReplyStyle.STRUCTURED, ALL_FLAGS), server.bytes(), 1 << 20);
        }

        Request start(Request.Kind kind, long offset, long length, IoVector vector, int flags)
                throws IOException {
            Request request = new Request(_ -> {}, Arena.ofAuto().allocate(32));
            synchronized (this) {
                connection.start(request.set(kind, offset, length, vector, flags));
                connection.pump();
            }
            return request;
        }

        Request read(long offset, IoVector into) throws IOException {
            return start(Request.Kind.READ, offset, into.byteCount(), into, 0);
        }

        /** Receives until the script is over. */
        Scene play() throws IOException {
            try {
                while (true) {
                    connection.receive();
                    synchronized (this) {
                        connection.pump();
                    }
                }
            } catch (EOFException e) {
                collect();
                return this;
            }
        }

        void collect() {
            synchronized (this) {
                Request chain = connection.takeFinished();
                for (; chain != null; chain = chain.next) {
                    finished.add(chain);
                }
            }
        }

        List<Request> finished() {
            return finished;
        }

        /** Types of the commands that were sent, without those of writes with data. */
        List<String> commands() {
            List<String> all = new ArrayList<>();
            ByteBuffer out = ByteBuffer.wrap(link.sent());
            while (out.hasRemaining()) {
                assertEquals(0x25609513, out.getInt());
                int flags = out.getShort();
                int type = out.getShort();
                out.getLong();
                long offset = out.getLong();
                int length = out.getInt();
                all.add("%d/%d %d+%d".formatted(type, flags, offset, length));
                if (type == 1) {
                    out.position(out.position() + length);
                }
            }
            return all;
        }
    }

    /** Memory between two guards, in several pieces. */
    static final class Buffer {
        private static final byte GUARD = 0x55;
        private final MemorySegment memory;
        private final int size;
        final IoVector vector;

        Buffer(int size, int... pieces) {
            Arena arena = Arena.ofAuto();
            this.size = size;
            memory = arena.allocate(size + 64L);
            memory.fill(GUARD);
            vector = new IoVector(arena, pieces.length + 1);
            long at = 32;
            for (int piece : pieces) {
                vector.add(memory, at, piece);
                at += piece;
            }
            vector.add(memory, at, size + 32 - at);
        }

        byte[] content() {
            for (int i = 0; i < 32; i++) {
                assertEquals(GUARD, memory.get(JAVA_BYTE, i), "before the buffer");
                assertEquals(GUARD, memory.get(JAVA_BYTE, size + 63L - i), "behind the buffer");
            }
            return memory.asSlice(32, size).toArray(JAVA_BYTE);
        }
    }

    private static byte[] bytes(int size, int value) {
        byte[] bytes = new byte[size];
        Arrays.fill(bytes, (byte) value);
        return bytes;
    }

    private static byte[] counting(int size) {
        byte[] bytes = new byte[size];
        for (int i = 0; i < size; i++) {
            bytes[i] = (byte) (i * 31 >> 3);
        }
        return bytes;
    }

    // --- Honest servers ----------------------------------------------------------------------

    @Test
    void repliesComeInAnyOrder() throws IOException {
        ServerBytes server =
                new ServerBytes()
                        .data(THIRD, 1, 300, bytes(100, 3))
                        .data(FIRST, 1, 100, bytes(100, 1))
                        .data(SECOND, 1, 200, bytes(100, 2));
        Scene scene = new Scene(server);
        List<Buffer> buffers = new ArrayList<>();
        List<Request> requests = new ArrayList<>();
        for (int i = 1; i <= 3; i++) {
            Buffer buffer = new Buffer(100);
            buffers.add(buffer);
            requests.add(scene.read(100 * i, buffer.vector));
        }
        scene.play();
        assertEquals(List.of(requests.get(2), requests.get(0), requests.get(1)), scene.finished());
        for (int i = 0; i < 3; i++) {
            assertArrayEquals(bytes(100, i + 1), buffers.get(i).content());
        }
    }

    @ParameterizedTest(name = "{0} bytes in portions of {1}")
    @CsvSource({"100,1", "100,7", "70000,1000", "1000000,1000000", "1000000,30000"})
    void dataGoesWhereItBelongs(int size, int portion) throws IOException {
        byte[] data = counting(size);
        ServerBytes server =
                new ServerBytes()
                        .data(FIRST, 0, size / 2, Arrays.copyOfRange(data, size / 2, size - 10))
                        .hole(FIRST, 0, size - 10, 10)
                        .data(FIRST, 0, 0, Arrays.copyOf(data, size / 4))
                        .data(FIRST, 0, size / 4, Arrays.copyOfRange(data, size / 4, size / 2))
                        .end(FIRST);
        Terms terms = terms(ReplyStyle.STRUCTURED, ALL_FLAGS);
        Scene scene = new Scene(terms, server.bytes(), portion);
        Buffer buffer = new Buffer(size, 1, size / 3, 5);
        Request request = scene.read(0, buffer.vector);
        scene.play();
        assertEquals(List.of(request), scene.finished());
        assertEquals(Errno.OK, request.result());
        Arrays.fill(data, size - 10, size, (byte) 0);
        assertArrayEquals(data, buffer.content());
    }

    @Test
    void simpleRepliesAreUnderstood() throws IOException {
        ServerBytes server =
                new ServerBytes()
                        .simple(SECOND, 5)
                        .simple(FIRST, 0)
                        .put(counting(1000))
                        .simple(THIRD, 0);
        Scene scene = new Scene(terms(ReplyStyle.SIMPLE, ALL_FLAGS), server.bytes(), 13);
        Buffer first = new Buffer(1000, 400);
        scene.read(0, first.vector);
        Request second = scene.read(0, new Buffer(10).vector);
        Request third = scene.start(Request.Kind.FLUSH, 0, 0, null, 0);
        scene.play();
        assertArrayEquals(counting(1000), first.content());
        assertEquals(Errno.EIO, second.result());
        assertEquals(Errno.OK, third.result());
    }

    @Test
    void extendedRepliesAreUnderstood() throws IOException {
        ServerBytes server =
                new ServerBytes()
                        .u32(0x6e8a278c)
                        .u16(1)
                        .u16(6)
                        .u64(FIRST)
                        .u64(0)
                        .u64(8 + 16)
                        .u32(7)
                        .u32(1)
                        .u64(1L << 40)
                        .u64(3);
        Scene scene = new Scene(terms(ReplyStyle.EXTENDED, ALL_FLAGS), server.bytes(), 9);
        Request request = scene.start(Request.Kind.STATUS, 100, 1000, null, 0);
        scene.play();
        assertEquals(new Extent(100, 1000, false, true, 1), request.extent());
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource({
        "1, EPERM",
        "5, EIO",
        "12, ENOMEM",
        "22, EINVAL",
        "28, ENOSPC",
        "75, EINVAL",
        "95, ENOTSUP",
        "108, ESHUTDOWN",
        "4711, EIO"
    })
    void errorsKeepTheirMeaning(int number, Errno errno) throws IOException {
        Scene scene = new Scene(new ServerBytes().error(FIRST, 1, number, "because"));
        Request request = scene.read(0, new Buffer(10).vector);
        scene.play();
        assertEquals(errno, request.result());
    }

    @Test
    void anErrorAfterDataFailsTheRead() throws IOException {
        Scene scene =
                new Scene(
                        new ServerBytes()
                                .data(FIRST, 0, 0, bytes(5, 1))
                                .error(FIRST, 0, 28, "")
                                .error(FIRST, 0, 5, "")
                                .end(FIRST));
        Request request = scene.read(0, new Buffer(10).vector);
        scene.play();
        assertEquals(Errno.ENOSPC, request.result());
    }

    @ParameterizedTest(name = "length {0} state {1} -> {2} data={3} zero={4}")
    @CsvSource({
        "1000, 0, 1000, true, false",
        "1000, 3, 1000, false, true",
        "1000, 2, 1000, true, true",
        "1000, 1, 1000, false, false",
        "4294967295, 3, 2000, false, true"
    })
    void statesAreThoseOfBaseAllocation(
            long told, int state, long length, boolean data, boolean zero) throws IOException {
        Scene scene = new Scene(new ServerBytes().status(FIRST, 7, told, state, 100, 0));
        Request request = scene.start(Request.Kind.STATUS, 500, 2000, null, 0);
        scene.play();
        assertEquals(new Extent(500, length, data, zero, 1), request.extent());
    }

    // --- What servers cannot do ----------------------------------------------------------------

    static Stream<Arguments> plans() {
        int none = 1;
        int fua = RequestFlags.FUA;
        int fast = RequestFlags.NO_FALLBACK;
        int unmap = RequestFlags.MAY_UNMAP;
        return Stream.of(
                plan(Request.Kind.FLUSH, 0, none, "", Errno.OK),
                plan(Request.Kind.FLUSH, 0, 0x4, "3/0 0+0", Errno.OK),
                plan(Request.Kind.DISCARD, 0, none, "", Errno.OK),
                plan(Request.Kind.DISCARD, 0, 0x20, "4/0 0+1000", Errno.OK),
                plan(Request.Kind.WRITE, fua, none, "1/0 0+1000", Errno.OK),
                plan(Request.Kind.WRITE, fua, 0x4, "1/0 0+1000|3/0 0+0", Errno.OK),
                plan(Request.Kind.WRITE, fua, 0xc, "1/1 0+1000", Errno.OK),
                plan(Request.Kind.WRITE_ZEROES, 0, none, "1/0 0+1000", Errno.OK),
                plan(Request.Kind.WRITE_ZEROES, fast, none, "", Errno.ENOTSUP),
                plan(Request.Kind.WRITE_ZEROES, fast, 0x40, "", Errno.ENOTSUP),
                plan(Request.Kind.WRITE_ZEROES, fast, 0x840, "6/18 0+1000", Errno.OK),
                plan(Request.Kind.WRITE_ZEROES, unmap, 0x40, "6/0 0+1000", Errno.OK),
                plan(Request.Kind.WRITE_ZEROES, fua, 0x44, "6/2 0+1000|3/0 0+0", Errno.OK),
                plan(Request.Kind.WRITE_ZEROES, fua, 0x48, "6/3 0+1000", Errno.OK));
    }

    private static Arguments plan(
            Request.Kind kind, int flags, int server, String commands, Errno result) {
        return Arguments.of(kind, flags, server, commands, result);
    }

    @ParameterizedTest(name = "{0} flags {1} with server flags {2}: {3}")
    @MethodSource("plans")
    void commandsAreThoseThatTheServerKnows(
            Request.Kind kind, int flags, int server, String commands, Errno result)
            throws IOException {
        ServerBytes yes = new ServerBytes().simple(FIRST, 0).simple(1 << 8, 0);
        Scene scene = new Scene(terms(ReplyStyle.STRUCTURED, server), yes.bytes(), 16);
        Buffer buffer = new Buffer(1000);
        long length = kind == Request.Kind.FLUSH ? 0 : 1000;
        Request request = scene.start(kind, 0, length, buffer.vector, flags);
        try {
            scene.play();
        } catch (ProtocolException e) {
            scene.collect(); // answers to what was not asked
        }
        assertEquals(commands, String.join("|", scene.commands()));
        assertEquals(List.of(request), scene.finished());
        assertEquals(result, request.result());
    }

    @Test
    void zeroesThatTheServerRefusesAreWritten() throws IOException {
        ServerBytes server = new ServerBytes().simple(FIRST, 95).simple(1 << 8, 0);
        Scene scene = new Scene(terms(ReplyStyle.STRUCTURED, ALL_FLAGS), server.bytes(), 16);
        Request request = scene.start(Request.Kind.WRITE_ZEROES, 0, 1000, null, 0);
        scene.play();
        assertEquals(List.of("6/2 0+1000", "1/0 0+1000"), scene.commands());
        assertEquals(Errno.OK, request.result());
    }

    @Test
    void longDiscardsTakeSeveralCommands() throws IOException {
        ServerBytes server = new ServerBytes().simple(FIRST, 0).simple(1 << 8, 0);
        Scene scene = new Scene(terms(ReplyStyle.STRUCTURED, ALL_FLAGS), server.bytes(), 16);
        Request request = scene.start(Request.Kind.DISCARD, 0, 3L << 30, null, 0);
        scene.play();
        assertEquals(List.of("4/0 0+2147483647", "4/0 2147483647+1073741825"), scene.commands());
        assertEquals(Errno.OK, request.result());
    }

    // --- Hostile servers -----------------------------------------------------------------------

    static Stream<Arguments> lies() {
        ServerBytes crumbs = new ServerBytes();
        for (int i = 2; i < 4000; i += 2) {
            crumbs.hole(FIRST, 0, i, 1);
        }
        return Stream.of(
                lie("magic", new ServerBytes().u32(4711).put(new byte[12])),
                lie("a simple reply to a read", new ServerBytes().simple(FIRST, 0)),
                lie("a simple error to a read", new ServerBytes().simple(FIRST, 5)),
                lie("another's cookie", new ServerBytes().data(99, 1, 0, bytes(10, 1))),
                lie("a cookie of before", new ServerBytes().end(5L << 8)),
                lie(
                        "two replies",
                        new ServerBytes().hole(FIRST, 1, 0, 4096).hole(FIRST, 1, 0, 4096)),
                lie("nothing", new ServerBytes().end(FIRST)),
                lie("too little", new ServerBytes().hole(FIRST, 1, 0, 4095)),
                lie("a gap", new ServerBytes().hole(FIRST, 0, 0, 5).hole(FIRST, 1, 6, 4090)),
                lie("the same twice", new ServerBytes().hole(FIRST, 0, 0, 5).hole(FIRST, 1, 4, 9)),
                lie(
                        "twice, backwards",
                        new ServerBytes().hole(FIRST, 0, 8, 5).hole(FIRST, 0, 4, 5)),
                lie("islands twice", new ServerBytes().hole(FIRST, 0, 8, 5).hole(FIRST, 0, 9, 5)),
                lie("crumbs", crumbs),
                lie("data before", new ServerBytes().data(SECOND, 1, 0, bytes(10, 1))),
                lie("data behind", new ServerBytes().data(FIRST, 1, 4090, bytes(10, 1))),
                lie("a hole behind", new ServerBytes().hole(FIRST, 1, 0, 4097)),
                lie("a huge hole", new ServerBytes().hole(FIRST, 1, 0, 0xffffffffL)),
                lie("an empty hole", new ServerBytes().hole(FIRST, 0, 0, 0)),
                lie("offset wraps", new ServerBytes().hole(FIRST, 1, -1, 4096)),
                lie("data of 4 GiB", new ServerBytes().chunk(FIRST, 1, 1, 0xffffffffL).u64(0)),
                lie("data without data", new ServerBytes().data(FIRST, 1, 0, new byte[0])),
                lie("data without offset", new ServerBytes().chunk(FIRST, 1, 1, new byte[3])),
                lie("a short hole", new ServerBytes().chunk(FIRST, 1, 2, new byte[11])),
                lie("NONE with a payload", new ServerBytes().chunk(FIRST, 1, 0, new byte[1])),
                lie("NONE that is not last", new ServerBytes().chunk(FIRST, 0, 0, new byte[0])),
                lie("an unknown type", new ServerBytes().chunk(FIRST, 1, 99, new byte[4])),
                lie("an error of 4 GiB", new ServerBytes().chunk(FIRST, 1, 0x8001, 0xffffffffL)),
                lie("error 0", new ServerBytes().error(FIRST, 1, 0, "fine")),
                lie("a short error", new ServerBytes().chunk(FIRST, 1, 0x8001, new byte[5])),
                lie(
                        "an error with a longer text",
                        new ServerBytes()
                                .chunk(
                                        FIRST,
                                        1,
                                        0x8001,
                                        new ServerBytes().u32(5).u16(60000).bytes())),
                lie("data for a flush", new ServerBytes().data(THIRD, 1, 0, bytes(10, 1))),
                lie("a hole for a flush", new ServerBytes().hole(THIRD, 1, 0, 10)),
                lie("status for a read", new ServerBytes().status(FIRST, 7, 10, 0)),
                lie("status without extents", new ServerBytes().status(FOURTH, 7)),
                lie("status of another context", new ServerBytes().status(FOURTH, 8, 10, 0)),
                lie("status of length 0", new ServerBytes().status(FOURTH, 7, 0, 0)),
                lie("half a status", new ServerBytes().status(FOURTH, 7, 10)),
                lie("no status", new ServerBytes().end(FOURTH)),
                lie(
                        "wide status",
                        new ServerBytes()
                                .chunk(
                                        FOURTH,
                                        1,
                                        6,
                                        new ServerBytes().u32(7).u32(1).u64(9).u64(0).bytes())));
    }

    private static final long FOURTH = 3 << 8 | 3;

    private static Arguments lie(String name, ServerBytes server) {
        return Arguments.of(name, server);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("lies")
    void liesEndTheConnectionAndTouchNothingElse(String name, ServerBytes server)
            throws IOException {
        Scene scene = new Scene(server);
        Buffer first = new Buffer(4096, 1000);
        Buffer second = new Buffer(100);
        scene.read(0, first.vector);
        scene.read(100, second.vector);
        scene.start(Request.Kind.FLUSH, 0, 0, null, 0);
        scene.start(Request.Kind.STATUS, 0, 4096, null, 0);
        assertThrows(ProtocolException.class, scene::play);
        first.content();
        second.content();
        scene.collect();
        assertTrue(
                scene.finished().stream().allMatch(request -> request.result() == Errno.OK),
                "who was answered before has its answer");
        int open = 0;
        synchronized (scene) {
            for (Request each = scene.connection.close(false); each != null; each = each.next) {
                open++;
            }
        }
        assertEquals(4, open + scene.finished().size(), "nobody is forgotten");
    }

    @Test
    void noMoreThanAWindowIsUnderWay() throws IOException {
        ServerBytes server = new ServerBytes().simple(0, 0).simple(1 << 8 | 1, 0);
        Scene scene = new Scene(server);
        for (int i = 0; i < 300; i++) {
            scene.start(Request.Kind.FLUSH, 0, 0, null, 0);
        }
        assertEquals(256, scene.commands().size());
        scene.play();
        assertEquals(2, scene.finished().size());
        assertEquals(258, scene.commands().size());
        assertNull(scene.finished().getFirst().extent());
    }
}

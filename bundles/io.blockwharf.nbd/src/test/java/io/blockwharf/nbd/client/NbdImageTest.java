package io.blockwharf.nbd.client;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.Poll;
import io.blockwharf.nbd.client.FakeServer.Asked;
import io.blockwharf.nbd.client.FakeServer.Script;
import io.blockwharf.testing.Allocation;
import io.blockwharf.testing.FakeObjects;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.osgi.service.log.Logger;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;

/** The node with servers that come and go, over real sockets. */
@Timeout(300)
class NbdImageTest {
    private static final int SIZE = 1 << 20;
    private static final int FLAGS = 0x1 | 0x4 | 0x8 | 0x20 | 0x40;

    /** Longer than any test takes. */
    private static final long FOR_EVER = 3600;

    private static final Logger SILENT = new RecordingLog().logger;

    @TempDir Path directory;

    private final byte[] disk = new byte[SIZE];
    private FakeServer server;
    private NbdImage image;
    private final Arena arena = Arena.ofAuto();

    @AfterEach
    void close() throws IOException {
        if (image != null) {
            image.close();
        }
        if (server != null) {
            server.close();
        }
    }

    private void open(long reconnectDelay, Script... scripts) throws IOException {
        server = new FakeServer(directory.resolve("s"), scripts);
        image = new NbdImage(connect(0, reconnectDelay), "nbd");
    }

    private Remote connect(long openTimeout, long reconnectDelay) throws IOException {
        Attempt.Target target =
                new Attempt.Target(
                        server.address(), "disk", "base:allocation", false, Optional.empty());
        return Remote.open("n", target, openTimeout, reconnectDelay, false, SILENT);
    }

    private void serve(FakeServer.Peer peer) throws IOException {
        peer.negotiate(SIZE, FLAGS);
        peer.serve(disk);
    }

    private IoVector memory(int size, int value) {
        MemorySegment memory = arena.allocate(size);
        memory.fill((byte) value);
        return new IoVector(arena, 1).set(memory, 0, size);
    }

    private static byte[] content(IoVector vector) {
        return vector.base(0).asSlice(0, vector.byteCount()).toArray(ValueLayout.JAVA_BYTE);
    }

    private Errno failure(long offset) {
        return assertThrows(BlockIoException.class, () -> image.read(offset, memory(512, 0)))
                .errno();
    }

    /** Reaps until {@code count} requests are finished. */
    private static List<String> reap(BlockQueue queue, int count) throws IOException {
        List<String> finished = new ArrayList<>();
        Poll poll = new Poll(1);
        while (finished.size() < count) {
            poll.set(0, queue.fd(), Poll.IN);
            poll.await(-1);
            queue.reap((cookie, result) -> finished.add(cookie + " " + result));
        }
        return finished;
    }

    // --- Other options -----------------------------------------------------------------------

    private static NodeSpec<NbdOptions> spec(FakeServer server, boolean readOnly, boolean auto) {
        return new NodeSpec<>(
                "n",
                new NbdOptions(
                        server.address(),
                        Optional.of("disk"),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty()),
                new OpenFlags(readOnly, auto, false, false, false, false),
                Map.of());
    }

    @Test
    void reopeningKeepsTheConnection() throws IOException {
        open(0, this::serve);
        NbdDriver driver = new NbdDriver(new FakeObjects(), SILENT);
        for (boolean readOnly : new boolean[] {true, false}) {
            assertTrue(driver.reconfigure(image, spec(server, readOnly, false)));
            image.read(0, memory(512, 0));
        }
        image.write(0, memory(512, 9), 0);
        assertEquals(9, disk[511]);
        assertEquals(1, server.connections());
        assertEquals(java.util.Set.of(), driver.changeableOptions());
    }

    @Test
    void aReadOnlyExportIsNotReopenedForWriting() throws IOException {
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS | 0x2);
                    peer.serve(disk);
                });
        NbdDriver driver = new NbdDriver(new FakeObjects(), SILENT);
        assertEquals(
                "Can't reopen read-only NBD mount as read/write",
                assertThrows(
                                QmpException.class,
                                () -> driver.reconfigure(image, spec(server, false, false)))
                        .getMessage());
        assertTrue(driver.reconfigure(image, spec(server, true, false)));
        assertTrue(driver.reconfigure(image, spec(server, false, true)));
        assertTrue(image.readOnly());
        image.read(0, memory(512, 0));
    }

    /** A server that has become read-only is no good for those who write, and only for them. */
    @ParameterizedTest(name = "read-only: {0}")
    @ValueSource(booleans = {true, false})
    void whatUsersDoDecidesWhatAServerMayBecome(boolean readOnly) throws IOException {
        CountDownLatch end = new CountDownLatch(1);
        open(
                FOR_EVER,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    await(end);
                },
                peer -> {
                    peer.negotiate(SIZE, FLAGS | 0x2);
                    peer.serve(disk);
                });
        NbdDriver driver = new NbdDriver(new FakeObjects(), SILENT);
        driver.reconfigure(image, spec(server, readOnly, false));
        end.countDown();
        if (readOnly) {
            image.read(0, memory(512, 0));
        } else {
            assertEquals(Errno.EIO, failure(0));
        }
    }

    // --- Requests ----------------------------------------------------------------------------

    @Test
    void whatIsWrittenIsRead() throws IOException {
        open(0, this::serve);
        image.write(4096, memory(100_000, 7), 0);
        IoVector read = memory(200_000, 1);
        image.read(0, read);
        assertArrayEquals(Arrays.copyOf(disk, 200_000), content(read));
        assertEquals(7, disk[4096]);
        image.flush();
        image.discard(0, 4096);
        assertEquals(SIZE, image.extentAt(0, 512).length());
        assertTrue(image.extentAt(0, 512).data());
    }

    @Test
    void manyThreadsShareTheConnection() throws Exception {
        open(0, this::serve);
        List<Thread> threads = new ArrayList<>();
        List<Throwable> failures = new ArrayList<>();
        for (int i = 0; i < 8; i++) {
            int id = i;
            threads.add(
                    Thread.ofPlatform()
                            .uncaughtExceptionHandler((_, e) -> failures.add(e))
                            .start(() -> exercise(id)));
        }
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(List.of(), failures);
        assertEquals(1, server.connections());
    }

    private void exercise(int id) {
        try {
            for (int round = 0; round < 200; round++) {
                int at = id * 100_000;
                image.write(at, memory(10_000, id * 31 + round), 0);
                IoVector read = memory(10_000, 0);
                image.read(at, read);
                assertArrayEquals(content(memory(10_000, id * 31 + round)), content(read));
            }
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void requestsAreUnderWayTogether() throws IOException {
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    List<Asked> all = new ArrayList<>();
                    for (int i = 0; i < 16; i++) {
                        all.add(peer.next()); // all are here before any is answered
                    }
                    for (Asked asked : all.reversed()) {
                        peer.answer(asked, disk);
                    }
                });
        List<String> expected = new ArrayList<>();
        try (BlockQueue queue = image.openQueue(16).orElseThrow()) {
            for (int i = 0; i < 16; i++) {
                queue.read(i, i * 512L, memory(512, 1));
                expected.addFirst(i + " OK");
            }
            queue.submit();
            assertEquals(expected, reap(queue, 16));
            assertEquals(0, queue.inFlight());
        }
    }

    /** Who is told may touch memory that is gone, and everything else has to end all the same. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aFailureOfWhoIsToldLosesNoRequest(boolean goesOn) throws IOException, BlockIoException {
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    peer.serve(disk);
                });
        try (BlockQueue queue = image.openQueue(4).orElseThrow()) {
            for (int i = 0; i < 4; i++) {
                queue.read(i, i * 512L, memory(512, 1));
            }
            queue.submit();
            image.read(0, memory(512, 1)); // answered after the others
            assertThrows(
                    InternalError.class,
                    () ->
                            queue.reap(
                                    (_, _) -> {
                                        throw new InternalError();
                                    }));
            assertEquals(3, queue.inFlight());
            if (goesOn) {
                assertEquals(3, queue.reap((_, result) -> assertEquals(Errno.OK, result)));
                assertEquals(0, queue.inFlight());
            }
        } // waits for what is in flight
    }

    @Test
    void aServerThatDoesNotReadHoldsNobodyUp() throws IOException {
        CountDownLatch submitted = new CountDownLatch(1);
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    await(submitted);
                    peer.serve(disk);
                });
        try (BlockQueue queue = image.openQueue(64).orElseThrow()) {
            for (int i = 0; i < 64; i++) {
                queue.write(i, 0, memory(SIZE, 9), 0);
                queue.submit(); // 64 MiB: more than any socket takes
            }
            submitted.countDown();
            reap(queue, 64);
        }
        assertEquals(9, disk[SIZE - 1]);
    }

    @Test
    void anAnswerBeforeThePayloadIsSentWaitsForIt() throws IOException {
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    // the header only: the cookies of a connection begin with 0
                    peer.send(new ServerBytes().simple(0, 28));
                    Asked asked = peer.next();
                    assertEquals(SIZE, asked.length());
                    peer.serve(disk);
                });
        // The answer may even come before the request, which is a lie then: both end as an error
        Errno errno =
                assertThrows(BlockIoException.class, () -> image.write(0, memory(SIZE, 1), 0))
                        .errno();
        assertTrue(errno == Errno.ENOSPC || errno == Errno.EIO, errno::toString);
    }

    @Test
    void closingAQueueWaitsForItsRequests() throws IOException {
        CountDownLatch closing = new CountDownLatch(1);
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    Asked asked = peer.next();
                    await(closing);
                    peer.answer(asked, disk);
                    peer.serve(disk);
                });
        BlockQueue queue = image.openQueue(1).orElseThrow();
        queue.write(1, 0, memory(512, 5), 0);
        queue.submit();
        closing.countDown();
        queue.close();
        assertEquals(5, disk[0]);
    }

    @Test
    void requestsOfAQueueLeaveNothingForTheCollector() throws Exception {
        open(0, this::serve);
        Poll poll = new Poll(1);
        IoVector buffer = memory(4096, 0);
        int[] failed = {0};
        BlockQueue.Completion count = (_, result) -> failed[0] += result == Errno.OK ? 0 : 1;
        try (BlockQueue queue = image.openQueue(4).orElseThrow()) {
            Allocation.assertNone(
                    "read",
                    () -> {
                        queue.read(1, 0, buffer);
                        queue.submit();
                        poll.set(0, queue.fd(), Poll.IN);
                        poll.await(-1);
                        queue.reap(count);
                    });
        }
        assertEquals(0, failed[0]);
    }

    private static void await(CountDownLatch latch) throws IOException {
        try {
            latch.await();
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }

    // --- Servers that go ---------------------------------------------------------------------

    /** Takes a request and goes without an answer. */
    private static void takeAndGo(FakeServer.Peer peer) throws IOException {
        peer.negotiate(SIZE, FLAGS);
        peer.next();
    }

    @Test
    void withoutADelayRequestsFailAndTheNextOneReconnects() throws IOException {
        open(0, NbdImageTest::takeAndGo, this::serve);
        assertEquals(Errno.EIO, failure(0));
        image.read(0, memory(512, 0));
        assertEquals(2, server.connections());
    }

    @Test
    void withoutADelayAServerThatIsAwayIsAskedAnewByEachRequest() throws IOException {
        open(0, NbdImageTest::takeAndGo, this::serve);
        server.deaf();
        for (int i = 0; i < 3; i++) {
            assertEquals(Errno.EIO, failure(0));
        }
        assertFalse((boolean) image.details().get("connected"));
        server.listen();
        image.read(0, memory(512, 0));
        assertTrue((boolean) image.details().get("connected"));
    }

    @Test
    void withADelayRequestsAreSentAgain() throws IOException {
        open(FOR_EVER, NbdImageTest::takeAndGo, NbdImageTest::takeAndGo, this::serve);
        image.write(512, memory(512, 6), 0);
        assertEquals(6, disk[512]);
        assertEquals(3, server.connections());
    }

    @Test
    void requestsOfAQueueSurviveAServer() throws IOException {
        CountDownLatch gone = new CountDownLatch(1);
        open(
                FOR_EVER,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    peer.answer(peer.next(), disk);
                    peer.next();
                    gone.countDown();
                },
                this::serve);
        try (BlockQueue queue = image.openQueue(16).orElseThrow()) {
            for (int i = 0; i < 16; i++) {
                queue.write(i, i * 512L, memory(512, i + 1), 0);
            }
            queue.submit();
            await(gone);
            assertTrue(reap(queue, 16).stream().allMatch(line -> line.endsWith(" OK")));
        }
        for (int i = 0; i < 16; i++) {
            assertEquals(i + 1, disk[i * 512]);
        }
    }

    @Test
    void aServerThatShutsDownIsLeftForTheNextOne() throws IOException {
        open(
                FOR_EVER,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    peer.send(new ServerBytes().error(peer.next().cookie(), 1, 108, "bye"));
                    peer.next();
                },
                this::serve);
        image.read(0, memory(512, 0));
        assertEquals(2, server.connections());
    }

    @Test
    void aServerThatShutsDownIsAnErrorWithoutADelay() throws IOException {
        open(
                0,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    peer.send(new ServerBytes().error(peer.next().cookie(), 1, 108, "bye"));
                    peer.serve(disk);
                });
        assertEquals(Errno.ESHUTDOWN, failure(0));
        image.read(0, memory(512, 0));
    }

    @Test
    void aDelayIsOverAtItsEnd() throws IOException {
        open(1, NbdImageTest::takeAndGo);
        server.deaf();
        long before = System.nanoTime();
        assertEquals(Errno.EIO, failure(0));
        assertTrue(System.nanoTime() - before >= 1_000_000_000L, "no earlier");
        assertEquals(Errno.EIO, failure(0));
        assertEquals(1, server.connections());
    }

    @Test
    void aServerThatNeverAnswersGetsNoLongerThanTheDelay() throws IOException {
        open(2, NbdImageTest::takeAndGo);
        assertEquals(Errno.EIO, failure(0));
        assertTrue(server.connections() < 20, "it is not tried without a pause");
    }

    @Test
    void aServerThatLiesIsNotAskedTwice() throws IOException {
        open(
                FOR_EVER,
                peer -> {
                    peer.negotiate(SIZE, FLAGS);
                    peer.next();
                    peer.send(new ServerBytes().simple(4711, 0));
                    peer.next();
                },
                this::serve);
        assertEquals(Errno.EIO, failure(0));
        image.read(0, memory(512, 0));
        assertEquals(2, server.connections());
    }

    @ParameterizedTest(name = "{0} bytes")
    @ValueSource(ints = {SIZE / 2, SIZE * 2})
    void anExportOfAnotherSizeIsNotTheSame(int size) throws IOException {
        open(
                FOR_EVER,
                NbdImageTest::takeAndGo,
                peer -> {
                    peer.negotiate(size, FLAGS);
                    peer.serve(new byte[size]);
                });
        assertEquals(Errno.EIO, failure(0));
    }

    @Test
    void aServerThatHasBecomeReadOnlyIsNotTheSame() throws IOException {
        open(
                FOR_EVER,
                NbdImageTest::takeAndGo,
                peer -> {
                    peer.negotiate(SIZE, FLAGS | 2);
                    peer.serve(disk);
                });
        assertEquals(Errno.EIO, failure(0));
    }

    @Test
    void anImageIsClosedWhileItsServerIsAway() throws IOException {
        open(FOR_EVER, NbdImageTest::hangUp);
        server.deaf();
        image.close();
        image = null;
    }

    private static void hangUp(FakeServer.Peer peer) throws IOException {
        peer.negotiate(SIZE, FLAGS);
    }

    // --- Opening -----------------------------------------------------------------------------

    @Test
    void openingTriesForAsLongAsItMay() throws Exception {
        server = new FakeServer(directory.resolve("s"), _ -> {}, _ -> {}, this::serve);
        image = new NbdImage(connect(FOR_EVER, 0), "nbd");
        image.read(0, memory(512, 0));
        assertEquals(3, server.connections());
    }

    @Test
    void openingTellsWhyTheLastTryFailed() throws IOException {
        server = new FakeServer(directory.resolve("s"), this::serve);
        server.deaf();
        IOException failure = assertThrows(IOException.class, () -> connect(1, 0));
        assertEquals(
                "Failed to connect to '%s': No such file or directory"
                        .formatted(directory.resolve("s")),
                failure.getMessage());
    }

    @Test
    void aServerThatDoesNotGreetIsGivenUp() throws IOException {
        CountDownLatch end = new CountDownLatch(1);
        server = new FakeServer(directory.resolve("s"), _ -> await(end));
        IOException failure = assertThrows(IOException.class, () -> connect(1, 0));
        end.countDown();
        assertTrue(failure.getMessage().endsWith(": no answer"), failure.getMessage());
    }
}

package io.blockwharf.core.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.BlockdevOptions.Discard;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.testing.Allocation;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.CyclicBarrier;

/** Queues: over worker threads, and around the queue of a driver. */
@Timeout(120)
class QueueTest {
    private final List<String> log = Collections.synchronizedList(new ArrayList<>());
    private final BlockGraph graph = new BlockGraph(new ControlLock(), Fakes.logger(log));
    private final FakeDriver driver = new FakeDriver();
    private final MemorySegment memory = Arena.ofAuto().allocate(1 << 20, 4096);
    private final Map<Long, Errno> results = new TreeMap<>();

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    /**
     * An image with a queue of its own: a worker queue over the image itself, so that it behaves as
     * a driver's does, and notes that it was used.
     */
    private static final class QueuedImage extends FakeImage {
        final List<String> queued = new ArrayList<>();

        QueuedImage(long length, BlockLimits limits) {
            super(length, limits);
        }

        @Override
        public Optional<BlockQueue> openQueue(int depth) {
            try {
                WorkerPool pool = new WorkerPool("queued", 4, Fakes.logger(new ArrayList<>()));
                return Optional.of(new Noting(new WorkerQueue(this, null, pool, depth), queued));
            } catch (LinuxException e) {
                throw new AssertionError(e);
            }
        }
    }

    private record Noting(BlockQueue queue, List<String> notes) implements BlockQueue {
        @Override
        public void read(long cookie, long offset, IoVector into) {
            notes.add("read");
            queue.read(cookie, offset, into);
        }

        @Override
        public void write(long cookie, long offset, IoVector from, int flags) {
            notes.add("write");
            queue.write(cookie, offset, from, flags);
        }

        @Override
        public void flush(long cookie) {
            notes.add("flush");
            queue.flush(cookie);
        }

        @Override
        public void discard(long cookie, long offset, long length) {
            notes.add("discard");
            queue.discard(cookie, offset, length);
        }

        @Override
        public void writeZeroes(long cookie, long offset, long length, int flags) {
            notes.add("zero");
            queue.writeZeroes(cookie, offset, length, flags);
        }

        @Override
        public void submit() {
            queue.submit();
        }

        @Override
        public int reap(Completion completion) {
            return queue.reap(completion);
        }

        @Override
        public int inFlight() {
            return queue.inFlight();
        }

        @Override
        public int fd() {
            return queue.fd();
        }

        @Override
        public void close() {
            notes.add("close");
            queue.close();
        }
    }

    /** Who is told may touch memory that is gone, and everything else has to end all the same. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aFailureOfWhoIsToldLosesNoRequest(boolean goesOn) throws Exception {
        var pool = new WorkerPool("told", 1, Fakes.logger(log));
        try (var queue = new WorkerQueue(null, null, pool, 4)) {
            for (int i = 0; i < 4; i++) {
                queue.finish(i, Errno.OK);
            }
            assertThrows(
                    InternalError.class,
                    () ->
                            queue.reap(
                                    (_, _) -> {
                                        throw new InternalError();
                                    }));
            assertEquals(3, queue.inFlight());
            if (goesOn) {
                assertEquals(3, queue.reap(results::put));
                assertEquals(Set.of(1L, 2L, 3L), results.keySet());
                assertEquals(0, queue.inFlight());
                assertEquals(0, queue.reap(results::put));
            }
        } // waits for what is in flight
    }

    private BlockNode open(FakeImage image, BlockdevOptions options) {
        driver.maker = _ -> image;
        graph.add(options);
        return graph.attach(
                graph.find("n").orElseThrow(),
                () -> {},
                EnumSet.of(Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE),
                Permission.all());
    }

    private BlockNode open(FakeImage image) {
        return open(image, FakeDriver.options("n"));
    }

    private static FakeImage image(boolean queued, long length) {
        return queued ? new QueuedImage(length, BlockLimits.NONE) : new FakeImage(length);
    }

    private IoVector buffer(long at, long bytes) {
        return new IoVector(Arena.ofAuto(), 1).set(memory, at, bytes);
    }

    /** Waits on the queue's descriptor, as whoever serves does, until nothing is in flight. */
    private void drain(BlockQueue queue) throws LinuxException {
        try (Epoll epoll = new Epoll(1)) {
            epoll.add(queue.fd(), Epoll.IN, 0);
            while (queue.inFlight() > 0) {
                epoll.await(-1);
                queue.reap((cookie, result) -> assertEquals(null, results.put(cookie, result)));
            }
        }
    }

    @ParameterizedTest(name = "driver has a queue: {0}")
    @ValueSource(booleans = {true, false})
    void requestsAreCarriedOutAndReportedOnce(boolean queued) throws Exception {
        FakeImage image = image(queued, 1 << 20);
        BlockNode node = open(image, FakeDriver.with(FakeDriver.options("n"), Discard.UNMAP));
        memory.asSlice(0, 4096).fill((byte) 5);
        try (BlockQueue queue = node.openQueue(8)) {
            queue.write(1, 512, buffer(0, 1000), 0);
            queue.submit();
            drain(queue);
            queue.read(2, 512, buffer(8192, 1000));
            queue.flush(3);
            queue.discard(4, 100_000, 10);
            queue.writeZeroes(5, 200_000, 10, 0);
            queue.read(6, (1 << 20) - 5, buffer(0, 6));
            queue.write(7, -1, buffer(0, 6), 0);
            queue.discard(8, 1 << 20, 1);
            queue.writeZeroes(9, 1 << 20, 1, 0);
            assertEquals(8, queue.inFlight());
            assertThrows(IllegalStateException.class, () -> queue.flush(10));
            queue.submit();
            drain(queue);
        }
        assertEquals(
                Map.of(
                        1L,
                        Errno.OK,
                        2L,
                        Errno.OK,
                        3L,
                        Errno.OK,
                        4L,
                        Errno.OK,
                        5L,
                        Errno.OK,
                        6L,
                        Errno.EINVAL,
                        7L,
                        Errno.EINVAL,
                        8L,
                        Errno.EINVAL,
                        9L,
                        Errno.EINVAL),
                results);
        assertEquals(5, memory.get(ValueLayout.JAVA_BYTE, 8192 + 999));
        assertEquals(
                Set.of(
                        "write 512+1000",
                        "read 512+1000",
                        "flush",
                        "discard 100000+10",
                        "zero 200000+10"),
                Set.copyOf(image.calls));
        assertEquals(
                queued ? List.of("write", "read", "flush", "discard", "zero", "close") : List.of(),
                image instanceof QueuedImage q ? q.queued : List.of());
    }

    @ParameterizedTest(name = "driver has a queue: {0}")
    @ValueSource(booleans = {true, false})
    void optionsAndPermissionsAreKept(boolean queued) throws Exception {
        FakeImage image = image(queued, 4096);
        BlockNode node =
                open(
                        image,
                        FakeDriver.cached(
                                FakeDriver.with(FakeDriver.options("n"), DetectZeroes.ON),
                                false,
                                true));
        try (BlockQueue queue = node.openQueue(8)) {
            queue.flush(1);
            queue.discard(2, 0, 512);
            queue.write(3, 0, buffer(0, 512), 0);
            queue.submit();
            drain(queue);
            node.permissions(Set.of(Permission.CONSISTENT_READ), Permission.all());
            queue.write(4, 0, buffer(0, 512), 0);
            queue.discard(5, 0, 512);
            queue.writeZeroes(6, 0, 512, 0);
            queue.submit();
            drain(queue);
        }
        assertEquals(
                Map.of(
                        1L,
                        Errno.OK,
                        2L,
                        Errno.OK,
                        3L,
                        Errno.OK,
                        4L,
                        Errno.EPERM,
                        5L,
                        Errno.EPERM,
                        6L,
                        Errno.EPERM),
                results);
        assertEquals(List.of("zero 0+512"), image.calls);
    }

    @Test
    void whatDoesNotFitTheDriverGoesAside() throws Exception {
        QueuedImage image = new QueuedImage(1 << 20, new BlockLimits(512, 512, 0, 1 << 16, 512));
        BlockNode node = open(image);
        memory.asSlice(0, 512).fill((byte) 9);
        try (BlockQueue queue = node.openQueue(4)) {
            queue.write(1, 100, buffer(0, 512), 0);
            queue.write(2, 4096, buffer(1, 512), 0);
            queue.writeZeroes(3, 8192 + 1, 10, 0);
            queue.read(4, 12_288, buffer(4096, 1 << 17));
            queue.submit();
            drain(queue);
            queue.read(5, 0, buffer(512, 1024));
            queue.submit();
            drain(queue);
        }
        assertEquals(Set.of(Errno.OK), Set.copyOf(results.values()));
        assertEquals(List.of("read", "close"), image.queued);
        assertEquals(9, memory.get(ValueLayout.JAVA_BYTE, 512 + 611));
    }

    @ParameterizedTest(name = "driver has a queue: {0}")
    @ValueSource(booleans = {true, false})
    void failuresAreResults(boolean queued) throws Exception {
        FakeImage image = image(queued, 4096);
        BlockNode node = open(image);
        List<String> seen = Collections.synchronizedList(new ArrayList<>());
        graph.find("n").orElseThrow().observe((offset, length) -> seen.add(offset + "+" + length));
        image.failure = Optional.of(Errno.ENOSPC);
        try (BlockQueue queue = node.openQueue(4)) {
            queue.write(1, 0, buffer(0, 512), 0);
            queue.submit();
            drain(queue);
        }
        assertEquals(Map.of(1L, Errno.ENOSPC), results);
        assertEquals(List.of("0+512"), seen);
    }

    @Test
    void mistakeOfDriverCostsTheRequestOnly() throws Exception {
        FakeImage image =
                new FakeImage(4096) {
                    @Override
                    public void read(long offset, IoVector into) {
                        throw new IllegalStateException("bug");
                    }
                };
        BlockNode node = open(image);
        try (BlockQueue queue = node.openQueue(4)) {
            queue.read(1, 0, buffer(0, 512));
            queue.submit();
            drain(queue);
            queue.write(2, 0, buffer(0, 512), 0);
            queue.submit();
            drain(queue);
        }
        assertEquals(Map.of(1L, Errno.EIO, 2L, Errno.OK), results);
        assertEquals(1, log.size());
    }

    /** Requests that have all to be under way before one is finished. */
    private static final class MeetingImage extends FakeImage {
        final CyclicBarrier together;

        MeetingImage(int parties) {
            super(1 << 20);
            together = new CyclicBarrier(parties);
        }

        @Override
        public void read(long offset, IoVector into) throws BlockIoException {
            try {
                together.await();
            } catch (Exception e) {
                throw new BlockIoException(Errno.EIO, "barrier", e);
            }
        }
    }

    @Test
    void blockedRequestsDoNotHoldUpEachOther() throws Exception {
        BlockNode node = open(new MeetingImage(16));
        try (BlockQueue one = node.openQueue(8);
                BlockQueue other = node.openQueue(8)) {
            for (int i = 0; i < 8; i++) {
                one.read(i, 0, buffer(0, 512));
                other.read(100 + i, 0, buffer(0, 512));
            }
            one.submit();
            other.submit();
            drain(one);
            drain(other);
        }
        assertEquals(16, results.size());
        assertEquals(Set.of(Errno.OK), Set.copyOf(results.values()));
    }

    @Test
    void closeWaitsForWhatIsInFlight() throws Exception {
        CountDownLatch entered = new CountDownLatch(1);
        CountDownLatch leave = new CountDownLatch(1);
        FakeImage image =
                new FakeImage(4096) {
                    @Override
                    public void flush() throws BlockIoException {
                        entered.countDown();
                        try {
                            leave.await();
                        } catch (InterruptedException e) {
                            throw new BlockIoException(Errno.EIO, "interrupted", e);
                        }
                        super.flush();
                    }
                };
        BlockNode node = open(image);
        BlockQueue queue = node.openQueue(4);
        queue.flush(1);
        queue.submit();
        entered.await();
        Thread closer = Thread.ofPlatform().start(queue::close);
        leave.countDown();
        closer.join();
        assertEquals(List.of("flush"), image.calls);
        queue.close();
    }

    @Test
    void noCompletionIsLostUnderLoad() throws Exception {
        BlockNode node = open(new FakeImage(1 << 20));
        int depth = 32;
        int total = 50_000;
        IoVector vector = buffer(0, 64);
        long[] counts = new long[2];
        try (BlockQueue queue = node.openQueue(depth);
                Epoll epoll = new Epoll(1)) {
            epoll.add(queue.fd(), Epoll.IN, 0);
            while (counts[1] < total) {
                while (counts[0] < total && queue.inFlight() < depth) {
                    queue.read(counts[0]++, 0, vector);
                }
                queue.submit();
                epoll.await(-1);
                queue.reap((_, result) -> counts[1] += result == Errno.OK ? 1 : 0);
            }
            assertEquals(0, queue.inFlight());
        }
    }

    @Test
    void requestsCanBeStartedFromTheCompletion() throws Exception {
        BlockNode node = open(new QueuedImage(1 << 20, BlockLimits.NONE));
        int[] rounds = new int[1];
        try (BlockQueue queue = node.openQueue(1);
                Epoll epoll = new Epoll(1)) {
            epoll.add(queue.fd(), Epoll.IN, 0);
            queue.read(0, 0, buffer(0, 512));
            queue.submit();
            while (queue.inFlight() > 0) {
                epoll.await(-1);
                queue.reap(
                        (cookie, _) -> {
                            rounds[0]++;
                            if (cookie < 100) {
                                queue.read(cookie + 1, 0, buffer(0, 512));
                            }
                        });
                queue.submit();
            }
        }
        assertEquals(101, rounds[0]);
    }

    @Test
    void nothingIsAllocatedPerRequest() throws Exception {
        BlockNode node =
                open(
                        new FakeImage(1 << 20) {
                            @Override
                            public void read(long offset, IoVector into) {}

                            @Override
                            public boolean tryRead(long offset, IoVector into) {
                                return true;
                            }
                        });
        IoVector vector = buffer(0, 4096);
        BlockQueue.Completion ignore = (_, _) -> {};
        try (BlockQueue queue = node.openQueue(4);
                Epoll epoll = new Epoll(1)) {
            epoll.add(queue.fd(), Epoll.IN, 0);
            Allocation.assertNone(
                    "a request inline and one queued",
                    () -> {
                        node.read(4096, vector);
                        node.tryRead(8192, vector);
                        queue.read(1, 4096, vector);
                        queue.submit();
                        epoll.await(-1);
                        queue.reap(ignore);
                    });
        }
    }

    @Test
    void depthIsBounded() {
        BlockNode node = open(new FakeImage(4096));
        assertThrows(IllegalArgumentException.class, () -> node.openQueue(0));
        assertThrows(IllegalArgumentException.class, () -> node.openQueue(4097));
        node.openQueue(4096).close();
        assertTrue(log.isEmpty());
        assertFalse(node.readOnly());
    }
}

package io.blockwharf.virtio.blk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.linux.EventFd;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.virtio.queue.FakeVirtqueue;
import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** A queue and the I/O thread that it shares with others. */
@Timeout(120)
class RunningQueueTest {
    private static final int SIZE = 16;
    private static final long FEATURES = Virtqueue.F_VERSION_1 | Virtqueue.F_EVENT_IDX;
    private static final long HEADER = FakeVirtqueue.BUFFERS;
    private static final long STATUS = HEADER + 0x1000;
    private static final long DATA = HEADER + 0x2000;

    private final Arena arena = Arena.ofShared();
    private final SharedMemory memory = new SharedMemory(arena);
    private final VirtioBlk device = new VirtioBlk(new MemoryNode(1 << 20), true, 512, 1, "");
    private final TestIoThread thread = new TestIoThread("test");
    private final EventFd kick;

    RunningQueueTest() throws Exception {
        kick = EventFd.open();
    }

    @AfterEach
    void end() {
        thread.close();
        kick.close();
        arena.close();
    }

    /** A driver that refills its ring whenever it is told that something is done. */
    private final class Restless implements RunningQueue.Transport {
        private final long features;
        private final FakeVirtqueue ring;
        private final CountDownLatch rounds = new CountDownLatch(1000);
        private volatile boolean resting;

        Restless(boolean packed) {
            features = FEATURES | (packed ? Virtqueue.F_RING_PACKED : 0);
            ring =
                    packed
                            ? new FakeVirtqueue.Packed(memory.bytes(), SIZE, features)
                            : new FakeVirtqueue.Split(memory.bytes(), SIZE, features);
            ring.wantInterrupts(true);
            add();
        }

        private void add() {
            long header = HEADER - SharedMemory.BASE;
            memory.bytes().set(ValueLayout.JAVA_LONG_UNALIGNED, header, 0);
            memory.bytes().set(ValueLayout.JAVA_LONG_UNALIGNED, header + 8, 0);
            ring.add(
                    List.of(
                            new Part(HEADER, 16, false),
                            new Part(DATA, 512, true),
                            new Part(STATUS, 1, true)));
        }

        @Override
        public Virtqueue open() throws VirtqueueException {
            return switch (ring) {
                case FakeVirtqueue.Split split -> split.device(memory, features, 0);
                case FakeVirtqueue.Packed packed -> packed.device(memory, features, 0x8000_8000);
            };
        }

        @Override
        public void notifyDriver() {
            assertEquals(513, ring.poll().orElseThrow().written());
            rounds.countDown();
            if (!resting) {
                add();
            }
        }

        @Override
        public void broken(Throwable reason) {
            throw new AssertionError(reason);
        }
    }

    /** A ring that is never empty: its thread does other work, and the ring can be stopped. */
    @ParameterizedTest(name = "packed {0}")
    @ValueSource(booleans = {false, true})
    void aDriverThatNeverRestsHoldsNobodyUp(boolean packed) throws Exception {
        var driver = new Restless(packed);
        var started =
                CompletableFuture.supplyAsync(
                        () ->
                                RunningQueue.start(
                                        thread,
                                        device,
                                        OptionalInt.of(kick.fd()),
                                        Optional.empty(),
                                        driver));
        try {
            RunningQueue queue = started.get(60, TimeUnit.SECONDS);
            assertTrue(driver.rounds.await(60, TimeUnit.SECONDS));
            kick.signal();
            var other = new CompletableFuture<Void>();
            thread.execute(() -> other.complete(null));
            other.get(60, TimeUnit.SECONDS);
            queue.stop();
            assertTrue(queue.served() >= 1000);
        } finally {
            driver.resting = true;
        }
    }

    /** Queues in turn, beginning anew where there are more of them than threads. */
    @Test
    void queuesAreSpreadOverTheThreads() {
        try (var second = new TestIoThread("second");
                var threads = new QueueThreads(List.of(thread, second))) {
            assertEquals(2, threads.count());
            assertEquals(
                    List.of(thread, second, thread, second, thread),
                    List.of(
                            threads.of(0),
                            threads.of(1),
                            threads.of(2),
                            threads.of(3),
                            threads.of(4)));
        }
    }
}

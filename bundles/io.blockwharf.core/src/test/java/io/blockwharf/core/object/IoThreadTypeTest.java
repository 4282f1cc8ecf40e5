package io.blockwharf.core.object;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.export.IoThreads;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.Map;
import java.util.Optional;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.atomic.AtomicLong;

class IoThreadTypeTest {
    private static final String RANGE = " value must be in range [0, 9223372036854775807]";

    private static IoThreadType.Properties properties(Map<String, Long> given) {
        return new IoThreadType.Properties(
                Optional.ofNullable(given.get("aio-max-batch")),
                Optional.ofNullable(given.get("thread-pool-min")),
                Optional.ofNullable(given.get("thread-pool-max")),
                Optional.ofNullable(given.get("poll-max-ns")),
                Optional.ofNullable(given.get("poll-grow")),
                Optional.ofNullable(given.get("poll-shrink")));
    }

    /** Asked of qemu-storage-daemon 7.2. */
    @ParameterizedTest(name = "{0}={1}")
    @CsvSource({
        "aio-max-batch,-1", "thread-pool-min,-1", "thread-pool-max,-1",
        "poll-max-ns,-1", "poll-grow,-1", "poll-shrink,-9223372036854775808"
    })
    void propertiesAreNotNegative(String name, long value) {
        assertEquals(
                name + RANGE,
                assertThrows(
                                QmpException.class,
                                () ->
                                        new IoThreadType()
                                                .create("x", properties(Map.of(name, value))))
                        .getMessage());
    }

    @ParameterizedTest(name = "min {0} max {1}")
    @CsvSource({"0,0", "9,3", "0,99999999999", "65,"})
    void theThreadPoolHasAThreadAndItsBoundsAreInOrder(long min, Long max) {
        Map<String, Long> given =
                max == null
                        ? Map.of("thread-pool-min", min)
                        : Map.of("thread-pool-min", min, "thread-pool-max", max);

        assertEquals(
                "bad thread-pool-min/thread-pool-max values",
                assertThrows(
                                QmpException.class,
                                () -> new IoThreadType().create("x", properties(given)))
                        .getMessage());
    }

    @Test
    void whatIsGivenToAnIoThreadRunsOnItsThread() throws Exception {
        BlockingQueue<String> ran = new LinkedBlockingQueue<>();
        Object object = new IoThreadType().create("x", properties(Map.of("poll-max-ns", 0L)));
        try (EventFd bell = EventFd.open();
                IoThreads.Owned ioThread = (IoThreads.Owned) object) {
            Runnable task = () -> ran.add(Thread.currentThread().getName());
            ioThread.execute(task);
            assertEquals("IO x", ran.take());
            assertEquals("x", ioThread.id());

            IoThread.Watch watch =
                    ioThread.watch(
                            bell.fd(),
                            () -> {
                                clear(bell);
                                task.run();
                            });
            bell.signal();
            assertEquals("IO x", ran.take());
            watch.close();
            bell.signal();
            ioThread.execute(() -> ran.add("end"));
            assertEquals("end", ran.take());
        }
    }

    /** As qom-set does it. */
    @Test
    @Timeout(120)
    void aRunningThreadBeginsAndStopsToPoll() throws Exception {
        var type = new IoThreadType();
        Object object = type.create("x", properties(Map.of("poll-max-ns", 0L)));
        try (IoThreads.Owned thread = (IoThreads.Owned) object) {
            var polls = new AtomicLong();
            IoThread.Watch source =
                    thread.poll(
                            () -> {
                                polls.incrementAndGet();
                                return false;
                            });
            assertTrue(pollsOfTasks(thread, polls) < FEW_POLLS);

            // Longer than any wait. It is tried anew again and again, also after many in vain
            type.change(object, properties(Map.of("poll-max-ns", 100_000_000L)));
            while (pollsOfTasks(thread, polls) < FEW_POLLS) {}

            type.change(object, properties(Map.of("poll-max-ns", 0L)));
            pollsOfTasks(thread, polls); // the first may have come while it still polled
            assertTrue(pollsOfTasks(thread, polls) < FEW_POLLS);
            source.close();
        }
    }

    private static final int TASKS = 100;

    /** A thread that does not poll asks its sources once a round: a few times for each task. */
    private static final int FEW_POLLS = 10 * TASKS;

    private static long pollsOfTasks(IoThread thread, AtomicLong polls)
            throws InterruptedException {
        long before = polls.get();
        for (int i = 0; i < TASKS; i++) {
            var ran = new CountDownLatch(1);
            thread.execute(ran::countDown);
            ran.await();
        }
        return polls.get() - before;
    }

    @Test
    void aWatchCanStopReadingAndAskForWriting() throws Exception {
        BlockingQueue<String> ran = new LinkedBlockingQueue<>();
        try (EventFd bell = EventFd.open();
                IoThreads.Owned loop = new OwnLoops().open("own")) {
            BlockingQueue<IoThread.Watch> watches = new LinkedBlockingQueue<>();
            watches.add(
                    loop.watch(
                            bell.fd(),
                            () -> {
                                IoThread.Watch watch = watches.remove();
                                watch.readable(false);
                                watch.writable(false);
                                watches.add(watch);
                                ran.add("woken");
                            }));
            loop.execute(
                    () -> {
                        watches.element().readable(false);
                        ran.add("paused");
                    });
            assertEquals("paused", ran.take());
            bell.signal();
            // An eventfd is always writable.
            loop.execute(() -> watches.element().writable(true));
            assertEquals("woken", ran.take());
            loop.execute(() -> ran.add("quiet"));
            assertEquals("quiet", ran.take());
            loop.execute(() -> watches.element().readable(true));
            assertEquals("woken", ran.take());
        }
    }

    @Test
    void anEdgeIsToldOnceForEachSignal() throws Exception {
        BlockingQueue<String> ran = new LinkedBlockingQueue<>();
        try (EventFd bell = EventFd.open();
                IoThreads.Owned loop = new OwnLoops().open("own")) {
            loop.watchEdge(bell.fd(), () -> ran.add("edge"));
            for (int i = 0; i < 2; i++) {
                bell.signal();
                assertEquals("edge", ran.take());
            }
            loop.execute(() -> ran.add("quiet"));
            assertEquals("quiet", ran.take());
        }
    }

    @Test
    void aPollerIsAskedBeforeTheLoopSleeps() throws Exception {
        BlockingQueue<String> ran = new LinkedBlockingQueue<>();
        try (IoThreads.Owned loop = new OwnLoops().open("own")) {
            loop.poll(
                    () -> {
                        ran.offer("polled");
                        return false;
                    });
            assertEquals("polled", ran.take());
        }
    }

    private static void clear(EventFd bell) {
        try {
            bell.clear();
        } catch (LinuxException e) {
            throw new AssertionError(e);
        }
    }
}

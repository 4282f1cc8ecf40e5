package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/** eventfd(2), poll(2), epoll(7), timerfd_create(2) and the loop that is made of them. */
@Timeout(120)
class WaitingTest {

    @Test
    void anEventIsCountedAndTakenOnce() throws IOException {
        try (EventFd event = EventFd.open()) {
            assertEquals(0, event.clear());
            event.signal();
            event.signal();
            assertEquals(2, event.await());
            assertEquals(0, event.clear());
        }
    }

    @ParameterizedTest(name = "blocking: {0}")
    @CsvSource({"true", "false"})
    void aWaitingThreadIsWoken(boolean blocking) throws Exception {
        try (EventFd event = blocking ? EventFd.openBlocking() : EventFd.open()) {
            CompletableFuture<Long> count = new CompletableFuture<>();
            Thread.ofPlatform()
                    .daemon()
                    .start(
                            () -> {
                                try {
                                    count.complete(event.await());
                                } catch (IOException e) {
                                    count.completeExceptionally(e);
                                }
                            });
            event.signal();
            assertEquals(1L, count.get(20, TimeUnit.SECONDS));
        }
    }

    @Test
    void pollTellsWhichDescriptorIsReady() throws IOException {
        try (EventFd first = EventFd.open();
                EventFd second = EventFd.open()) {
            Poll poll = new Poll(3);
            poll.set(0, first.fd(), Poll.IN);
            poll.set(2, second.fd(), Poll.IN | Poll.OUT);
            assertEquals(1, poll.await(0));
            assertEquals(0, poll.events(0));
            assertEquals(Poll.OUT, poll.events(2));
            first.signal();
            poll.set(2, -1, 0);
            assertEquals(1, poll.await(-1));
            assertEquals(Poll.IN, poll.events(0));
            assertEquals(0, poll.events(2));
        }
    }

    @Test
    void pollReportsAClosedDescriptor() throws IOException {
        Poll poll = new Poll(1);
        poll.set(0, 9999, Poll.IN);
        assertEquals(1, poll.await(-1));
        assertEquals(Poll.INVALID, poll.events(0));
    }

    @Test
    void epollReportsCookies() throws IOException {
        try (Epoll epoll = new Epoll(4);
                EventFd first = EventFd.open();
                EventFd second = EventFd.open()) {
            epoll.add(first.fd(), Epoll.IN, 0x1122334455667788L);
            epoll.add(second.fd(), Epoll.IN, -2);
            assertEquals(0, epoll.await(0));
            second.signal();
            assertEquals(1, epoll.await(-1));
            assertEquals(-2, epoll.cookie(0));
            assertEquals(Epoll.IN, epoll.events(0));
            epoll.modify(second.fd(), 0, 5);
            first.signal();
            assertEquals(1, epoll.await(-1));
            assertEquals(0x1122334455667788L, epoll.cookie(0));
            epoll.remove(first.fd());
            assertEquals(0, epoll.await(0));
            assertThrows(LinuxException.class, () -> epoll.remove(first.fd()));
        }
    }

    @Test
    void aTimerGoesOffOnce() throws IOException {
        try (TimerFd timer = new TimerFd()) {
            assertFalse(timer.clear());
            timer.set(1);
            Poll poll = new Poll(1);
            poll.set(0, timer.fd(), Poll.IN);
            assertEquals(1, poll.await(-1));
            assertTrue(timer.clear());
            assertFalse(timer.clear());
        }
    }

    @Test
    void tasksRunInOrderOnTheLoopsThread() throws Exception {
        List<Integer> order = new ArrayList<>();
        CompletableFuture<String> thread = new CompletableFuture<>();
        try (EventLoop loop = new EventLoop("iothread io0")) {
            for (int i = 0; i < 1000; i++) {
                int number = i;
                loop.execute(() -> order.add(number));
            }
            loop.execute(() -> thread.complete(Thread.currentThread().getName()));
            assertEquals("iothread io0", thread.get(20, TimeUnit.SECONDS));
            assertFalse(loop.isLoopThread());
        }
        assertEquals(1000, order.size());
        assertEquals(order.stream().sorted().toList(), order);
    }

    @Test
    void aHandlerRunsUntilItsWatchIsClosed() throws Exception {
        try (EventLoop loop = new EventLoop("test");
                EventFd event = EventFd.open()) {
            Semaphore calls = new Semaphore(0);
            EventLoop.Watch watch =
                    loop.watch(
                            event.fd(),
                            Epoll.IN,
                            () -> {
                                clear(event);
                                calls.release();
                            });
            event.signal();
            assertTrue(calls.tryAcquire(20, TimeUnit.SECONDS));
            event.signal();
            assertTrue(calls.tryAcquire(20, TimeUnit.SECONDS));
            watch.close();
            watch.close();
            event.signal();
            CountDownLatch round = new CountDownLatch(1);
            loop.execute(round::countDown);
            assertTrue(round.await(20, TimeUnit.SECONDS));
            assertEquals(0, calls.availablePermits());
        }
    }

    /** Lets the loop go round, twice: the first round may have looked already. */
    private static void goRound(EventLoop loop) throws InterruptedException {
        for (int i = 0; i < 2; i++) {
            onLoop(loop, () -> {});
        }
    }

    private static void onLoop(EventLoop loop, Runnable task) throws InterruptedException {
        CountDownLatch done = new CountDownLatch(1);
        loop.execute(
                () -> {
                    task.run();
                    done.countDown();
                });
        assertTrue(done.await(20, TimeUnit.SECONDS));
    }

    @Test
    void aWatchWaitsForWhatItIsToldTo() throws Exception {
        try (EventLoop loop = new EventLoop("test");
                EventFd event = EventFd.open()) {
            Semaphore calls = new Semaphore(0);
            EventLoop.Watch[] watch = new EventLoop.Watch[1];
            watch[0] =
                    loop.watch(
                            event.fd(),
                            Epoll.IN | Epoll.EDGE,
                            () -> {
                                calls.release();
                                watch[0].writable(false);
                            });
            onLoop(loop, () -> watch[0].readable(false));
            event.signal();
            goRound(loop);
            assertEquals(0, calls.availablePermits());
            onLoop(loop, () -> watch[0].readable(true));
            assertTrue(calls.tryAcquire(20, TimeUnit.SECONDS));
            goRound(loop);
            assertEquals(0, calls.availablePermits(), "edge-triggered, as it was");
            onLoop(
                    loop,
                    () -> {
                        watch[0].readable(false);
                        watch[0].writable(true);
                    });
            assertTrue(calls.tryAcquire(20, TimeUnit.SECONDS));
        }
    }

    @Test
    void aWatchThatAHandlerClosesIsNotServedAnyMore() throws Exception {
        try (EventLoop loop = new EventLoop("test");
                EventFd first = EventFd.open();
                EventFd second = EventFd.open()) {
            AtomicInteger calls = new AtomicInteger();
            CountDownLatch served = new CountDownLatch(1);
            EventLoop.Watch[] watches = new EventLoop.Watch[2];
            // Both are ready in the same round; whoever comes first closes both
            Runnable handler =
                    () -> {
                        calls.incrementAndGet();
                        watches[0].close();
                        watches[1].close();
                        served.countDown();
                    };
            first.signal();
            second.signal();
            CountDownLatch watching = new CountDownLatch(1);
            loop.execute(
                    () -> {
                        try {
                            watches[0] = loop.watch(first.fd(), Epoll.IN, handler);
                            watches[1] = loop.watch(second.fd(), Epoll.IN, handler);
                        } catch (LinuxException e) {
                            throw new AssertionError(e);
                        }
                        watching.countDown();
                    });
            assertTrue(watching.await(20, TimeUnit.SECONDS));
            assertTrue(served.await(20, TimeUnit.SECONDS));
            CountDownLatch round = new CountDownLatch(1);
            loop.execute(round::countDown);
            assertTrue(round.await(20, TimeUnit.SECONDS));
            assertEquals(1, calls.get());
        }
    }

    @Test
    void manyWatchesAreToldApart() throws Exception {
        int count = 50;
        EventFd[] events = new EventFd[count];
        CountDownLatch[] served = new CountDownLatch[count];
        try (EventLoop loop = new EventLoop("test")) {
            for (int i = 0; i < count; i++) {
                EventFd event = events[i] = EventFd.open();
                CountDownLatch latch = served[i] = new CountDownLatch(1);
                loop.watch(
                        event.fd(),
                        Epoll.IN,
                        () -> {
                            clear(event);
                            latch.countDown();
                        });
            }
            for (int i = count - 1; i >= 0; i--) {
                events[i].signal();
                assertTrue(served[i].await(20, TimeUnit.SECONDS));
            }
        } finally {
            for (EventFd event : events) {
                event.close();
            }
        }
    }

    @Test
    void aFailingHandlerDoesNotEndTheLoop() throws Exception {
        try (EventLoop loop = new EventLoop("test")) {
            CompletableFuture<Throwable> reported = new CompletableFuture<>();
            loop.execute(
                    () ->
                            Thread.currentThread()
                                    .setUncaughtExceptionHandler((_, e) -> reported.complete(e)));
            RuntimeException failure = new RuntimeException("a bug");
            loop.execute(
                    () -> {
                        throw failure;
                    });
            CountDownLatch after = new CountDownLatch(1);
            loop.execute(after::countDown);
            assertTrue(after.await(20, TimeUnit.SECONDS));
            assertEquals(failure, reported.get(20, TimeUnit.SECONDS));
        }
    }

    @Test
    void aPollerIsAskedUntilItIsClosed() throws Exception {
        try (EventLoop loop = new EventLoop("test")) {
            loop.polling(1_000_000, 0, 0);
            Semaphore work = new Semaphore(0);
            Semaphore done = new Semaphore(0);
            EventLoop.Poller poller =
                    loop.poll(
                            () -> {
                                boolean found = work.tryAcquire();
                                if (found) {
                                    done.release();
                                }
                                return found;
                            });
            for (int i = 0; i < 100; i++) {
                work.release();
                loop.execute(() -> {}); // whatever wakes a sleeping loop
                assertTrue(done.tryAcquire(20, TimeUnit.SECONDS));
            }
            poller.close();
            work.release();
            CountDownLatch round = new CountDownLatch(1);
            loop.execute(round::countDown);
            assertTrue(round.await(20, TimeUnit.SECONDS));
            assertEquals(0, done.availablePermits());
        }
    }

    @Test
    void aClosedLoopRunsWhatItWasGivenAndNothingAfter() throws Exception {
        EventLoop loop = new EventLoop("test");
        AtomicInteger ran = new AtomicInteger();
        loop.execute(ran::incrementAndGet);
        loop.close();
        loop.close();
        assertEquals(1, ran.get());
        assertThrows(RejectedExecutionException.class, () -> loop.execute(ran::incrementAndGet));
        assertEquals(1, ran.get());
    }

    /**
     * A source that has work whenever it is asked again does not hold up a descriptor, whether its
     * work is found on the first look of a round or by the polling after it. The rule polls for an
     * hour and never pauses, so that only the count of finds lets the loop look elsewhere.
     */
    @ParameterizedTest(name = "found on look {0} of each round")
    @ValueSource(ints = {1, 2})
    void descriptorsAreServedBesideABusyPoller(int looksForAFind) throws Exception {
        long hour = TimeUnit.HOURS.toNanos(1);
        AdaptivePolling polling = new AdaptivePolling(hour, hour, 0, () -> 0);
        for (int i = 0; i < 17; i++) {
            polling.slept(1);
        }
        assertEquals(hour, polling.nanos());
        // Finds after the descriptor became ready, until it was served or there were too many
        CompletableFuture<Integer> finds = new CompletableFuture<>();
        try (EventFd event = EventFd.open();
                EventLoop loop = new EventLoop("test")) {
            loop.polling(polling);
            EventLoop.PollSource source =
                    new EventLoop.PollSource() {
                        private int looks;
                        private int found;

                        @Override
                        public boolean poll() {
                            if (++looks % looksForAFind != 0) {
                                return false;
                            }
                            if (++found == 1) {
                                watch(loop, event, () -> finds.complete(found - 1));
                                signal(event);
                            } else if (found == 10_000) {
                                finds.complete(found - 1);
                            }
                            return true;
                        }

                        @Override
                        public boolean sleep() {
                            return false;
                        }
                    };
            loop.poll(source);
            assertTrue(finds.get(60, TimeUnit.SECONDS) <= EventLoop.POLLED_ROUNDS);
        }
    }

    private static void watch(EventLoop loop, EventFd event, Runnable handler) {
        try {
            loop.watch(event.fd(), Epoll.IN, handler);
        } catch (LinuxException e) {
            throw new AssertionError(e);
        }
    }

    private static void signal(EventFd event) {
        try {
            event.signal();
        } catch (LinuxException e) {
            throw new AssertionError(e);
        }
    }

    /** In the sequence {@code N*T} are N sleeps of T nanoseconds, {@code +} is a find. */
    @ParameterizedTest(name = "max {0}, grow {1}, shrink {2}: after {3} polls {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    0     | 0 | 0 | 99*100                      | 0
                    32000 | 0 | 0 | 15*100                      | 0
                    32000 | 0 | 0 | 16*100                      | 4000
                    2000  | 0 | 0 | 16*100                      | 2000
                    32000 | 0 | 0 | 16*100 1*5000               | 8000
                    32000 | 4 | 0 | 16*100 1*5000               | 16000
                    32000 | 0 | 0 | 16*100 4*5000               | 32000
                    20000 | 0 | 0 | 16*100 4*5000               | 20000
                    32000 | 0 | 0 | 16*50000                    | 32000
                    32000 | 0 | 2 | 16*50000 1*50000            | 16000
                    32000 | 0 | 0 | 16*50000 7*50000            | 32000
                    32000 | 0 | 0 | 16*50000 8*50000            | 0
                    32000 | 0 | 0 | 16*50000 7*50000 + 7*50000  | 32000
                    32000 | 0 | 0 | 16*50000 8*50000 31*50000   | 0
                    32000 | 0 | 0 | 16*50000 8*50000 32*50000   | 32000
                    32000 | 0 | 0 | 16*50000 8*50000 + 31*50000 | 0
                    32000 | 0 | 0 | 16*50000 8*50000 + 32*50000 | 32000
                    32000 | 0 | 0 | 16*50000 8*50000 32*50000 + 8*50000 16*50000 | 0
                    32000 | 0 | 0 | 16*50000 8*50000 32*50000 + 8*50000 32*50000 | 32000
                    """)
    void pollingAdapts(long max, long grow, long shrink, String waits, long expected) {
        AdaptivePolling polling = new AdaptivePolling(max, grow, shrink, () -> 0);
        for (String wait : waits.split(" +")) {
            if (wait.equals("+")) {
                polling.found();
                continue;
            }
            String[] times = wait.split("\\*");
            for (int i = 0; i < Integer.parseInt(times[0]); i++) {
                polling.slept(Long.parseLong(times[1]));
            }
        }
        assertEquals(expected, polling.nanos());
    }

    @ParameterizedTest(name = "{0} preemptions in 64 polls: polls {1}")
    @CsvSource({"0, 32000", "8, 32000", "9, 0", "64, 0"})
    void aProcessorThatOthersNeedIsNotPolled(long preemptions, long expected) {
        AtomicLong all = new AtomicLong(1000);
        AdaptivePolling polling = new AdaptivePolling(32000, 0, 0, all::get);
        for (int i = 0; i < 16; i++) {
            polling.slept(50_000);
        }
        all.addAndGet(preemptions);
        for (int i = 0; i < 64; i++) {
            polling.found();
        }
        assertEquals(expected, polling.nanos());
    }

    private static void clear(EventFd event) {
        try {
            event.clear();
        } catch (LinuxException e) {
            throw new AssertionError(e);
        }
    }
}

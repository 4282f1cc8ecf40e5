package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.RejectedExecutionException;

/**
 * One thread that waits for many descriptors and runs what belongs to them, one after the other.
 * What it runs must not block. Nothing is allocated per event.
 *
 * <p>All methods may be called from any thread. An exception of a handler or task goes to the
 * thread's uncaught exception handler; the loop goes on.
 */
public final class EventLoop implements AutoCloseable {
    private static final int EVENTS_PER_WAIT = 64;
    private static final long WAKE = -1;

    /** Looks at the descriptors again after this many rounds in which polling found work. */
    static final int POLLED_ROUNDS = 8;

    /** A descriptor that the loop waits for, until it is closed. */
    public final class Watch implements AutoCloseable {
        private final int fd;
        private final long cookie;
        private final Runnable handler;
        private boolean closed;

        /** Of {@link Epoll}; of the loop's thread once the watch is there. */
        private int events;

        private Watch(int fd, int events, long cookie, Runnable handler) {
            this.fd = fd;
            this.events = events;
            this.cookie = cookie;
            this.handler = handler;
        }

        /**
         * Waits for readability, or no longer does. On the loop's thread.
         *
         * @throws UncheckedIOException if the kernel has no memory for it
         */
        public void readable(boolean interested) {
            want(Epoll.IN, interested);
        }

        /**
         * Waits for writability, or no longer does. On the loop's thread.
         *
         * @throws UncheckedIOException if the kernel has no memory for it
         */
        public void writable(boolean interested) {
            want(Epoll.OUT, interested);
        }

        private void want(int event, boolean interested) {
            int wanted = interested ? events | event : events & ~event;
            if (wanted == events) {
                return;
            }
            try {
                epoll.modify(fd, wanted, cookie);
            } catch (LinuxException e) {
                throw new UncheckedIOException(e);
            }
            events = wanted;
        }

        /**
         * Ends the watch. When it returns the handler is not running and will not be called again;
         * from another thread than the loop's it waits for that. Close it before the descriptor.
         * Idempotent.
         */
        @Override
        public void close() {
            onLoopThread(this::remove);
        }

        private void remove() {
            if (closed) {
                return;
            }
            closed = true;
            synchronized (changes) {
                Watch[] changed = watches.clone();
                changed[(int) cookie] = null;
                watches = changed;
            }
            try {
                epoll.remove(fd);
            } catch (LinuxException e) {
                // The descriptor was closed before its watch: the kernel has removed it
            }
        }
    }

    /** Where work may come from that no descriptor tells of. Called on the loop's thread. */
    @FunctionalInterface
    public interface PollSource {
        /** Does what there is to do. Returns whether there was anything. */
        boolean poll();

        /**
         * The loop is about to sleep: from now on a descriptor has to tell of new work.
         *
         * @return whether the loop may sleep: false if there is work already
         */
        default boolean sleep() {
            return true;
        }
    }

    /** A source of work that the loop asks before it sleeps, until it is closed. */
    public final class Poller implements AutoCloseable {
        private final PollSource source;

        private Poller(PollSource source) {
            this.source = source;
        }

        /** Ends it, as {@link Watch#close()} does. */
        @Override
        public void close() {
            onLoopThread(
                    () -> {
                        synchronized (changes) {
                            pollers =
                                    Arrays.stream(pollers)
                                            .filter(other -> other != this)
                                            .toArray(Poller[]::new);
                        }
                    });
        }
    }

    private static final int RUSAGE_THREAD = 1;

    /** struct rusage: two times and 14 longs. */
    private static final long RUSAGE_BYTES = 144;

    private final MemorySegment usage = Arena.ofAuto().allocate(RUSAGE_BYTES, 8);
    private final Object changes = new Object();
    private final Epoll epoll;
    private final EventFd wake;
    private final Thread thread;
    private final Queue<Runnable> tasks = new ConcurrentLinkedQueue<>();

    /** Replaced as a whole under {@link #changes}; the low half of a cookie is an index in it. */
    private volatile Watch[] watches = new Watch[8];

    private volatile Poller[] pollers = {};
    private volatile AdaptivePolling polling = new AdaptivePolling(0, 0, 0, () -> 0);

    /** True from before the loop's last look at {@link #tasks} until it has slept. */
    private volatile boolean asleep;

    private volatile boolean closing;
    private volatile boolean ended;

    /** Of the loop's thread: rounds since it last looked at the descriptors. */
    private int polledRounds;

    /** Guarded by {@link #changes}; tells a watch from an earlier one at the same place. */
    private int generation;

    /**
     * Starts the loop.
     *
     * @param name of its thread
     */
    public EventLoop(String name) throws LinuxException {
        epoll = new Epoll(EVENTS_PER_WAIT);
        try {
            wake = EventFd.open();
            epoll.add(wake.fd(), Epoll.IN, WAKE);
        } catch (LinuxException e) {
            epoll.close();
            throw e;
        }
        thread = Thread.ofPlatform().name(name).daemon().start(this::run);
    }

    /** Polls before it sleeps, as these rules say; see {@link AdaptivePolling}. */
    public void polling(long maxNanos, long grow, long shrink) {
        polling(new AdaptivePolling(maxNanos, grow, shrink, this::preemptions));
    }

    /** From now on {@code rule} is the loop's own. */
    void polling(AdaptivePolling rule) {
        polling = rule;
    }

    /**
     * Calls {@code handler} on the loop's thread as long as one of {@code events} (of {@link
     * Epoll}) is there, or the descriptor has an error or is hung up.
     */
    public Watch watch(int fd, int events, Runnable handler) throws LinuxException {
        synchronized (changes) {
            int index = 0;
            while (index < watches.length && watches[index] != null) {
                index++;
            }
            Watch[] changed =
                    Arrays.copyOf(
                            watches, index < watches.length ? watches.length : watches.length * 2);
            generation = (generation + 1) & Integer.MAX_VALUE; // never WAKE
            Watch watch = new Watch(fd, events, (long) generation << 32 | index, handler);
            changed[index] = watch;
            watches = changed;
            try {
                epoll.add(fd, events, watch.cookie);
            } catch (LinuxException e) {
                changed[index] = null;
                throw e;
            }
            return watch;
        }
    }

    /**
     * Calls {@code source} again and again while the loop polls before it sleeps, and once in every
     * round.
     */
    public Poller poll(PollSource source) {
        Poller poller = new Poller(source);
        synchronized (changes) {
            Poller[] more = Arrays.copyOf(pollers, pollers.length + 1);
            more[pollers.length] = poller;
            pollers = more;
        }
        wakeUp();
        return poller;
    }

    /**
     * Runs {@code task} on the loop's thread, soon and in the order of the calls.
     *
     * @throws RejectedExecutionException if the loop is closed
     */
    public void execute(Runnable task) {
        tasks.add(task);
        // Either the loop's last look finds the task, or this finds out that it has ended
        if (ended && tasks.remove(task)) {
            throw new RejectedExecutionException("the event loop is closed");
        }
        wakeUp();
    }

    /** Whether the caller is the loop's thread. */
    public boolean isLoopThread() {
        return Thread.currentThread() == thread;
    }

    private void onLoopThread(Runnable change) {
        if (isLoopThread() || ended) {
            change.run();
            return;
        }
        CountDownLatch done = new CountDownLatch(1);
        try {
            execute(
                    () -> {
                        change.run();
                        done.countDown();
                    });
        } catch (RejectedExecutionException e) {
            change.run();
            return;
        }
        boolean interrupted = false;
        while (done.getCount() > 0) {
            try {
                done.await();
            } catch (InterruptedException e) {
                interrupted = true; // what was begun is finished all the same
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void wakeUp() {
        // Pairs with the loop's write of asleep before it looks at tasks: one of both sees the
        // other's
        if (asleep) {
            try {
                wake.signal();
            } catch (LinuxException e) {
                // closed meanwhile: nobody to wake
            }
        }
    }

    private void run() {
        // No more than this: the loop is compiled, by on-stack replacement, long after the round
        while (!closing && round()) {}
        ended = true;
        runTasks();
        epoll.close();
        wake.close();
    }

    /** Whether the loop can go on. */
    private boolean round() {
        boolean busy = runTasks();
        if (pollOnce()) {
            busy = true;
            polling.found();
        }
        try {
            if (!busy && !pollsOrSleeps()) {
                polledRounds = 0;
            } else if (++polledRounds == POLLED_ROUNDS) {
                polledRounds = 0;
                dispatch(epoll.await(0));
            }
            return true;
        } catch (LinuxException e) {
            report(e);
            return false;
        }
    }

    /** Polls as long as the rule says, and then sleeps; whether polling has found something. */
    private boolean pollsOrSleeps() throws LinuxException {
        AdaptivePolling rule = polling;
        if (!rule.learns() || pollers.length == 0) {
            sleep();
            return false;
        }
        boolean measures = rule.measures();
        long start = measures ? System.nanoTime() : 0;
        if (rule.nanos() > 0 && pollUntil(start + rule.nanos())) {
            rule.found();
            return true;
        }
        sleep();
        rule.slept(measures ? System.nanoTime() - start : 0);
        return false;
    }

    /** Of this thread. getrusage(2), RUSAGE_THREAD: ru_nivcsw is the last field. */
    private long preemptions() {
        return Libc.getrusage(RUSAGE_THREAD, usage.address()) < 0
                ? 0
                : usage.get(JAVA_LONG, RUSAGE_BYTES - Long.BYTES);
    }

    /** Asks all pollers until one has found work, there is a task, or it is {@code deadline}. */
    private boolean pollUntil(long deadline) {
        while (System.nanoTime() - deadline < 0) {
            Thread.onSpinWait();
            if (pollOnce() || !tasks.isEmpty()) {
                return true;
            }
        }
        return false;
    }

    private boolean pollOnce() {
        boolean found = false;
        for (Poller poller : pollers) {
            try {
                found |= poller.source.poll();
            } catch (RuntimeException | Error e) {
                report(e);
            }
        }
        return found;
    }

    private void sleep() throws LinuxException {
        asleep = true;
        boolean quiet = pollersSleep();
        int events = epoll.await(quiet && tasks.isEmpty() && !closing ? -1 : 0);
        asleep = false;
        dispatch(events);
    }

    private boolean pollersSleep() {
        boolean quiet = true;
        for (Poller poller : pollers) {
            try {
                quiet &= poller.source.sleep();
            } catch (RuntimeException | Error e) {
                report(e);
            }
        }
        return quiet;
    }

    private void dispatch(int events) throws LinuxException {
        for (int i = 0; i < events; i++) {
            long cookie = epoll.cookie(i);
            if (cookie == WAKE) {
                wake.clear();
                continue;
            }
            // Looked up now: an earlier handler may have closed this one
            Watch watch = watches[(int) cookie];
            if (watch != null && watch.cookie == cookie) {
                runSafely(watch.handler);
            }
        }
    }

    private boolean runTasks() {
        boolean any = false;
        Runnable task;
        while ((task = tasks.poll()) != null) {
            any = true;
            runSafely(task);
        }
        return any;
    }

    private void runSafely(Runnable runnable) {
        try {
            runnable.run();
        } catch (RuntimeException | Error e) {
            report(e);
        }
    }

    private void report(Throwable e) {
        thread.getUncaughtExceptionHandler().uncaughtException(thread, e);
    }

    /**
     * Ends the loop: runs the tasks that were given before, then no more, and waits for its thread
     * unless called on it. The watched descriptors stay open. Idempotent.
     */
    @Override
    public void close() {
        closing = true;
        wakeUp();
        boolean interrupted = false;
        while (!isLoopThread() && thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true; // it is about to end
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

package io.blockwharf.linux;

import java.util.function.LongSupplier;

/**
 * How long to look again and again before going to sleep: what QEMU's iothreads call poll-max-ns,
 * poll-grow and poll-shrink. Owned by the waiting thread.
 *
 * <p>How long a wait took says too little. Waking up takes longer than many waits, above all in a
 * virtual machine whose processor has gone idle; and what is awaited may need the very processor
 * that would be polling. So polling is tried, and goes on while it finds something. After several
 * times in vain it pauses, for twice as many waits each time. It also pauses when the thread has
 * been preempted while it polled: somebody else needs the processor.
 */
public final class AdaptivePolling {
    private static final long FIRST_NANOS = 4_000;

    /** Times in vain, one after the other, after which it pauses. */
    private static final int PATIENCE = 8;

    private static final int FIRST_PAUSE = 16;
    private static final int LONGEST_PAUSE = 4096;

    /** Finds after which the preemptions are counted, and how many are too many. */
    private static final int LOOK = 64;

    private static final int MOST_PREEMPTIONS = LOOK / 8;

    private final long maxNanos;
    private final long grow;
    private final long shrink;
    private final LongSupplier preempted;
    private long nanos;
    private int vain;
    private int pause = FIRST_PAUSE;
    private int sleeps;
    private int finds;
    private long preemptions;

    /**
     * Starts without polling.
     *
     * @param maxNanos longest time to poll, 0 never to
     * @param grow factor by which the time grows, 0 for 2
     * @param shrink divisor by which it shrinks after a wait that was longer than {@code maxNanos},
     *     0 for not at all before it pauses
     * @param preempted how often the waiting thread was preempted, ever; asked on that thread
     */
    public AdaptivePolling(long maxNanos, long grow, long shrink, LongSupplier preempted) {
        this.maxNanos = maxNanos;
        this.grow = grow == 0 ? 2 : grow;
        this.shrink = shrink == 0 ? 1 : shrink;
        this.preempted = preempted;
    }

    /** Whether it has to be told of waits. */
    boolean learns() {
        return maxNanos > 0;
    }

    /** Whether it will look at how long the next wait takes: asking the clock twice costs 80 ns. */
    boolean measures() {
        return nanos > 0 || sleeps + 1 >= pause;
    }

    /** Nanoseconds to poll before the next sleep; 0 to sleep at once. */
    public long nanos() {
        return nanos;
    }

    /** A look has found something; counts only while it is looked before each sleep. */
    public void found() {
        if (nanos == 0) {
            return;
        }
        vain = 0;
        pause = FIRST_PAUSE;
        if (++finds == LOOK) {
            finds = 0;
            long before = preemptions;
            preemptions = preempted.getAsLong();
            if (preemptions - before > MOST_PREEMPTIONS) {
                pause(LONGEST_PAUSE);
            }
        }
    }

    private void pause(int waits) {
        nanos = 0;
        vain = 0;
        sleeps = 0;
        pause = waits;
    }

    /**
     * Polling has found nothing, or there was none.
     *
     * @param waited nanoseconds from the first look until something was there and the thread awake;
     *     any number unless it {@link #measures}
     */
    public void slept(long waited) {
        if (maxNanos == 0) {
            return;
        }
        boolean soon = waited <= maxNanos;
        if (nanos == 0) {
            sleeps++;
            if (sleeps >= pause) {
                nanos = soon ? Math.min(FIRST_NANOS, maxNanos) : maxNanos;
                finds = 0;
                preemptions = preempted.getAsLong();
            }
        } else if (++vain >= PATIENCE) {
            pause(Math.min(2 * pause, LONGEST_PAUSE));
        } else if (soon) {
            nanos = nanos > maxNanos / grow ? maxNanos : nanos * grow;
        } else {
            nanos = Math.max(nanos / shrink, 1);
        }
    }
}

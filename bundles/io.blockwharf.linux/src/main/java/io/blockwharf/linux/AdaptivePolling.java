package io.blockwharf.linux;

/**
 * How long to look again and again before going to sleep, learned from how long the last waits
 * took: the rule of QEMU's iothreads (poll-max-ns, poll-grow, poll-shrink). Owned by the waiting
 * thread.
 */
public final class AdaptivePolling {
    private static final long FIRST_NANOS = 4_000;

    private final long maxNanos;
    private final long grow;
    private final long shrink;
    private long nanos;

    /**
     * Starts without polling.
     *
     * @param maxNanos longest time to poll, 0 never to
     * @param grow factor by which the time grows, 0 for 2
     * @param shrink divisor by which it shrinks, 0 to stop polling at once
     */
    public AdaptivePolling(long maxNanos, long grow, long shrink) {
        this.maxNanos = maxNanos;
        this.grow = grow == 0 ? 2 : grow;
        this.shrink = shrink;
    }

    /** Whether it has to be told how long waits take. */
    boolean learns() {
        return maxNanos > 0;
    }

    /** Nanoseconds to poll before the next sleep; 0 to sleep at once. */
    public long nanos() {
        return nanos;
    }

    /**
     * Learns from a wait that took {@code waited} nanoseconds from the first look until something
     * was there, asleep or not.
     */
    public void waited(long waited) {
        if (maxNanos == 0 || waited <= nanos) {
            return; // polling found it, or would have
        }
        if (waited > maxNanos) {
            nanos = shrink == 0 ? 0 : nanos / shrink;
        } else if (nanos == 0) {
            nanos = Math.min(FIRST_NANOS, maxNanos);
        } else {
            nanos = nanos > maxNanos / grow ? maxNanos : nanos * grow;
        }
    }
}

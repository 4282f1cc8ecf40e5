package io.blockwharf.qcow2;

import java.util.concurrent.atomic.AtomicLongArray;

/**
 * Counts the requests under way, in two generations: clusters that were given up may be used again
 * when all requests that could still have seen them have ended. Counting does not wait and hardly
 * ever meets another thread.
 */
final class InFlight {
    private static final int STRIPES = 16;

    /** Longs between two counters, so that they do not share a cache line. */
    private static final int PAD = 16;

    private final AtomicLongArray counts = new AtomicLongArray(2 * STRIPES * PAD);
    private volatile int generation;

    /**
     * A request begins.
     *
     * @return to be given to {@link #exit}
     */
    int enter() {
        int stripe = (int) Thread.currentThread().threadId() & STRIPES - 1;
        while (true) {
            int now = generation;
            int at = (now * STRIPES + stripe) * PAD;
            counts.getAndIncrement(at);
            if (generation == now) {
                return at;
            }
            counts.getAndDecrement(at); // it changed before we were seen
        }
    }

    /** A request has ended. */
    void exit(int entered) {
        counts.getAndDecrement(entered);
    }

    /** Whether all requests of the generation before this one have ended. */
    boolean drained() {
        int before = 1 - generation;
        for (int stripe = 0; stripe < STRIPES; stripe++) {
            if (counts.get((before * STRIPES + stripe) * PAD) != 0) {
                return false;
            }
        }
        return true;
    }

    /** Requests from now on are of the next generation. The one before must have drained. */
    void next() {
        generation = 1 - generation;
    }
}

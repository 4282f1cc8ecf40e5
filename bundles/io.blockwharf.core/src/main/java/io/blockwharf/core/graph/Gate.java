package io.blockwharf.core.graph;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Counts the requests of a user that are under way, and keeps new ones out while the graph changes.
 * Any number of threads may go in and out, which costs an atomic addition each; one thread at a
 * time, with the control lock, closes and opens it.
 *
 * <p>Between open and closed it is <em>draining</em>: requests that have another way take it, the
 * others still come in. Somebody who waits at a closed gate may be the thread that has to report
 * what is under way, so the gate is closed for good only when nothing is.
 */
final class Gate {
    private static final int OPEN = 0;
    private static final int DRAINING = 1;
    private static final int CLOSED = 2;

    /** As many counters as threads are likely to meet here, each in a cache line of its own. */
    private static final int STRIPES = 8;

    private static final int LINE = 128 / Integer.BYTES;
    private static final VarHandle COUNTS = MethodHandles.arrayElementVarHandle(int[].class);

    /** How long a closed gate waits for the last requests before it lets others in again. */
    private static final long CLOSED_NANOS = 2_000_000;

    private final int[] counts = new int[(STRIPES + 1) * LINE];
    private volatile int state = OPEN;

    private static int stripe() {
        return ((int) Thread.currentThread().threadId() & STRIPES - 1) * LINE + LINE;
    }

    // --- Requests ----------------------------------------------------------------------------

    /** Goes in if the gate is open. */
    boolean tryEnter() {
        int stripe = stripe();
        int _ = (int) COUNTS.getAndAdd(counts, stripe, 1);
        if (state == OPEN) {
            return true;
        }
        int _ = (int) COUNTS.getAndAdd(counts, stripe, -1);
        return false;
    }

    /** Goes in, after the gate has been closed if it is. */
    void enter() {
        int stripe = stripe();
        int _ = (int) COUNTS.getAndAdd(counts, stripe, 1);
        while (state == CLOSED) {
            int _ = (int) COUNTS.getAndAdd(counts, stripe, -1);
            awaitBelow(CLOSED);
            int _ = (int) COUNTS.getAndAdd(counts, stripe, 1);
        }
    }

    /** Goes out again. On any thread. */
    void exit() {
        int _ = (int) COUNTS.getAndAdd(counts, stripe(), -1);
    }

    /** Waits until the gate is open, for a thread on which nobody depends. */
    void awaitOpen() {
        if (state != OPEN) {
            awaitBelow(DRAINING);
        }
    }

    private synchronized void awaitBelow(int limit) {
        boolean interrupted = false;
        while (state >= limit) {
            try {
                wait();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Whether requests come in without waiting. */
    boolean isOpen() {
        return state == OPEN;
    }

    // --- Changes -----------------------------------------------------------------------------

    /** Asks requests to take other ways. */
    void drain() {
        state(DRAINING);
    }

    /**
     * Closes the gate if what is inside comes out soon.
     *
     * @return whether it is closed and nothing is inside; if not, it is draining
     */
    boolean tryClose() {
        state(CLOSED);
        long begin = System.nanoTime();
        while (inside() > 0) {
            if (System.nanoTime() - begin > CLOSED_NANOS) {
                state(DRAINING);
                return false;
            }
            Thread.onSpinWait();
        }
        return true;
    }

    void open() {
        state(OPEN);
    }

    private synchronized void state(int next) {
        state = next;
        notifyAll();
    }

    /** Zero only if nobody is inside: one who comes in is counted before he looks at the state. */
    private int inside() {
        int sum = 0;
        for (int stripe = 0; stripe < STRIPES; stripe++) {
            sum += (int) COUNTS.getVolatile(counts, (stripe + 1) * LINE);
        }
        return sum;
    }
}

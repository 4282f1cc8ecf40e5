package io.blockwharf.qcow2;

/**
 * Ranges of the disk whose clusters are being allocated or given up: two such requests never work
 * on the same cluster at once. Reads, and writes to what is allocated, do not look here. Allocates
 * nothing but room for more ranges than there ever were.
 */
final class ClusterLocks {
    private long[] from = new long[8];
    private long[] to = new long[8];
    private int count;

    /**
     * Locks a range.
     *
     * @param wait whether it may wait for others
     * @return false if it would have
     */
    synchronized boolean lock(long first, long end, boolean wait) {
        boolean interrupted = false;
        while (overlaps(first, end)) {
            if (!wait) {
                return false;
            }
            try {
                wait();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (count == from.length) {
            from = java.util.Arrays.copyOf(from, 2 * count);
            to = java.util.Arrays.copyOf(to, 2 * count);
        }
        from[count] = first;
        to[count++] = end;
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return true;
    }

    private boolean overlaps(long first, long end) {
        for (int i = 0; i < count; i++) {
            if (first < to[i] && from[i] < end) {
                return true;
            }
        }
        return false;
    }

    /** Unlocks the range that begins there. */
    synchronized void unlock(long first) {
        for (int i = 0; i < count; i++) {
            if (from[i] == first) {
                count--;
                from[i] = from[count];
                to[i] = to[count];
                notifyAll();
                return;
            }
        }
        throw new IllegalStateException("not locked");
    }
}

package io.blockwharf.benchmarks;

/**
 * Counts of latencies in buckets that are at most 1.6 % wide (64 per power of two), so that
 * recording one costs an increment and allocates nothing. Owned by one thread.
 */
final class Latencies {
    private static final int SUB_BITS = 6;
    private static final int SUB = 1 << SUB_BITS;

    private final long[] counts = new long[(Long.SIZE - SUB_BITS) * SUB];
    private long total;

    /** Adds one latency; a negative one (a clock that stepped back) counts as zero. */
    void record(long nanos) {
        counts[bucket(Math.max(0, nanos))]++;
        total++;
    }

    /**
     * @param fraction between 0 and 1
     * @return the lower bound in nanoseconds of the bucket that holds the given fraction of all
     *     latencies, 0 if none were recorded
     */
    long percentile(double fraction) {
        long rank = Math.max(1, (long) Math.ceil(fraction * total));
        long seen = 0;
        for (int i = 0; i < counts.length; i++) {
            seen += counts[i];
            if (seen >= rank) {
                return lowerBound(i);
            }
        }
        return 0;
    }

    private static int bucket(long nanos) {
        int magnitude =
                Math.max(0, Long.SIZE - SUB_BITS - 1 - Long.numberOfLeadingZeros(nanos | 1));
        return (magnitude << SUB_BITS) + (int) (nanos >>> magnitude);
    }

    private static long lowerBound(int bucket) {
        int magnitude = Math.max(0, (bucket >>> SUB_BITS) - 1);
        return (long) (bucket - (magnitude << SUB_BITS)) << magnitude;
    }
}

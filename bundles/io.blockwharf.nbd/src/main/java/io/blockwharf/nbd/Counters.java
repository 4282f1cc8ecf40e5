package io.blockwharf.nbd;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.stream.LongStream;

/**
 * What a client has done. Written by the thread that serves it with plain stores, which cost
 * nothing; others read what is a moment old.
 */
final class Counters {
    /** Kinds of requests whose times are counted apart. */
    static final int READ = 0;

    static final int WRITE = 1;
    static final int OTHER = 2;
    private static final int KINDS = 3;

    /** The first bin is for less than 2^10 ns; each further one begins at twice the time. */
    private static final int FIRST_BOUNDARY = 10;

    private static final int BINS = 26;

    private static final VarHandle READS = handle("reads");
    private static final VarHandle WRITES = handle("writes");
    private static final VarHandle OTHERS = handle("others");
    private static final VarHandle ERRORS = handle("errors");
    private static final VarHandle BYTES_READ = handle("bytesRead");
    private static final VarHandle BYTES_WRITTEN = handle("bytesWritten");
    private static final VarHandle IN_FLIGHT = handle("inFlight");
    private static final VarHandle TIMES = MethodHandles.arrayElementVarHandle(long[].class);

    long reads;
    long writes;
    long others;
    long errors;
    long bytesRead;
    long bytesWritten;
    long inFlight;

    /** Whether anything was changed on the disk. */
    boolean changed;

    /** When the socket gave something last, in {@link System#nanoTime}. */
    long arrived = System.nanoTime();

    /**
     * Requests that were carried out without the queue, by kind, and whose replies are not sent.
     */
    private final long[] inline = new long[KINDS];

    private boolean anyInline;

    /** The bins of each kind, one kind after the other. */
    private final long[] times = new long[KINDS * BINS];

    private static VarHandle handle(String name) {
        try {
            return MethodHandles.lookup().findVarHandle(Counters.class, name, long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** That {@code requests} of a kind took {@code nanos} each. */
    void took(int kind, long nanos, long requests) {
        int bits = Long.SIZE - Long.numberOfLeadingZeros(Math.max(0, nanos));
        times[kind * BINS + Math.clamp(bits - FIRST_BOUNDARY, 0, BINS - 1)] += requests;
    }

    /** A request was carried out here and now; its time is known when its reply has been sent. */
    void done(int kind) {
        inline[kind]++;
        anyInline = true;
    }

    /** It turns out that one was not. */
    void notDone(int kind) {
        inline[kind]--;
    }

    /**
     * All replies have been sent. One reading of the clock for all of a batch: that is what a
     * client waits for.
     */
    void sent() {
        if (!anyInline) {
            return;
        }
        long took = System.nanoTime() - arrived;
        for (int kind = 0; kind < KINDS; kind++) {
            if (inline[kind] > 0) {
                took(kind, took, inline[kind]);
                inline[kind] = 0;
            }
        }
        anyInline = false;
    }

    /** Numbers that belong roughly together. */
    record Snapshot(
            long reads,
            long writes,
            long others,
            long errors,
            long bytesRead,
            long bytesWritten,
            long inFlight,
            long[] times) {
        /** Of nobody. */
        static final Snapshot NOTHING = new Counters().snapshot();

        /** What two have done. */
        Snapshot plus(Snapshot other) {
            long[] sums = times.clone();
            Arrays.setAll(sums, i -> sums[i] + other.times[i]);
            return new Snapshot(
                    reads + other.reads,
                    writes + other.writes,
                    others + other.others,
                    errors + other.errors,
                    bytesRead + other.bytesRead,
                    bytesWritten + other.bytesWritten,
                    inFlight + other.inFlight,
                    sums);
        }

        /** The times, as queries show them. */
        NbdLatency latency() {
            return new NbdLatency(histogram(READ), histogram(WRITE), histogram(OTHER));
        }

        private NbdLatency.Histogram histogram(int kind) {
            return new NbdLatency.Histogram(
                    LongStream.range(FIRST_BOUNDARY, FIRST_BOUNDARY + BINS - 1)
                            .map(bit -> 1L << bit)
                            .boxed()
                            .toList(),
                    Arrays.stream(times, kind * BINS, (kind + 1) * BINS).boxed().toList());
        }
    }

    /** From any thread. */
    Snapshot snapshot() {
        long[] copy = new long[times.length];
        Arrays.setAll(copy, i -> (long) TIMES.getOpaque(times, i));
        return new Snapshot(
                (long) READS.getOpaque(this),
                (long) WRITES.getOpaque(this),
                (long) OTHERS.getOpaque(this),
                (long) ERRORS.getOpaque(this),
                (long) BYTES_READ.getOpaque(this),
                (long) BYTES_WRITTEN.getOpaque(this),
                (long) IN_FLIGHT.getOpaque(this),
                copy);
    }
}

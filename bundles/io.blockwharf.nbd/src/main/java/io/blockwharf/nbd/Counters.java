package io.blockwharf.nbd;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * What a client has done. Written by the thread that serves it with plain stores, which cost
 * nothing; others read what is a moment old.
 */
final class Counters {
    private static final VarHandle READS = handle("reads");
    private static final VarHandle WRITES = handle("writes");
    private static final VarHandle OTHERS = handle("others");
    private static final VarHandle ERRORS = handle("errors");
    private static final VarHandle BYTES_READ = handle("bytesRead");
    private static final VarHandle BYTES_WRITTEN = handle("bytesWritten");
    private static final VarHandle IN_FLIGHT = handle("inFlight");

    long reads;
    long writes;
    long others;
    long errors;
    long bytesRead;
    long bytesWritten;
    long inFlight;

    private static VarHandle handle(String name) {
        try {
            return MethodHandles.lookup().findVarHandle(Counters.class, name, long.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /** Numbers that belong roughly together. */
    record Snapshot(
            long reads,
            long writes,
            long others,
            long errors,
            long bytesRead,
            long bytesWritten,
            long inFlight) {}

    /** From any thread. */
    Snapshot snapshot() {
        return new Snapshot(
                (long) READS.getOpaque(this),
                (long) WRITES.getOpaque(this),
                (long) OTHERS.getOpaque(this),
                (long) ERRORS.getOpaque(this),
                (long) BYTES_READ.getOpaque(this),
                (long) BYTES_WRITTEN.getOpaque(this),
                (long) IN_FLIGHT.getOpaque(this));
    }
}

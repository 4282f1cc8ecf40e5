package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.qcow2.Cursor.Kind;

import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.concurrent.locks.LockSupport;

/**
 * New clusters that hold only what was written to them. What surrounds it is copied from below when
 * something is flushed, or soon after: copy-on-write, but written back. In the file such a cluster
 * is leaked until it is complete, so a crash loses what a crash may lose, and nothing else. May be
 * used by any thread.
 *
 * <p>Writes to parts that are stored need no lock: whoever completes a cluster writes the others
 * only.
 */
final class PartialClusters {
    /** What may have to be copied at most before a flush ends. */
    private static final long MOST_BYTES = 1L << 30;

    /** Clusters of that age are completed without a flush, within the same time again. */
    private static final long AGE_NANOS = 5_000_000_000L;

    /** How many of them without a pause. */
    private static final int BATCH = 16;

    private final Changes changes;
    private final String node;
    private final Mapping mapping;
    private final int most;
    private final int clusterSize;

    /** Completes what has become old; null while there is nothing. Guarded by this. */
    private Thread keeper;

    private volatile boolean closed;

    /**
     * None yet.
     *
     * @param node the name of the node, for its thread's
     */
    PartialClusters(Changes changes, String node) {
        this.changes = changes;
        this.node = node;
        mapping = changes.mapping;
        clusterSize = changes.header.clusterSize;
        most = (int) (MOST_BYTES / clusterSize);
    }

    /**
     * Whether a write shall leave its surroundings alone.
     *
     * @param cursor the run that begins at {@code offset}
     */
    boolean suits(Cursor cursor, long offset, long end) {
        if (cursor.kind != Kind.UNALLOCATED || !mapping.hasParts()) {
            return false;
        }
        if (mapping.isPartial(cursor.entry)) {
            return true;
        }
        long cluster = changes.down(offset);
        return changes.backing.isPresent()
                && cluster < changes.backing.get().length()
                && end <= cluster + clusterSize
                && end - offset < clusterSize
                && mapping.partials() < most
                && !closed;
    }

    /** A range has been written, in whole parts, to its new place. With the metadata lock. */
    void stored(Slice slice, long offset, long end, long host) {
        long at = changes.down(offset);
        boolean first = mapping.partials() == 0;
        mapping.setParts(slice, at, host, changes.parts(at, offset, end, mapping.partBits()));
        if (first) {
            keep();
        }
    }

    // --- Completion --------------------------------------------------------------------------

    /** Completes what is there, and makes everything that was written before survive a crash. */
    void flush() throws BlockIoException {
        try {
            complete();
        } finally {
            changes.commit.flush();
        }
    }

    /** Completes all clusters that are there now. */
    void complete() throws BlockIoException {
        if (mapping.partials() != 0) {
            complete(clusters());
        }
    }

    private long[] clusters() {
        changes.lock.lock();
        try {
            return mapping.partialClusters();
        } finally {
            changes.lock.unlock();
        }
    }

    private void complete(long[] clusters) throws BlockIoException {
        BlockIoException first = null;
        Scratch scratch = changes.scratches.take();
        try {
            for (long cluster : clusters) {
                try {
                    complete(cluster, scratch);
                } catch (BlockIoException e) {
                    first = first == null ? e : first;
                }
            }
        } finally {
            changes.scratches.give(scratch);
        }
        if (first != null) {
            throw first;
        }
    }

    private void complete(long cluster, Scratch scratch) throws BlockIoException {
        changes.ranges.lock(cluster, cluster + clusterSize, true);
        try {
            Cursor cursor = scratch.cursor;
            long host = 0;
            for (long at = cluster; at < cluster + clusterSize; at += cursor.length) {
                mapping.find(at, cluster + clusterSize - at, cursor, true);
                if (!mapping.isPartial(cursor.entry)) {
                    return; // somebody else was faster, or it has been given up
                }
                host = cursor.entry & Mapping.OFFSET;
                if (cursor.kind == Kind.UNALLOCATED) {
                    copy(at, cursor.host, cursor.length, scratch);
                }
            }
            changes.lock.lock();
            try {
                mapping.set(mapping.cached(cluster), cluster, host | Mapping.COPIED, 0, false);
            } finally {
                changes.lock.unlock();
            }
        } finally {
            changes.ranges.unlock(cluster);
        }
    }

    private void copy(long offset, long host, long length, Scratch scratch)
            throws BlockIoException {
        MemorySegment memory = scratch.memory(length);
        IoVector bytes = scratch.edge.set(memory, 0, length);
        changes.reader.readBelow(offset, bytes, true, scratch);
        changes.isData(host, length);
        changes.data.write(host, bytes, 0);
    }

    // --- Age ---------------------------------------------------------------------------------

    private synchronized void keep() {
        if (keeper == null && !closed) {
            keeper =
                    Thread.ofPlatform().daemon().name("qcow2-" + node).unstarted(this::completeOld);
            keeper.start();
        }
    }

    /** Spreads the work, so that requests do not notice. */
    private void completeOld() {
        long[] old = {};
        while (true) {
            long begin = System.nanoTime();
            for (int i = 0; i < old.length && !closed; i += BATCH) {
                pauseUntil(begin + AGE_NANOS / old.length * i);
                try {
                    complete(Arrays.copyOfRange(old, i, Math.min(old.length, i + BATCH)));
                } catch (BlockIoException e) {
                    // the next flush will tell
                }
            }
            pauseUntil(begin + AGE_NANOS);
            synchronized (this) {
                if (closed || mapping.partials() == 0) {
                    keeper = null;
                    return;
                }
            }
            old = clusters();
        }
    }

    private void pauseUntil(long nanos) {
        for (long left; !closed && (left = nanos - System.nanoTime()) > 0; ) {
            LockSupport.parkNanos(this, left);
        }
    }

    /** Nothing becomes partial any more, and nobody completes what is but a flush. */
    void close() {
        Thread last;
        synchronized (this) {
            closed = true;
            last = keeper;
        }
        if (last != null) {
            LockSupport.unpark(last);
            boolean interrupted = false;
            while (last.isAlive()) {
                try {
                    last.join();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.qcow2.Changes.Step;
import io.blockwharf.qcow2.Cursor.Kind;

/** Makes ranges of the disk zero or unallocated by their entries. May be used by any thread. */
final class Clearing {
    /** What becomes of a cluster that is not needed any more. */
    enum How {
        /** It reads as zeroes and keeps its place. */
        ZERO,
        /** It reads as zeroes and gives its place up. */
        UNMAP,
        /** Its content does not matter. */
        DISCARD,
        /** It is behind the end of the disk. */
        CUT
    }

    private final Changes changes;
    private final PartialClusters partials;
    private final boolean keepDiscarded;
    private final boolean passDiscards;
    private final int clusterSize;

    /**
     * Clears.
     *
     * @param keepDiscarded discarded clusters keep their place (discard-no-unref)
     * @param passDiscards an external data file is told of discards
     */
    Clearing(
            Changes changes,
            PartialClusters partials,
            boolean keepDiscarded,
            boolean passDiscards) {
        this.changes = changes;
        this.partials = partials;
        this.keepDiscarded = keepDiscarded;
        this.passDiscards = passDiscards;
        clusterSize = changes.header.clusterSize;
    }

    /**
     * Makes a range read as zeroes, or whatever its end is to be.
     *
     * @param end of the range
     * @param size of the disk
     */
    void clear(long offset, long end, long size, How how) throws BlockIoException {
        for (long at = offset; at < end; ) {
            long next = Math.min(end, changes.mapping.sliceEnd(at));
            long locked = changes.down(at);
            Step step;
            changes.ranges.lock(locked, changes.up(next), true);
            try {
                step = clearInSlice(at, next, size, how);
            } finally {
                changes.ranges.unlock(locked);
            }
            switch (step) {
                case DONE -> at = next;
                case NO_ROOM -> changes.makeRoom(clusterSize);
                case CROWDED -> partials.flush();
                case AGAIN, WOULD_BLOCK -> {}
            }
        }
    }

    private Step clearInSlice(long offset, long end, long size, How how) throws BlockIoException {
        boolean bare = (changes.mapping.table(offset) & Mapping.OFFSET) == 0;
        boolean below = changes.backing.isPresent() && offset < changes.backing.get().length();
        if (bare && (how == How.CUT || !below)) {
            return Step.DONE; // nothing is stored, and it is zero as it is
        }
        Cursor cursor = new Cursor();
        changes.mapping.find(offset, end - offset, cursor, true); // so that the slice is in memory
        if (changes.dataFile) {
            clearDataFile(offset, end, how);
        }
        changes.lock.lock();
        try {
            if (!changes.hasRoom(clusterSize)) {
                return Step.NO_ROOM;
            }
            Step step = changes.ensureSlice(offset, true);
            if (step != Step.DONE) {
                return step;
            }
            Slice slice = changes.mapping.writable(offset);
            for (long at = changes.down(offset); at < end; at += clusterSize) {
                long from = Math.max(at, offset);
                long to = Math.min(at + clusterSize, end);
                boolean whole = from == at && (to == at + clusterSize || to >= size);
                clearCluster(slice, at, from, to, whole, how);
            }
            return Step.DONE;
        } finally {
            changes.lock.unlock();
        }
    }

    private void clearDataFile(long offset, long end, How how) throws BlockIoException {
        long to = Math.min(end, changes.data.length());
        if (offset >= to) {
            return;
        }
        if (changes.header.dataFileRaw()) {
            int flags = how == How.ZERO ? 0 : RequestFlags.MAY_UNMAP;
            changes.data.writeZeroes(offset, to - offset, flags);
        } else if (how != How.ZERO && passDiscards) {
            changes.data.discard(offset, to - offset);
        }
    }

    private void clearCluster(Slice slice, long at, long from, long to, boolean whole, How how)
            throws BlockIoException {
        Cursor old = changes.mapping.entry(slice, at);
        boolean allocated = (old.entry & (Mapping.OFFSET | Mapping.COMPRESSED)) != 0;
        boolean below = changes.backing.isPresent();
        if (!whole) {
            clearUnits(slice, at, from, to, old);
            return;
        }
        boolean zeroes = changes.header.version >= 3;
        long entry;
        long bitmap = 0;
        if (how == How.CUT || how == How.DISCARD && !zeroes) {
            entry = 0;
        } else if (how == How.DISCARD && !allocated && !below) {
            return;
        } else if (!zeroes) {
            entry = 0; // only asked where there is nothing below
        } else {
            boolean keeps =
                    (old.entry & Mapping.COPIED) != 0
                            && (how == How.ZERO || how == How.DISCARD && keepDiscarded);
            boolean place = keeps && (changes.dataFile || (old.entry & Mapping.OFFSET) != 0);
            entry = place ? old.entry & Mapping.OFFSET | Mapping.COPIED : 0;
            if (changes.header.extendedL2) {
                bitmap = Mapping.ALL_ZERO;
            } else {
                entry |= Mapping.ZERO;
            }
        }
        if (entry != old.entry || bitmap != old.bitmap) {
            boolean loses = changes.giveUp(old, entry, how != How.CUT) || changes.dataFile;
            changes.mapping.set(slice, at, entry, bitmap, loses);
        }
    }

    /** Subclusters become zero; the cluster keeps its place. */
    private void clearUnits(Slice slice, long at, long from, long to, Cursor old)
            throws BlockIoException {
        if (!changes.header.extendedL2 || (old.entry & Mapping.COMPRESSED) != 0) {
            throw new BlockIoException(Errno.EIO, "a part of a cluster cannot be cleared");
        }
        long units = changes.parts(at, from, to, changes.header.unitBits);
        long bitmap = old.bitmap & ~units | units << 32;
        changes.mapping.set(slice, at, old.entry, bitmap, true);
    }

    /** Whether a range may be cleared by its subclusters: clusters of it are not compressed. */
    boolean hasUnits(long offset, Cursor cursor) throws BlockIoException {
        changes.mapping.find(offset, 1, cursor, true);
        return changes.header.extendedL2 && cursor.kind != Kind.COMPRESSED;
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;

import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/**
 * What everything that changes an image needs: its parts, ranges of the disk to be locked, room in
 * the file, L2 tables that may be changed. May be used by any thread.
 *
 * <p>Locks, in the order in which they are taken: the range, a commit's, that of the metadata. The
 * file grows while none of them is held.
 */
final class Changes {
    /** What may be allocated for metadata at once, so that the file never has to grow midway. */
    private static final long SLACK = 2 * Header.REFTABLE_BYTES;

    /** How one attempt to change a part of a range went. */
    enum Step {
        /** So much of it is done. */
        DONE,
        /** It would have to wait. */
        WOULD_BLOCK,
        /** The file must grow first. */
        NO_ROOM,
        /** What is in memory must be written first. */
        CROWDED,
        /** It is different now: look again. */
        AGAIN
    }

    final Header header;
    final ImageFile file;

    /** Where guest data lies: the file itself, or another one. */
    final BlockNode data;

    final Optional<BlockNode> backing;
    final Refcounts refcounts;
    final Mapping mapping;
    final Reader reader;
    final Commit commit;

    /** The metadata lock. */
    final ReentrantLock lock;

    final Scratch.Pool scratches;

    /** Ranges in which something is being allocated, completed or given up. */
    final ClusterLocks ranges = new ClusterLocks();

    final boolean dataFile;
    private final Overlaps overlaps;
    private final int clusterBits;
    private final int clusterSize;

    /** The parts of an image that may be changed. */
    Changes(
            Header header,
            ImageFile file,
            BlockNode data,
            Optional<BlockNode> backing,
            Refcounts refcounts,
            Mapping mapping,
            Reader reader,
            Commit commit,
            Overlaps overlaps,
            ReentrantLock lock,
            Scratch.Pool scratches) {
        this.header = header;
        this.file = file;
        this.data = data;
        this.backing = backing;
        this.refcounts = refcounts;
        this.mapping = mapping;
        this.reader = reader;
        this.commit = commit;
        this.overlaps = overlaps;
        this.lock = lock;
        this.scratches = scratches;
        clusterBits = header.clusterBits;
        clusterSize = header.clusterSize;
        dataFile = header.hasDataFile();
    }

    long down(long offset) {
        return offset & -(long) clusterSize;
    }

    long up(long offset) {
        return offset + clusterSize - 1 & -(long) clusterSize;
    }

    /** Refuses to write data where metadata lies; true otherwise. */
    boolean isData(long place, long bytes) throws BlockIoException {
        if (!dataFile) {
            long last = place + bytes - 1 >>> clusterBits;
            for (long cluster = place >>> clusterBits; cluster <= last; cluster++) {
                overlaps.check(cluster, 0, place, bytes);
            }
        }
        return true;
    }

    boolean hasRoom(long bytes) {
        return file.reaches(refcounts.endOffset() + bytes + 2L * clusterSize + SLACK);
    }

    void makeRoom(long bytes) throws BlockIoException {
        long end;
        lock.lock();
        try {
            end = refcounts.endOffset();
        } finally {
            lock.unlock();
        }
        file.reserve(end + bytes + 2L * clusterSize + 2 * SLACK);
    }

    /** Makes the slice of an offset present and changeable. With the metadata lock. */
    Step ensureSlice(long offset, boolean wait) throws BlockIoException {
        if (refcounts.crowded() || commit.crowded()) {
            return Step.CROWDED;
        }
        long entry = mapping.table(offset);
        if ((entry & Mapping.OFFSET) == 0) {
            long cluster = refcounts.allocate(1, wait);
            if (cluster == Refcounts.WOULD_BLOCK) {
                return Step.WOULD_BLOCK;
            }
            boolean virgin = refcounts.gotVirgin();
            overlaps.check(cluster, 0, cluster << clusterBits, clusterSize);
            if (!virgin && wait) {
                file.write(cluster << clusterBits, new byte[clusterSize], 0, clusterSize);
            }
            if (!virgin && !wait || !mapping.addTable(offset, cluster)) {
                refcounts.giveBack(cluster, 1, virgin);
                return wait ? Step.CROWDED : Step.WOULD_BLOCK;
            }
            return Step.DONE;
        }
        if (!mapping.ownsTable(offset)) {
            if (!wait) {
                return Step.WOULD_BLOCK;
            }
            long cluster = refcounts.allocate(1, true);
            overlaps.check(cluster, 0, cluster << clusterBits, clusterSize);
            file.write(cluster << clusterBits, file.read(entry & Mapping.OFFSET, clusterSize));
            mapping.moveTable(offset, cluster);
            commit.giveUp((entry & Mapping.OFFSET) >>> clusterBits);
        }
        // A slice that is read and not here was not kept: everything in its place is unwritten
        return mapping.writable(offset) == null ? Step.CROWDED : Step.DONE;
    }

    /**
     * Gives up what an entry pointed to, unless the next one points there, too.
     *
     * @param cleared whether nobody misses what is stored there, not even after a crash
     * @return whether somebody may still believe that it is stored there
     */
    boolean giveUp(Cursor old, long entry, boolean cleared) throws BlockIoException {
        long place = old.entry & Mapping.OFFSET;
        if ((old.entry & Mapping.COMPRESSED) != 0) {
            long from = Reader.compressedOffset(header, old.entry);
            long last = from + Reader.compressedBytes(header, old.entry) - 1;
            for (long c = from >>> clusterBits; c <= last >>> clusterBits; c++) {
                commit.giveUp(c);
            }
            return true;
        }
        if (dataFile || place == 0 || place == (entry & Mapping.OFFSET)) {
            return place == 0 ? false : (entry & Mapping.ZERO) != 0 || header.extendedL2;
        }
        if (cleared) {
            commit.clear(place >>> clusterBits);
        } else {
            commit.giveUp(place >>> clusterBits);
        }
        return true;
    }

    /**
     * The bits of the parts of the cluster at {@code at} that a range touches.
     *
     * @param bits of an offset within a part
     */
    long parts(long at, long offset, long end, int bits) {
        int first = (int) (Math.max(offset, at) - at >>> bits);
        int last = (int) (Math.min(end, at + clusterSize) - 1 - at >>> bits);
        return (2L << last) - (1L << first);
    }
}

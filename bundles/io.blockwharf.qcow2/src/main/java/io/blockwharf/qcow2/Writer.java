package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.qcow2.Changes.Step;
import io.blockwharf.qcow2.Cursor.Kind;

import java.lang.foreign.MemorySegment;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Writes to the disk. Clusters that are stored and used once are written where they are, without a
 * lock; for the others a range of the disk is locked, clusters are taken, written with what
 * surrounds the data, or without it ({@link PartialClusters}), and mapped then. May be used by any
 * thread.
 */
final class Writer {
    private static final long PAGE = 4096;

    private final Changes changes;
    private final PartialClusters partials;
    private final Header header;
    private final BlockNode data;
    private final Refcounts refcounts;
    private final Mapping mapping;
    private final Reader reader;
    private final ReentrantLock lock;
    private final int clusterBits;
    private final int clusterSize;
    private final boolean dataFile;

    Writer(Changes changes, PartialClusters partials) {
        this.changes = changes;
        this.partials = partials;
        header = changes.header;
        data = changes.data;
        refcounts = changes.refcounts;
        mapping = changes.mapping;
        reader = changes.reader;
        lock = changes.lock;
        clusterBits = header.clusterBits;
        clusterSize = header.clusterSize;
        dataFile = changes.dataFile;
    }

    // --- Writing -----------------------------------------------------------------------------

    /**
     * Writes.
     *
     * @param wait whether it may block
     * @return false if it would have; a part may have been written then
     */
    boolean write(long offset, IoVector from, boolean wait) throws BlockIoException {
        long bytes = from.byteCount();
        long place = mapping.plain(offset, bytes, Mapping.COPIED);
        if (place >= 0 && place <= data.length() - bytes && changes.isData(place, bytes)) {
            if (wait) {
                data.write(place, from, 0);
                return true;
            }
            return data.tryWrite(place, from, 0);
        }
        Scratch scratch = changes.scratches.take();
        try {
            long done = 0;
            while (done < bytes) {
                long n = writeSome(offset + done, from, done, wait, scratch);
                if (n < 0) {
                    return false;
                }
                done += n;
            }
            return true;
        } finally {
            changes.scratches.give(scratch);
        }
    }

    /** Writes the beginning of what is left; how much, or -1 if it would block. */
    private long writeSome(long offset, IoVector from, long done, boolean wait, Scratch scratch)
            throws BlockIoException {
        Cursor cursor = scratch.cursor;
        long left = from.byteCount() - done;
        if (!mapping.find(offset, left, cursor, wait)) {
            return -1;
        }
        if (cursor.kind == Kind.DATA && cursor.copied) {
            long length = cursor.length;
            changes.isData(cursor.host, length);
            IoVector part =
                    length == from.byteCount() ? from : scratch.part.slice(from, done, length);
            if (!reach(cursor.host + length)) {
                return -1;
            }
            if (wait) {
                data.write(cursor.host, part, 0);
            } else if (!data.tryWrite(cursor.host, part, 0)) {
                return -1;
            }
            return length;
        }
        long end = offset + Math.min(cursor.length, mapping.sliceEnd(offset) - offset);
        long locked = changes.down(offset);
        if (dataFile && !reach(changes.up(end))) {
            return -1;
        }
        while (true) {
            if (!changes.ranges.lock(locked, changes.up(end), wait)) {
                return -1;
            }
            Step step;
            try {
                step = allocateAndWrite(offset, end, from, done, wait, scratch);
            } finally {
                changes.ranges.unlock(locked);
            }
            switch (step) {
                case DONE -> {
                    return cursor.length;
                }
                case AGAIN -> {
                    return 0;
                }
                case WOULD_BLOCK -> {
                    return -1;
                }
                case NO_ROOM -> changes.makeRoom(end - offset);
                case CROWDED -> {
                    if (!wait) {
                        return -1;
                    }
                    partials.flush();
                }
            }
        }
    }

    /** Makes the data's file reach so far: a preallocated image's may be shorter. */
    private boolean reach(long end) throws BlockIoException {
        if (end > data.length()) {
            if (dataFile) {
                data.grow(end);
            } else {
                changes.file.reserve(end);
            }
            return data.length() >= end;
        }
        return true;
    }

    private Step allocateAndWrite(
            long offset, long wanted, IoVector from, long done, boolean wait, Scratch scratch)
            throws BlockIoException {
        Cursor cursor = scratch.cursor;
        if (!mapping.find(offset, wanted - offset, cursor, wait)) {
            return Step.WOULD_BLOCK;
        }
        if (cursor.kind == Kind.DATA && cursor.copied) {
            return Step.AGAIN;
        }
        long end = offset + cursor.length;
        boolean reuse = isReusable(cursor);
        boolean inParts = partials.suits(cursor, offset, end);
        // Where only parts of a cluster are stored, the other parts may stay as they are
        boolean whole =
                !inParts
                        && (!header.extendedL2
                                || cursor.kind == Kind.COMPRESSED
                                || cursor.kind == Kind.DATA
                                || (cursor.bitmap & Mapping.ALL_STORED) != 0
                                        && (cursor.entry & Mapping.COPIED) == 0);
        if (reuse || header.extendedL2) {
            end = Math.min(end, changes.down(offset) + clusterSize);
        }
        int unitBits = inParts ? mapping.partBits() : whole ? clusterBits : header.unitBits;
        long unit = 1L << unitBits;
        long from0 = offset & -unit;
        boolean zeroAround = !(header.extendedL2 && whole) && reader.isZero(cursor.kind, from0);

        // 1. Clusters
        if (!lockMetadata(wait)) {
            return Step.WOULD_BLOCK;
        }
        Slice slice;
        long host;
        boolean virgin = false;
        int count;
        try {
            if (!changes.hasRoom(end - offset)) {
                return Step.NO_ROOM;
            }
            Step step = changes.ensureSlice(offset, wait);
            if (step != Step.DONE) {
                return step;
            }
            count = (int) (changes.up(end) - changes.down(offset) >>> clusterBits);
            if (dataFile) {
                host = changes.down(offset);
            } else if (reuse) {
                host = cursor.entry & Mapping.OFFSET;
            } else {
                long cluster = refcounts.allocate(count, wait);
                if (cluster == Refcounts.WOULD_BLOCK) {
                    return Step.WOULD_BLOCK;
                }
                count = refcounts.got();
                virgin = refcounts.gotVirgin();
                host = cluster << clusterBits;
                end = Math.min(end, changes.down(offset) + ((long) count << clusterBits));
            }
            slice = mapping.writable(offset);
            slice.pins++; // it is to be there in step 3, too
        } finally {
            lock.unlock();
        }

        // 2. Data
        boolean written = false;
        try {
            long to = end + unit - 1 & -unit;
            boolean bare = zeroAround && virgin;
            written =
                    writeAround(
                            bare ? offset : from0,
                            offset,
                            end,
                            bare ? end : to,
                            host - changes.down(offset),
                            zeroAround,
                            from,
                            done,
                            wait,
                            scratch);
        } finally {
            // 3. Map
            lock.lock();
            try {
                slice.pins--;
                if (written && inParts) {
                    partials.stored(slice, offset, end, host);
                } else if (written) {
                    map(slice, offset, end, host, whole);
                } else if (!dataFile && !reuse) {
                    refcounts.giveBack(host >>> clusterBits, count, virgin);
                }
            } finally {
                lock.unlock();
            }
        }
        if (!written) {
            return Step.WOULD_BLOCK;
        }
        cursor.length = end - offset;
        return Step.DONE;
    }

    /** Whether a cluster has a place already that is its own, but is not stored there. */
    private boolean isReusable(Cursor cursor) {
        return !dataFile
                && cursor.kind != Kind.COMPRESSED
                && (cursor.entry & Mapping.COPIED) != 0
                && (cursor.entry & Mapping.OFFSET) != 0;
    }

    private boolean lockMetadata(boolean wait) {
        if (wait) {
            lock.lock();
            return true;
        }
        return lock.tryLock();
    }

    /**
     * Writes {@code [offset, end)} from the request, with what surrounds it from {@code first} to
     * {@code last}, in one go.
     *
     * @param shift from the disk's offsets to the file's
     */
    private boolean writeAround(
            long first,
            long offset,
            long end,
            long last,
            long shift,
            boolean zero,
            IoVector from,
            long done,
            boolean wait,
            Scratch scratch)
            throws BlockIoException {
        if (!wait && ((first | last) & PAGE - 1) != 0) {
            return false; // a part of a page is never written without waiting
        }
        changes.isData(first + shift, last - first);
        long head = offset - first;
        long tail = last - end;
        IoVector all = scratch.data.clear();
        if (head + tail > 0) {
            MemorySegment memory = scratch.memory(head + tail);
            if (zero) {
                memory.asSlice(0, head + tail).fill((byte) 0);
            } else {
                if (head > 0 && !reader.read(first, scratch.edge.set(memory, 0, head), wait)
                        || tail > 0
                                && !reader.read(end, scratch.edge.set(memory, head, tail), wait)) {
                    return false;
                }
            }
            if (head > 0) {
                all.add(memory, 0, head);
            }
            IoVector middle = scratch.part.slice(from, done, end - offset);
            if (middle.count() > all.capacity() - 2) {
                return writeApart(first, offset, end, last, shift, middle, wait, scratch);
            }
            for (int i = 0; i < middle.count(); i++) {
                all.add(middle.base(i), middle.offset(i), middle.length(i));
            }
            if (tail > 0) {
                all.add(memory, head, tail);
            }
        } else {
            all.slice(from, done, end - offset);
        }
        if (wait) {
            data.write(first + shift, all, 0);
            return true;
        }
        return data.tryWrite(first + shift, all, 0);
    }

    /** The same in pieces, for buffers of as many pieces as a system call takes. */
    private boolean writeApart(
            long first,
            long offset,
            long end,
            long last,
            long shift,
            IoVector middle,
            boolean wait,
            Scratch scratch)
            throws BlockIoException {
        if (!wait) {
            return false;
        }
        MemorySegment memory = scratch.memory(0);
        if (first < offset) {
            data.write(first + shift, scratch.edge.set(memory, 0, offset - first), 0);
        }
        data.write(offset + shift, middle, 0);
        if (end < last) {
            data.write(end + shift, scratch.edge.set(memory, offset - first, last - end), 0);
        }
        return true;
    }

    /** Lets the entries of what was written point to it. With the metadata lock. */
    private void map(Slice slice, long offset, long end, long host, boolean whole)
            throws BlockIoException {
        long first = changes.down(offset);
        for (long at = first; at < end; at += clusterSize) {
            Cursor old = mapping.entry(slice, at);
            long entry = host + (at - first) | Mapping.COPIED;
            long bitmap = 0;
            if (header.extendedL2) {
                bitmap =
                        whole
                                ? Mapping.ALL_STORED
                                : old.bitmap | changes.parts(at, offset, end, header.unitBits);
                bitmap &= ~((bitmap & Mapping.ALL_STORED) << 32);
            }
            boolean loses = changes.giveUp(old, entry, false);
            mapping.set(slice, at, entry, bitmap, loses);
        }
    }

    // --- Preallocation -----------------------------------------------------------------------

    /** Gives all clusters of a new disk their place; their content is zero. */
    void preallocate(long size, boolean reserved) throws BlockIoException {
        for (long at = 0; at < size; ) {
            long end = Math.min(changes.up(size), mapping.sliceEnd(at));
            changes.makeRoom(end - at);
            mapping.find(at, 1, new Cursor(), true); // so that the slice is in memory
            lock.lock();
            Step step;
            try {
                step = changes.ensureSlice(at, true);
                while (step == Step.DONE && at < end) {
                    at = preallocateRun(at, end, reserved);
                }
            } finally {
                lock.unlock();
            }
            if (step == Step.CROWDED) {
                partials.flush();
            }
        }
    }

    private long preallocateRun(long at, long end, boolean reserved) throws BlockIoException {
        long host = at;
        int count = (int) (end - at >>> clusterBits);
        if (!dataFile) {
            host = refcounts.allocate(count, true) << clusterBits;
            count = refcounts.got();
            if (reserved || !refcounts.gotVirgin()) {
                data.writeZeroes(host, (long) count << clusterBits, 0);
            }
        }
        Slice slice = mapping.writable(at);
        long next = at;
        for (int i = 0; i < count; i++, next += clusterSize) {
            mapping.set(slice, next, host + (next - at) | Mapping.COPIED, 0, false);
        }
        return next;
    }
}

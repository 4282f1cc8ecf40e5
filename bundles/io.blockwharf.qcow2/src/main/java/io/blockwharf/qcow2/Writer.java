package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.qcow2.Cursor.Kind;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Changes the disk. Clusters that are stored and used once are written where they are, without a
 * lock; for the others a range of the disk is locked, clusters are taken, written with what
 * surrounds the data, and mapped then. May be used by any thread.
 *
 * <p>Locks, in the order in which they are taken: the range, a commit's, that of the metadata. The
 * file grows while none of them is held.
 */
final class Writer {
    /** What may be allocated for metadata at once, so that the file never has to grow midway. */
    private static final long SLACK = 2 * Header.REFTABLE_BYTES;

    private static final long PAGE = 4096;

    /** How one attempt to change a part of a range went. */
    private enum Step {
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

    /** What becomes of a cluster that is not needed any more. */
    enum Clear {
        /** It reads as zeroes and keeps its place. */
        ZERO,
        /** It reads as zeroes and gives its place up. */
        UNMAP,
        /** Its content does not matter. */
        DISCARD,
        /** It is behind the end of the disk. */
        CUT
    }

    private final Header header;
    private final ImageFile file;
    private final BlockNode data;
    private final Optional<BlockNode> backing;
    private final Refcounts refcounts;
    private final Mapping mapping;
    private final Reader reader;
    private final Commit commit;
    private final Overlaps overlaps;
    private final ReentrantLock lock;
    private final Scratch.Pool scratches;
    private final boolean keepDiscarded;
    private final boolean passDiscards;
    private final ClusterLocks ranges = new ClusterLocks();
    private final int clusterBits;
    private final int clusterSize;
    private final boolean dataFile;

    /** The parts of an image that changes need. */
    record Parts(
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
            Scratch.Pool scratches) {}

    /**
     * A writer.
     *
     * @param keepDiscarded discarded clusters keep their place (discard-no-unref)
     * @param passDiscards an external data file is told of discards
     */
    Writer(Parts parts, boolean keepDiscarded, boolean passDiscards) {
        header = parts.header;
        file = parts.file;
        data = parts.data;
        backing = parts.backing;
        refcounts = parts.refcounts;
        mapping = parts.mapping;
        reader = parts.reader;
        commit = parts.commit;
        overlaps = parts.overlaps;
        lock = parts.lock;
        scratches = parts.scratches;
        this.keepDiscarded = keepDiscarded;
        this.passDiscards = passDiscards;
        clusterBits = header.clusterBits;
        clusterSize = header.clusterSize;
        dataFile = header.hasDataFile();
    }

    private long down(long offset) {
        return offset & -(long) clusterSize;
    }

    private long up(long offset) {
        return offset + clusterSize - 1 & -(long) clusterSize;
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
        if (place >= 0 && place <= data.length() - bytes && isData(place, bytes)) {
            if (wait) {
                data.write(place, from, 0);
                return true;
            }
            return data.tryWrite(place, from, 0);
        }
        Scratch scratch = scratches.take();
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
            scratches.give(scratch);
        }
    }

    /** Whether no metadata lies where data is to be written. */
    private boolean isData(long place, long bytes) throws BlockIoException {
        if (!dataFile) {
            long last = place + bytes - 1 >>> clusterBits;
            for (long cluster = place >>> clusterBits; cluster <= last; cluster++) {
                overlaps.check(cluster, 0, place, bytes);
            }
        }
        return true;
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
            isData(cursor.host, length);
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
        long locked = down(offset);
        if (dataFile && !reach(up(end))) {
            return -1;
        }
        while (true) {
            if (!ranges.lock(locked, up(end), wait)) {
                return -1;
            }
            Step step;
            try {
                step = allocateAndWrite(offset, end, from, done, wait, scratch);
            } finally {
                ranges.unlock(locked);
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
                case NO_ROOM -> makeRoom(end - offset);
                case CROWDED -> {
                    if (!wait) {
                        return -1;
                    }
                    commit.flush();
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
                file.reserve(end);
            }
            return data.length() >= end;
        }
        return true;
    }

    private boolean hasRoom(long bytes) {
        return file.reaches(refcounts.endOffset() + bytes + 2L * clusterSize + SLACK);
    }

    private void makeRoom(long bytes) throws BlockIoException {
        long end;
        lock.lock();
        try {
            end = refcounts.endOffset();
        } finally {
            lock.unlock();
        }
        file.reserve(end + bytes + 2L * clusterSize + 2 * SLACK);
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
        // Where only parts of a cluster are stored, the other parts may stay as they are
        boolean whole =
                !header.extendedL2
                        || cursor.kind == Kind.COMPRESSED
                        || cursor.kind == Kind.DATA
                        || (cursor.bitmap & Mapping.ALL_STORED) != 0
                                && (cursor.entry & Mapping.COPIED) == 0;
        boolean reuse = isReusable(cursor);
        if (reuse || header.extendedL2) {
            end = Math.min(end, down(offset) + clusterSize);
        }
        int unitBits = whole ? clusterBits : header.unitBits;
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
            if (!hasRoom(end - offset)) {
                return Step.NO_ROOM;
            }
            Step step = ensureSlice(offset, wait);
            if (step != Step.DONE) {
                return step;
            }
            count = (int) (up(end) - down(offset) >>> clusterBits);
            if (dataFile) {
                host = down(offset);
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
                end = Math.min(end, down(offset) + ((long) count << clusterBits));
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
                            host - down(offset),
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
                if (written) {
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

    /** Makes the slice of an offset present and changeable. With the metadata lock. */
    private Step ensureSlice(long offset, boolean wait) throws BlockIoException {
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
        isData(first + shift, last - first);
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
        long first = down(offset);
        for (long at = first; at < end; at += clusterSize) {
            Cursor old = mapping.entry(slice, at);
            long entry = host + (at - first) | Mapping.COPIED;
            long bitmap = 0;
            if (header.extendedL2) {
                bitmap = whole ? Mapping.ALL_STORED : old.bitmap | units(at, offset, end);
                bitmap &= ~((bitmap & Mapping.ALL_STORED) << 32);
            }
            boolean loses = giveUp(old, entry);
            mapping.set(slice, at, entry, bitmap, loses);
        }
    }

    /** The bits of the subclusters of the cluster at {@code at} that a range touches. */
    private long units(long at, long offset, long end) {
        int first = (int) (Math.max(offset, at) - at >>> header.unitBits);
        int last = (int) (Math.min(end, at + clusterSize) - 1 - at >>> header.unitBits);
        return (2L << last) - (1L << first);
    }

    /**
     * Gives up what an entry pointed to, unless the next one points there, too.
     *
     * @return whether somebody may still believe that it is stored there
     */
    private boolean giveUp(Cursor old, long entry) throws BlockIoException {
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
        commit.giveUp(place >>> clusterBits);
        return true;
    }

    // --- Clearing ----------------------------------------------------------------------------

    /**
     * Makes a range read as zeroes, or whatever its end is to be.
     *
     * @param end of the range
     * @param size of the disk
     */
    void clear(long offset, long end, long size, Clear how) throws BlockIoException {
        for (long at = offset; at < end; ) {
            long next = Math.min(end, mapping.sliceEnd(at));
            long locked = down(at);
            Step step;
            ranges.lock(locked, up(next), true);
            try {
                step = clearInSlice(at, next, size, how);
            } finally {
                ranges.unlock(locked);
            }
            switch (step) {
                case DONE -> at = next;
                case NO_ROOM -> makeRoom(clusterSize);
                case CROWDED -> commit.flush();
                case AGAIN, WOULD_BLOCK -> {}
            }
        }
    }

    private Step clearInSlice(long offset, long end, long size, Clear how) throws BlockIoException {
        boolean bare = (mapping.table(offset) & Mapping.OFFSET) == 0;
        boolean below = backing.isPresent() && offset < backing.get().length();
        if (bare && (how == Clear.CUT || !below)) {
            return Step.DONE; // nothing is stored, and it is zero as it is
        }
        Cursor cursor = new Cursor();
        mapping.find(offset, end - offset, cursor, true); // so that the slice is in memory
        if (dataFile) {
            clearDataFile(offset, end, how);
        }
        lock.lock();
        try {
            if (!hasRoom(clusterSize)) {
                return Step.NO_ROOM;
            }
            Step step = ensureSlice(offset, true);
            if (step != Step.DONE) {
                return step;
            }
            Slice slice = mapping.writable(offset);
            for (long at = down(offset); at < end; at += clusterSize) {
                long from = Math.max(at, offset);
                long to = Math.min(at + clusterSize, end);
                boolean whole = from == at && (to == at + clusterSize || to >= size);
                clearCluster(slice, at, from, to, whole, how);
            }
            return Step.DONE;
        } finally {
            lock.unlock();
        }
    }

    private void clearDataFile(long offset, long end, Clear how) throws BlockIoException {
        long to = Math.min(end, data.length());
        if (offset >= to) {
            return;
        }
        if (header.dataFileRaw()) {
            int flags = how == Clear.ZERO ? 0 : RequestFlags.MAY_UNMAP;
            data.writeZeroes(offset, to - offset, flags);
        } else if (how != Clear.ZERO && passDiscards) {
            data.discard(offset, to - offset);
        }
    }

    private void clearCluster(Slice slice, long at, long from, long to, boolean whole, Clear how)
            throws BlockIoException {
        Cursor old = mapping.entry(slice, at);
        boolean allocated = (old.entry & (Mapping.OFFSET | Mapping.COMPRESSED)) != 0;
        boolean below = backing.isPresent();
        if (!whole) {
            clearUnits(slice, at, from, to, old);
            return;
        }
        boolean zeroes = header.version >= 3;
        long entry;
        long bitmap = 0;
        if (how == Clear.CUT || how == Clear.DISCARD && !zeroes) {
            entry = 0;
        } else if (how == Clear.DISCARD && !allocated && !below) {
            return;
        } else if (!zeroes) {
            entry = 0; // only asked where there is nothing below
        } else {
            boolean keeps =
                    (old.entry & Mapping.COPIED) != 0
                            && (how == Clear.ZERO || how == Clear.DISCARD && keepDiscarded);
            boolean place = keeps && (dataFile || (old.entry & Mapping.OFFSET) != 0);
            entry = place ? old.entry & Mapping.OFFSET | Mapping.COPIED : 0;
            if (header.extendedL2) {
                bitmap = Mapping.ALL_ZERO;
            } else {
                entry |= Mapping.ZERO;
            }
        }
        if (entry != old.entry || bitmap != old.bitmap) {
            boolean loses = giveUp(old, entry) || dataFile;
            mapping.set(slice, at, entry, bitmap, loses);
        }
    }

    /** Subclusters become zero; the cluster keeps its place. */
    private void clearUnits(Slice slice, long at, long from, long to, Cursor old)
            throws BlockIoException {
        if (!header.extendedL2 || (old.entry & Mapping.COMPRESSED) != 0) {
            throw new BlockIoException(Errno.EIO, "a part of a cluster cannot be cleared");
        }
        long units = units(at, from, to);
        long bitmap = old.bitmap & ~units | units << 32;
        mapping.set(slice, at, old.entry, bitmap, true);
    }

    /** Whether a range may be cleared by its subclusters: clusters of it are not compressed. */
    boolean hasUnits(long offset, Cursor cursor) throws BlockIoException {
        mapping.find(offset, 1, cursor, true);
        return header.extendedL2 && cursor.kind != Kind.COMPRESSED;
    }

    // --- Preallocation -----------------------------------------------------------------------

    /** Gives all clusters of a new disk their place; their content is zero. */
    void preallocate(long size, boolean reserved) throws BlockIoException {
        for (long at = 0; at < size; ) {
            long end = Math.min(up(size), mapping.sliceEnd(at));
            makeRoom(end - at);
            mapping.find(at, 1, new Cursor(), true); // so that the slice is in memory
            lock.lock();
            Step step;
            try {
                step = ensureSlice(at, true);
                while (step == Step.DONE && at < end) {
                    at = preallocateRun(at, end, reserved);
                }
            } finally {
                lock.unlock();
            }
            if (step == Step.CROWDED) {
                commit.flush();
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

    // --- Compressed clusters -----------------------------------------------------------------

    /** Where the next compressed bytes go: behind the last ones. Guarded by the metadata lock. */
    private long nextCompressed;

    /**
     * Writes a cluster compressed.
     *
     * @param cluster its bytes, a whole cluster
     * @return false if that does not make it smaller: write it as it is
     */
    boolean writeCompressed(long offset, byte[] cluster) throws BlockIoException {
        Optional<byte[]> shrunk = Compression.shrink(header.zstd, cluster);
        if (shrunk.isEmpty()) {
            return false;
        }
        byte[] bytes = shrunk.get();
        while (true) {
            Step step;
            mapping.find(offset, 1, new Cursor(), true);
            ranges.lock(offset, offset + clusterSize, true);
            try {
                step = storeCompressed(offset, bytes);
            } finally {
                ranges.unlock(offset);
            }
            switch (step) {
                case DONE -> {
                    return true;
                }
                case NO_ROOM -> makeRoom(clusterSize);
                case CROWDED -> commit.flush();
                case AGAIN, WOULD_BLOCK -> {}
            }
        }
    }

    private Step storeCompressed(long offset, byte[] bytes) throws BlockIoException {
        lock.lock();
        try {
            if (!hasRoom(clusterSize)) {
                return Step.NO_ROOM;
            }
            Step step = ensureSlice(offset, true);
            if (step != Step.DONE) {
                return step;
            }
            long place = placeCompressed(bytes.length);
            int x = 62 - (clusterBits - 8);
            long sectors = (place + bytes.length - 1 >>> 9) - (place >>> 9);
            long entry = Mapping.COMPRESSED | sectors << x | place;
            reader.forget(entry);
            isData(place, bytes.length);
            file.write(place, bytes, 0, bytes.length);
            Slice slice = mapping.writable(offset);
            boolean loses = giveUp(mapping.entry(slice, offset), 0);
            mapping.set(slice, offset, entry, 0, loses);
            return Step.DONE;
        } finally {
            lock.unlock();
        }
    }

    /** Room for bytes, which share their first cluster with others if the refcount allows it. */
    private long placeCompressed(int bytes) throws BlockIoException {
        long at = nextCompressed;
        long rest = -at & clusterSize - 1;
        boolean shares =
                rest > 0
                        && refcounts.appendable() == at >>> clusterBits
                        && refcounts.get(at >>> clusterBits) < refcounts.largest();
        if (shares && bytes <= rest) {
            refcounts.add(at >>> clusterBits, 1);
        } else {
            long cluster = refcounts.allocate(1, true);
            if (shares && cluster == (at >>> clusterBits) + 1) {
                refcounts.add(at >>> clusterBits, 1);
            } else {
                at = cluster << clusterBits;
            }
        }
        nextCompressed = at + bytes;
        refcounts.appendable(nextCompressed - 1 >>> clusterBits);
        return at;
    }
}

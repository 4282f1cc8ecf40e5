package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.qcow2.Cursor.Kind;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.nio.ByteBuffer;
import java.nio.LongBuffer;
import java.util.Arrays;
import java.util.BitSet;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Where the clusters of the disk are, spec "Cluster mapping" and "Extended L2 Entries": the L1
 * table in memory, and of the L2 tables the slices in the cache.
 *
 * <p>Any thread may {@link #find} without waiting for others. Everything that changes something is
 * called with the metadata lock held, stays in memory, and is written by {@link Commit}.
 */
final class Mapping {
    static final long OFFSET = 0x00ff_ffff_ffff_fe00L;
    static final long COPIED = 1L << 63;
    static final long COMPRESSED = 1L << 62;
    static final long ZERO = 1;

    /**
     * In memory only, where {@link #COMPRESSED} is not set: a new cluster that holds a part of its
     * bytes; the others are still what lies below. In the file it is unallocated until all are
     * there.
     */
    static final long PARTIAL = 2;

    /** A bitmap whose subclusters are all zero. */
    static final long ALL_ZERO = 0xffff_ffffL << 32;

    /** A bitmap whose subclusters are all stored. */
    static final long ALL_STORED = 0xffff_ffffL;

    /** L1 entries that are written together: a sector's. */
    private static final int L1_GROUP = 64;

    private static final VarHandle L1 = MethodHandles.arrayElementVarHandle(long[].class);

    private final Header header;
    private final ImageFile file;
    private final Overlaps overlaps;
    private final ReentrantLock lock;
    private final SliceCache cache;
    private final int clusterBits;
    private final int clusterMask;
    private final int tableBits;
    private final boolean extended;
    private final boolean dataFile;
    private final long zeroFlag;

    /** Bytes of the disk in a slice, as a power of two. */
    private final int sliceBits;

    private final int sliceBytes;

    /** Bytes of a part of a cluster, as a power of two: a page at least, and 64 parts at most. */
    private final int partBits;

    /** The bits of a cluster whose parts are all stored. */
    private final long allParts;

    /** How many clusters are stored in parts. */
    private volatile int partials;

    /** Bits that an entry of data that can be used without another look has not. */
    private final long notPlain;

    private volatile long[] l1;
    private final BitSet l1Dirty = new BitSet();

    /** Moved by whatever makes descriptions of stored runs wrong; see {@link #generation}. */
    private volatile long losses;

    private volatile long changes;

    /**
     * A view of the disk.
     *
     * @param l1Offset where its L1 table lies
     * @param cacheSlices how many slices may be in memory
     * @param sliceBytes of an L2 table, a power of two
     */
    Mapping(
            Header header,
            ImageFile file,
            Overlaps overlaps,
            ReentrantLock lock,
            long l1Offset,
            int l1Entries,
            long cacheSlices,
            int sliceBytes)
            throws BlockIoException {
        this.header = header;
        this.file = file;
        this.overlaps = overlaps;
        this.lock = lock;
        this.sliceBytes = sliceBytes;
        clusterBits = header.clusterBits;
        clusterMask = header.clusterSize - 1;
        tableBits = header.tableBits;
        extended = header.extendedL2;
        dataFile = header.hasDataFile();
        zeroFlag = header.version >= 3 && !extended ? ZERO : 0;
        sliceBits =
                clusterBits
                        + Integer.numberOfTrailingZeros(sliceBytes)
                        - (header.extendedL2 ? 4 : 3);
        notPlain = COMPRESSED | zeroFlag | PARTIAL | OFFSET & clusterMask;
        partBits = Math.max(12, clusterBits - 6);
        allParts = clusterBits <= partBits ? 1 : -1L >>> 64 - (1 << clusterBits - partBits);
        cache = new SliceCache(cacheSlices);
        long[] table = new long[l1Entries];
        ByteBuffer stored = file.read(l1Offset, 8 * l1Entries);
        stored.asLongBuffer().get(table);
        l1 = table;
    }

    int sliceBytes() {
        return sliceBytes;
    }

    SliceCache cache() {
        return cache;
    }

    // --- Finding -----------------------------------------------------------------------------

    /**
     * The place in the file of bytes that are stored as they are, in one cluster, found in the
     * cache.
     *
     * @param required bits that the entry must have: {@link #COPIED} or 0
     * @return its offset, or -1: look with {@link #find}
     */
    long plain(long offset, long bytes, long required) {
        int inCluster = (int) offset & clusterMask;
        if (extended || bytes > clusterMask + 1 - inCluster) {
            return -1;
        }
        Slice slice = cache.get(offset >>> sliceBits);
        if (slice == null) {
            return -1;
        }
        long entry = slice.word((int) (offset >>> clusterBits) & (sliceBytes >>> 3) - 1);
        long host = entry & OFFSET;
        if ((entry & notPlain) != 0 || (entry & required) != required || host == 0) {
            return -1;
        }
        return host + inCluster;
    }

    /**
     * Describes the run that begins at {@code offset}.
     *
     * @param most how long it may be at most; more than 0
     * @param wait whether an L2 table may be waited for
     * @return false if it would have been
     */
    boolean find(long offset, long most, Cursor into, boolean wait) throws BlockIoException {
        long number = offset >>> sliceBits;
        Slice slice = cache.get(number);
        if (slice == null) {
            long entry = l1Entry(offset);
            if ((entry & OFFSET) == 0) {
                long table = 1L << clusterBits + tableBits;
                into.kind = Kind.UNALLOCATED;
                into.length = Math.min(most, table - (offset & table - 1));
                into.entry = 0;
                into.bitmap = 0;
                into.slice = null;
                return true;
            }
            slice = load(offset, wait);
            if (slice == null) {
                return false;
            }
        }
        into.slice = slice;
        into.index = (int) (offset >>> clusterBits) & (sliceBytes >>> (extended ? 4 : 3)) - 1;
        long end = Math.min(most, (number + 1 << sliceBits) - offset);
        if (extended) {
            findUnits(offset, end, into);
        } else {
            findClusters(offset, end, into);
        }
        return true;
    }

    private Kind kind(long entry) {
        if ((entry & COMPRESSED) != 0) {
            return Kind.COMPRESSED;
        } else if ((entry & zeroFlag) != 0) {
            return Kind.ZERO;
        } else if ((entry & OFFSET) != 0 || dataFile && (entry & COPIED) != 0) {
            return Kind.DATA;
        }
        return Kind.UNALLOCATED;
    }

    private void findClusters(long offset, long most, Cursor into) throws BlockIoException {
        Slice slice = into.slice;
        int index = into.index;
        long entry = slice.word(index);
        while (isPartial(entry)) {
            long parts = slice.parts(index);
            long now = slice.word(index);
            if (now == entry) { // so the parts are those of this place
                findParts(offset, most, parts, entry, into);
                return;
            }
            entry = now;
        }
        Kind kind = kind(entry);
        into.kind = kind;
        into.entry = entry;
        long length = clusterMask + 1 - (offset & clusterMask);
        check(entry, kind, offset);
        if (kind == Kind.DATA) {
            into.host = (entry & OFFSET) + (offset & clusterMask);
            into.copied = (entry & COPIED) != 0;
            long next = entry;
            while (length < most) {
                next += clusterMask + 1;
                if (slice.word(++index) != next) {
                    break;
                }
                length += clusterMask + 1;
            }
        } else if (kind != Kind.COMPRESSED) {
            while (length < most && kind(slice.word(++index)) == kind) {
                length += clusterMask + 1;
            }
        }
        into.length = Math.min(most, length);
    }

    /** Whether a cluster is stored in parts. */
    boolean isPartial(long entry) {
        return !extended && (entry & (COMPRESSED | PARTIAL)) == PARTIAL;
    }

    private void findParts(long offset, long most, long parts, long entry, Cursor into) {
        int part = (int) (offset & clusterMask) >>> partBits;
        boolean stored = (parts >>> part & 1) != 0;
        long same = (stored ? ~parts : parts) & -1L << part | ~allParts;
        int end = Math.min(Long.numberOfTrailingZeros(same), 1 << clusterBits - partBits);
        into.kind = stored ? Kind.DATA : Kind.UNALLOCATED;
        into.host = (entry & OFFSET) + (offset & clusterMask);
        into.copied = true;
        into.entry = entry;
        into.length = Math.min(most, ((long) end << partBits) - (offset & clusterMask));
    }

    private void check(long entry, Kind kind, long offset) throws BlockIoException {
        if (kind == Kind.DATA && (entry & OFFSET & clusterMask) != 0) {
            throw overlaps.corrupt(
                    "Cluster allocation offset %#x unaligned (guest offset: %#x)",
                    entry & OFFSET, offset);
        } else if (kind == Kind.COMPRESSED && dataFile) {
            throw overlaps.corrupt(
                    "Compressed cluster entry found in image with external data file (guest"
                            + " offset: %#x)",
                    offset);
        } else if (kind == Kind.DATA && dataFile && (entry & OFFSET) != (offset & ~clusterMask)) {
            throw overlaps.corrupt(
                    "External data file host cluster offset %#x does not match guest cluster"
                            + " offset: %#x",
                    entry & OFFSET, offset & ~(long) clusterMask);
        }
    }

    private void findUnits(long offset, long most, Cursor into) throws BlockIoException {
        Slice slice = into.slice;
        int index = into.index;
        slice.read(index, into);
        long entry = into.entry;
        long bitmap = into.bitmap;
        int unitBits = header.unitBits;
        int unit = (int) (offset & clusterMask) >>> unitBits;
        Kind kind = unitKind(entry, bitmap, unit, offset);
        into.kind = kind;
        into.copied = (entry & COPIED) != 0;
        into.host = (entry & OFFSET) + (offset & clusterMask);
        if (kind == Kind.COMPRESSED) {
            into.length = Math.min(most, clusterMask + 1 - (offset & clusterMask));
            return;
        }
        long length = (1L << unitBits) - (offset & (1L << unitBits) - 1);
        long cluster = entry;
        while (length < most) {
            if (++unit == 32) {
                unit = 0;
                slice.read(++index, into);
                boolean follows = into.entry == cluster + clusterMask + 1;
                if (kind == Kind.DATA && !follows) {
                    break;
                }
                cluster = into.entry;
            }
            if (unitKind(cluster, into.bitmap, unit, offset + length) != kind) {
                break;
            }
            length += 1L << unitBits;
        }
        into.entry = entry;
        into.bitmap = bitmap;
        into.length = Math.min(most, length);
    }

    private Kind unitKind(long entry, long bitmap, int unit, long offset) throws BlockIoException {
        if ((entry & COMPRESSED) != 0) {
            check(entry, Kind.COMPRESSED, offset);
            return Kind.COMPRESSED;
        }
        boolean stored = (bitmap >>> unit & 1) != 0;
        boolean zero = (bitmap >>> unit + 32 & 1) != 0;
        boolean place = (entry & OFFSET) != 0 || dataFile && (entry & COPIED) != 0;
        if (stored && (zero || !place)) {
            throw overlaps.corrupt(
                    "Invalid cluster entry found (L2 entry: %#x, bitmap: %#x, guest offset: %#x)",
                    entry, bitmap, offset);
        }
        if (stored) {
            check(entry, Kind.DATA, offset);
        }
        return stored ? Kind.DATA : zero ? Kind.ZERO : Kind.UNALLOCATED;
    }

    /** The slice of an offset, or null if it is not in memory. */
    Slice cached(long offset) {
        return cache.get(offset >>> sliceBits);
    }

    // --- L1 and slices -----------------------------------------------------------------------

    private long l1Entry(long offset) {
        long[] table = l1;
        long index = offset >>> clusterBits + tableBits;
        return index < table.length ? (long) L1.getAcquire(table, (int) index) : 0;
    }

    private long placeOf(long offset) throws BlockIoException {
        long table = l1Entry(offset) & OFFSET;
        if ((table & clusterMask) != 0) {
            throw overlaps.corrupt(
                    "L2 table offset %#x unaligned (L1 index: %#x)",
                    table, offset >>> clusterBits + tableBits);
        }
        long perTable = clusterBits + tableBits - sliceBits;
        return table + ((offset >>> sliceBits & (1L << perTable) - 1) * sliceBytes);
    }

    /** Reads a slice, and keeps it unless the cache is full of what is not written. */
    private Slice load(long offset, boolean wait) throws BlockIoException {
        long number = offset >>> sliceBits;
        while (true) {
            if (wait) {
                lock.lock();
            } else if (!lock.tryLock()) {
                return null;
            }
            long evictions;
            long place;
            try {
                Slice there = cache.get(number);
                if (there != null) {
                    return there;
                }
                evictions = cache.evictions();
                place = placeOf(offset);
            } finally {
                lock.unlock();
            }
            long[] words = new long[sliceBytes / 8];
            ByteBuffer stored = ImageFile.buffer(sliceBytes);
            if (!file.read(place, stored, wait)) {
                return null;
            }
            stored.asLongBuffer().get(words);
            for (int i = 0; i < words.length && !extended; i++) {
                if (isPartial(words[i])) {
                    words[i] &= ~PARTIAL; // reserved in the file
                }
            }
            Slice slice = new Slice(number, place, words);
            lock.lock();
            try {
                Slice there = cache.get(number);
                if (there != null) {
                    return there;
                }
                if (cache.evictions() == evictions && placeOf(offset) == place) {
                    cache.put(slice);
                    return slice;
                }
            } finally {
                lock.unlock();
            }
        }
    }

    // --- Changing ----------------------------------------------------------------------------

    /**
     * Stored runs stay as described as long as this does not change; runs that are not stored as
     * long as {@link #changes} does not.
     */
    long losses() {
        return losses;
    }

    /** See {@link #losses}. */
    long changes() {
        return changes;
    }

    /** The L1 entry of an offset, as it is now. */
    long table(long offset) {
        return l1Entry(offset);
    }

    /** Whether the L2 table of an offset may be changed where it is. */
    boolean ownsTable(long offset) {
        return (l1Entry(offset) & COPIED) != 0;
    }

    /** The slice of an offset if it is in the cache, and its table may be changed. */
    Slice writable(long offset) {
        return ownsTable(offset) ? cache.get(offset >>> sliceBits) : null;
    }

    /**
     * Sets an empty table in. Its cluster holds zeroes.
     *
     * @return false if the cache is full of what is not written
     */
    boolean addTable(long offset, long cluster) {
        if (!cache.put(emptySlice(offset >>> sliceBits, cluster))) {
            return false;
        }
        // The others of the table as far as there is room: what they hold is known without reading
        long perTable = 1L << clusterBits + tableBits - sliceBits;
        long first = offset >>> sliceBits & -perTable;
        for (long number = first; number < first + perTable; number++) {
            if (number != offset >>> sliceBits) {
                cache.putIfRoom(emptySlice(number, cluster));
            }
        }
        setL1(offset, cluster << clusterBits | COPIED);
        overlaps.add(cluster, Overlaps.L2);
        return true;
    }

    private Slice emptySlice(long number, long cluster) {
        long place = (cluster << clusterBits) + placeInTable(number << sliceBits);
        return new Slice(number, place, new long[sliceBytes / 8]);
    }

    private long placeInTable(long offset) {
        long perTable = clusterBits + tableBits - sliceBits;
        return (offset >>> sliceBits & (1L << perTable) - 1) * sliceBytes;
    }

    /** A table has been copied: slices that are in memory lie in the new one now. */
    void moveTable(long offset, long cluster) {
        int perTable = clusterBits + tableBits - sliceBits;
        long first = offset >>> sliceBits >>> perTable << perTable;
        for (long number = first; number < first + (1L << perTable); number++) {
            Slice slice = cache.get(number);
            if (slice != null) {
                slice.place = (cluster << clusterBits) + (number - first) * sliceBytes;
            }
        }
        setL1(offset, cluster << clusterBits | COPIED);
        overlaps.add(cluster, Overlaps.L2);
    }

    private void setL1(long offset, long entry) {
        int index = (int) (offset >>> clusterBits + tableBits);
        L1.setRelease(l1, index, entry);
        l1Dirty.set(index / L1_GROUP);
    }

    /** Sets the entry of a cluster; it is known to be in that slice. */
    @SuppressWarnings("NonAtomicOperationOnVolatileField") // with the metadata lock
    void set(Slice slice, long offset, long entry, long bitmap, boolean loses) {
        int index = (int) (offset >>> clusterBits) & (sliceBytes >>> (extended ? 4 : 3)) - 1;
        if (extended) {
            slice.set(index, entry, bitmap);
        } else {
            if (isPartial(slice.word(index))) {
                slice.partials--;
                partials--;
            }
            slice.set(index, entry);
        }
        slice.dirty = true;
        changes++;
        if (loses) {
            losses++;
        }
    }

    /** Whether a new cluster can be stored in parts. */
    boolean hasParts() {
        return !extended && !dataFile && allParts != 1;
    }

    /** Bytes of a part of a cluster, as a power of two. */
    int partBits() {
        return partBits;
    }

    /** How many clusters are stored in parts. */
    int partials() {
        return partials;
    }

    /**
     * Says that some parts of a new cluster are stored. The file is not told before all of them
     * are.
     */
    @SuppressWarnings("NonAtomicOperationOnVolatileField") // with the metadata lock
    void setParts(Slice slice, long offset, long host, long parts) {
        int index = (int) (offset >>> clusterBits) & (sliceBytes >>> 3) - 1;
        long entry = host | COPIED | PARTIAL;
        boolean known = slice.word(index) == entry;
        long now = known ? slice.parts(index) | parts : parts;
        slice.setParts(index, now);
        if (!known) {
            slice.set(index, entry);
            slice.partials++;
            partials++;
            changes++;
        }
        if (now == allParts) {
            set(slice, offset, host | COPIED, 0, false);
        }
    }

    /** The first bytes of the clusters that are stored in parts. */
    long[] partialClusters() {
        long[] all = new long[partials];
        int count = 0;
        for (Slice slice : cache.partial()) {
            for (int i = 0; i < slice.words.length; i++) {
                if (isPartial(slice.word(i))) {
                    all[count++] = (slice.number << sliceBits) + ((long) i << clusterBits);
                }
            }
        }
        return all;
    }

    /** The entry of a cluster as it is; it is known to be in that slice. */
    Cursor entry(Slice slice, long offset) {
        Cursor cursor = new Cursor();
        int index = (int) (offset >>> clusterBits) & (sliceBytes >>> (extended ? 4 : 3)) - 1;
        if (extended) {
            slice.read(index, cursor);
        } else {
            cursor.entry = slice.word(index);
        }
        return cursor;
    }

    /** Where the slice of an offset ends on the disk. */
    long sliceEnd(long offset) {
        return (offset >>> sliceBits) + 1 << sliceBits;
    }

    /** Makes the L1 table longer or shorter; it will be written elsewhere as a whole. */
    void resize(int entries) {
        l1 = Arrays.copyOf(l1, entries);
        changes++;
        losses++;
    }

    long[] l1() {
        return l1;
    }

    // --- Writing -----------------------------------------------------------------------------

    /** What is to be written, in the form of the disk. */
    record Taken(
            List<Slice> slices, List<ByteBuffer> data, long[] places, BitSet l1, long[] l1Table) {
        boolean isEmpty() {
            return slices.isEmpty() && l1.isEmpty();
        }
    }

    Taken take() {
        List<Slice> slices = cache.dirty();
        long[] places = new long[slices.size()];
        List<ByteBuffer> data = new java.util.ArrayList<>(slices.size());
        for (int i = 0; i < places.length; i++) {
            Slice slice = slices.get(i);
            ByteBuffer buffer = ImageFile.buffer(sliceBytes);
            LongBuffer longs = buffer.asLongBuffer();
            longs.put(slice.words);
            for (int word = 0; word < slice.words.length && slice.partials > 0; word++) {
                if (isPartial(slice.words[word])) {
                    longs.put(word, 0); // there is not enough of it yet
                }
            }
            data.add(buffer);
            places[i] = slice.place;
            slice.dirty = false;
            slice.writing = true;
        }
        BitSet groups = (BitSet) l1Dirty.clone();
        l1Dirty.clear();
        return new Taken(slices, data, places, groups, groups.isEmpty() ? l1 : l1.clone());
    }

    void written(Taken taken) {
        taken.slices.forEach(slice -> slice.writing = false);
    }

    void failed(Taken taken) {
        taken.slices.forEach(
                slice -> {
                    slice.writing = false;
                    slice.dirty = true;
                });
        l1Dirty.or(taken.l1);
    }

    /** Writes the groups of L1 entries that were taken. */
    void writeL1(Taken taken, long l1Offset) throws BlockIoException {
        for (int group = taken.l1.nextSetBit(0);
                group >= 0;
                group = taken.l1.nextSetBit(group + 1)) {
            int from = group * L1_GROUP;
            int to = Math.min(from + L1_GROUP, taken.l1Table.length);
            ByteBuffer buffer = ImageFile.buffer(8 * (to - from));
            buffer.asLongBuffer().put(taken.l1Table, from, to - from);
            file.write(l1Offset + 8L * from, buffer);
        }
    }
}

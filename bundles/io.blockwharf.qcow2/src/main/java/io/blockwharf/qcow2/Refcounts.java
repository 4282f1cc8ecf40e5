package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * How often each cluster of the file is used, spec "Host cluster management", and the search for
 * clusters that are not. All of it happens in memory; {@link Commit} writes it.
 *
 * <p>Guarded by the metadata lock. The table is in memory as a whole, of the blocks as many as the
 * cache may hold, and those that are not written yet.
 */
final class Refcounts {
    /** A refcount block in memory. */
    static final class Block {
        final int index;
        final long offset;
        final byte[] data;
        int dirtyFrom = Integer.MAX_VALUE;
        int dirtyTo;

        /** Being written: what is in the file is not what is here. */
        boolean writing;

        Block(int index, long offset, byte[] data) {
            this.index = index;
            this.offset = offset;
            this.data = data;
        }

        boolean dirty() {
            return dirtyTo > dirtyFrom;
        }

        void touch(int from, int to) {
            dirtyFrom = Math.min(dirtyFrom, from);
            dirtyTo = Math.max(dirtyTo, to);
        }
    }

    /** What an allocation without waiting answers if a block is not in memory. */
    static final long WOULD_BLOCK = -1;

    private final Header header;
    private final ImageFile file;
    private final Overlaps overlaps;
    private final int clusterBits;
    private final int bits;
    private final long largest;

    /** Clusters that a block counts, as a power of two. */
    private final int blockBits;

    private final int most;
    private final Map<Integer, Block> blocks = new LinkedHashMap<>(16, 0.75f, true);

    private long[] table;

    /** Entries of the table that are not written: the first one, and behind the last one. */
    private int tableDirtyFrom = Integer.MAX_VALUE;

    private int tableDirtyTo;

    /** The table has moved: the header does not know yet. */
    private boolean tableMoved;

    /** No cluster below it is free. */
    private long hint;

    /** Behind the last cluster that was ever in use. */
    private long end;

    /** The cluster and all behind it have never been written: they are zero. */
    private long virgin;

    /**
     * The counts of an image.
     *
     * @param cacheBytes how much of them may be in memory
     */
    Refcounts(Header header, ImageFile file, Overlaps overlaps, long cacheBytes)
            throws BlockIoException {
        this.header = header;
        this.file = file;
        this.overlaps = overlaps;
        clusterBits = header.clusterBits;
        bits = header.refcountBits;
        largest = bits == 64 ? Long.MAX_VALUE : (1L << bits) - 1;
        blockBits = clusterBits + 3 - Integer.numberOfTrailingZeros(bits);
        most = Math.clamp(cacheBytes >>> clusterBits, 4, Integer.MAX_VALUE);
        int bytes = header.reftableClusters << clusterBits;
        ByteBuffer stored = file.read(header.reftableOffset, bytes);
        table = new long[bytes / 8];
        for (int i = 0; i < table.length; i++) {
            table[i] = stored.getLong(8 * i) & -512L;
        }
        virgin = file.length() + header.clusterSize - 1 >>> clusterBits;
        end = virgin;
    }

    /** How large a count can be. */
    long largest() {
        return largest;
    }

    /** Where the refcount blocks lie; 0 for none. */
    long[] table() {
        return table;
    }

    /** Where the bytes behind everything in use begin in the file. */
    long endOffset() {
        return end << clusterBits;
    }

    // --- Counts ------------------------------------------------------------------------------

    private int indexOf(long cluster) {
        return (int) Math.min(Integer.MAX_VALUE, cluster >>> blockBits);
    }

    /** The block that counts a cluster, null if there is none. */
    private Block block(int index) throws BlockIoException {
        Block block = blocks.get(index);
        if (block != null || index >= table.length || table[index] == 0) {
            return block;
        }
        long offset = table[index];
        if ((offset & header.clusterSize - 1) != 0 || offset < 0) {
            throw overlaps.corrupt(
                    "Refblock offset %#x unaligned (reftable index: %#x)", offset, index);
        }
        byte[] data = new byte[header.clusterSize];
        file.read(offset, header.clusterSize).get(data);
        return keep(new Block(index, offset, data));
    }

    private Block keep(Block block) {
        if (blocks.size() >= most) {
            blocks.values().stream()
                    .filter(b -> !b.dirty() && !b.writing)
                    .findFirst()
                    .ifPresent(oldest -> blocks.remove(oldest.index));
        }
        blocks.put(block.index, block);
        return block;
    }

    /** Whether so many blocks are not written yet that it is time for a commit. */
    boolean crowded() {
        return blocks.size() > most;
    }

    private boolean inMemory(int index) {
        return index < table.length && (table[index] == 0 || blocks.containsKey(index));
    }

    /** How often a cluster is used. */
    long get(long cluster) throws BlockIoException {
        Block block = block(indexOf(cluster));
        return block == null ? 0 : get(block.data, (int) (cluster & (1L << blockBits) - 1));
    }

    private long get(byte[] data, int entry) {
        return switch (bits) {
            case 8 -> data[entry] & 0xff;
            case 16 -> (data[2 * entry] & 0xff) << 8 | data[2 * entry + 1] & 0xff;
            case 32 -> Integer.toUnsignedLong(ByteBuffer.wrap(data).getInt(4 * entry));
            case 64 -> ByteBuffer.wrap(data).getLong(8 * entry);
            default -> data[entry * bits >>> 3] >>> (entry * bits & 7) & (int) largest;
        };
    }

    private void set(Block block, int entry, long value) {
        byte[] data = block.data;
        switch (bits) {
            case 8 -> data[entry] = (byte) value;
            case 16 -> {
                data[2 * entry] = (byte) (value >>> 8);
                data[2 * entry + 1] = (byte) value;
            }
            case 32 -> ByteBuffer.wrap(data).putInt(4 * entry, (int) value);
            case 64 -> ByteBuffer.wrap(data).putLong(8 * entry, value);
            default -> {
                int shift = entry * bits & 7;
                int at = entry * bits >>> 3;
                data[at] = (byte) (data[at] & ~(largest << shift) | value << shift);
            }
        }
        int at = (int) ((long) entry * bits >>> 3);
        block.touch(at & -512, (at & -512) + 512);
    }

    /** Changes a count. */
    void add(long cluster, long delta) throws BlockIoException {
        Block block = block(indexOf(cluster));
        int entry = (int) (cluster & (1L << blockBits) - 1);
        long before = block == null ? 0 : get(block.data, entry);
        long after = before + delta;
        if (before < 0 || after < 0 || block == null) {
            throw overlaps.corrupt(
                    "Refcount of cluster offset %#x cannot be changed from %d by %d",
                    cluster << clusterBits, before, delta);
        }
        if (after > largest) {
            throw new BlockIoException(Errno.EINVAL, "a cluster is used too often");
        }
        set(block, entry, after);
        if (after == 0) {
            hint = Math.min(hint, cluster);
            if (appendable == cluster) {
                appendable = -1;
            }
        }
    }

    /** The cluster that compressed bytes may be appended to; -1 since it became free. */
    private long appendable = -1;

    long appendable() {
        return appendable;
    }

    void appendable(long cluster) {
        appendable = cluster;
    }

    /** Sets a count, for repairs. Blocks that are missing go behind everything. */
    void repair(long cluster, long count) throws BlockIoException {
        if (count > largest) {
            throw new BlockIoException(Errno.EINVAL, "a cluster is used too often");
        }
        end = Math.max(end, cluster + 1);
        if (cluster >>> blockBits >= table.length) {
            grow(cluster >>> blockBits);
        }
        int index = indexOf(cluster);
        if (block(index) == null) {
            long own = end;
            took(own, 1);
            overlaps.add(own, Overlaps.REFCOUNT_BLOCK);
            newBlock(index, own);
            repair(own, 1);
        }
        set(block(index), (int) (cluster & (1L << blockBits) - 1), count);
        hint = 0;
    }

    // --- Allocation --------------------------------------------------------------------------

    /** How many clusters the last allocation has got. */
    private int got;

    /** Whether they have never been written. */
    private boolean gotVirgin;

    int got() {
        return got;
    }

    boolean gotVirgin() {
        return gotVirgin;
    }

    private void checkLimit(long last) throws BlockIoException {
        if (last >= Mapping.OFFSET >>> clusterBits || last << clusterBits >= file.limit()) {
            throw new BlockIoException(Errno.ENOSPC, "no cluster is left");
        }
    }

    private void took(long cluster, int count) {
        got = count;
        gotVirgin = cluster >= virgin;
        virgin = Math.max(virgin, cluster + count);
        end = Math.max(end, cluster + count);
    }

    /** The last allocation is not needed: nothing has been written there. */
    void giveBack(long cluster, int count, boolean wasVirgin) throws BlockIoException {
        for (int i = 0; i < count; i++) {
            add(cluster + i, -1);
        }
        if (wasVirgin && virgin == cluster + count) {
            virgin = cluster;
        }
    }

    /**
     * Takes up to {@code wanted} neighbouring free clusters, the first ones that there are; {@link
     * #got} tells how many.
     *
     * @param wait whether blocks may be read for it
     * @return the first cluster, or {@link #WOULD_BLOCK}
     */
    long allocate(int wanted, boolean wait) throws BlockIoException {
        while (true) {
            int index = indexOf(hint);
            if (!wait && !inMemory(index)) {
                return WOULD_BLOCK;
            }
            Block block = block(index);
            if (block == null) {
                cover(hint);
                continue;
            }
            int entries = 1 << blockBits;
            int first = (int) (hint & entries - 1);
            while (first < entries && get(block.data, first) != 0) {
                first++;
            }
            hint = ((long) index << blockBits) + first;
            if (first == entries) {
                continue;
            }
            checkLimit(hint);
            int count = 0;
            while (count < wanted
                    && first + count < entries
                    && get(block.data, first + count) == 0) {
                set(block, first + count++, 1);
            }
            long cluster = hint;
            hint += count;
            took(cluster, count);
            return cluster;
        }
    }

    /** Takes exactly that many neighbouring clusters, for tables. */
    long allocateExactly(int count) throws BlockIoException {
        long first = hint;
        int run = 0;
        while (run < count) {
            long next = first + run;
            if (block(indexOf(next)) == null) {
                cover(next);
                continue; // which may have taken clusters of the run
            }
            if (get(next) == 0) {
                run++;
            } else {
                first = next + 1;
                run = 0;
            }
        }
        for (int i = 0; i < count; i++) {
            if (get(first + i) != 0) {
                return allocateExactly(count); // covering has taken one of them
            }
        }
        checkLimit(first + count - 1);
        for (int i = 0; i < count; i++) {
            add(first + i, 1);
        }
        took(first, count);
        return first;
    }

    /** Makes a refcount block for a cluster that none counts. The block counts itself. */
    private void cover(long cluster) throws BlockIoException {
        long index = cluster >>> blockBits;
        if (index >= table.length) {
            grow(index);
            return;
        }
        checkLimit(cluster);
        overlaps.add(cluster, Overlaps.REFCOUNT_BLOCK);
        newBlock((int) index, cluster);
        set(blocks.get((int) index), (int) (cluster & (1L << blockBits) - 1), 1);
        took(cluster, 1);
    }

    private void newBlock(int index, long cluster) {
        Block block = new Block(index, cluster << clusterBits, new byte[header.clusterSize]);
        block.touch(0, header.clusterSize);
        keep(block);
        table[index] = block.offset;
        tableDirtyFrom = Math.min(tableDirtyFrom, index);
        tableDirtyTo = Math.max(tableDirtyTo, index + 1);
    }

    /**
     * Moves the table behind everything, large enough for that entry: table first, then the blocks
     * that count both.
     */
    private void grow(long index) throws BlockIoException {
        long from = Math.max(index << blockBits, end);
        int firstBlock = indexOf(from);
        long entries = Math.max(table.length + table.length / 2L, firstBlock + 1L);
        long clusters;
        long newBlocks = 1;
        while (true) {
            clusters = (entries * 8 + header.clusterSize - 1) >>> clusterBits;
            long last = (from + clusters + newBlocks - 1) >>> blockBits;
            if (last - firstBlock + 1 <= newBlocks && last < entries) {
                break;
            }
            newBlocks = Math.max(newBlocks, last - firstBlock + 1);
            entries = Math.max(entries, last + 1);
        }
        checkLimit(from + clusters + newBlocks - 1);
        long bytes = clusters << clusterBits;
        if (bytes > Header.REFTABLE_BYTES) {
            throw new BlockIoException(Errno.EFBIG, "the refcount table cannot grow further");
        }
        long[] larger = new long[(int) (bytes / 8)];
        System.arraycopy(table, 0, larger, 0, table.length);
        retired.add(new long[] {header.reftableOffset >>> clusterBits, header.reftableClusters});
        table = larger;
        header.reftableOffset = from << clusterBits;
        header.reftableClusters = (int) clusters;
        tableMoved = true;
        for (int i = 0; i < newBlocks; i++) {
            newBlock(firstBlock + i, from + clusters + i);
            overlaps.add(from + clusters + i, Overlaps.REFCOUNT_BLOCK);
        }
        for (long i = 0; i < clusters; i++) {
            overlaps.add(from + i, Overlaps.REFCOUNT_TABLE);
        }
        for (long i = 0; i < clusters + newBlocks; i++) {
            set(blocks.get(indexOf(from + i)), (int) (from + i & (1L << blockBits) - 1), 1);
        }
        took(from, (int) (clusters + newBlocks));
    }

    /** Old tables, first cluster and count: free once the header has been written. */
    private final List<long[]> retired = new ArrayList<>();

    /** Clusters behind the last one that is in use. Reads all blocks. */
    long used() throws BlockIoException {
        for (int index = table.length - 1; index >= 0; index--) {
            Block block = block(index);
            for (int i = (1 << blockBits) - 1; block != null && i >= 0; i--) {
                if (get(block.data, i) != 0) {
                    return ((long) index << blockBits) + i + 1;
                }
            }
        }
        return 0;
    }

    // --- Writing -----------------------------------------------------------------------------

    /** What is to be written: taken with the lock, written without it. */
    static final class Snapshot {
        final List<Block> blocks = new ArrayList<>();
        final List<byte[]> data = new ArrayList<>();
        final List<int[]> ranges = new ArrayList<>();
        ByteBuffer table;
        long tableAt;
        boolean moved;
        long reftableOffset;
        int reftableClusters;
        List<long[]> retired = List.of();
    }

    /** Takes everything that is not written; it counts as written until {@link #failed}. */
    Snapshot take() {
        Snapshot taken = new Snapshot();
        for (Block block : blocks.values()) {
            if (block.dirty()) {
                int to = Math.min(block.dirtyTo, header.clusterSize);
                taken.blocks.add(block);
                taken.data.add(java.util.Arrays.copyOfRange(block.data, block.dirtyFrom, to));
                taken.ranges.add(new int[] {block.dirtyFrom, to});
                block.dirtyFrom = Integer.MAX_VALUE;
                block.dirtyTo = 0;
                block.writing = true;
            }
        }
        if (tableMoved) {
            tableDirtyFrom = 0;
            tableDirtyTo = table.length;
        }
        if (tableDirtyFrom < tableDirtyTo) {
            taken.table = ImageFile.buffer(8 * (tableDirtyTo - tableDirtyFrom));
            for (int i = tableDirtyFrom; i < tableDirtyTo; i++) {
                taken.table.putLong(table[i]);
            }
            taken.tableAt = header.reftableOffset + 8L * tableDirtyFrom;
        }
        taken.moved = tableMoved;
        taken.reftableOffset = header.reftableOffset;
        taken.reftableClusters = header.reftableClusters;
        taken.retired = List.copyOf(retired);
        retired.clear();
        tableMoved = false;
        tableDirtyFrom = Integer.MAX_VALUE;
        tableDirtyTo = 0;
        return taken;
    }

    /** It has been written. */
    void written(Snapshot taken) {
        taken.blocks.forEach(block -> block.writing = false);
        var each = blocks.values().iterator();
        while (blocks.size() > most && each.hasNext()) {
            Block block = each.next();
            if (!block.dirty() && !block.writing) {
                each.remove();
            }
        }
    }

    /** It could not be written: is to be written again. */
    void failed(Snapshot taken) {
        for (int i = 0; i < taken.blocks.size(); i++) {
            Block block = taken.blocks.get(i);
            block.touch(taken.ranges.get(i)[0], taken.ranges.get(i)[1]);
            block.writing = false;
        }
        if (taken.table != null) {
            tableDirtyFrom = 0;
            tableDirtyTo = table.length;
        }
        tableMoved |= taken.moved;
        retired.addAll(taken.retired);
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;

import java.nio.ByteBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Counts anew how often each cluster is used, for an image that was left dirty: spec "Header",
 * dirty bit. Counts that are too low are set right, and so are those that are too high.
 */
final class Repair {
    private static final int PAGE = 1 << 14;

    /** A file of that many clusters takes 1 GiB of memory here: qemu-img has more patience. */
    private static final long MOST_CLUSTERS = 1L << 28;

    private final Header header;
    private final ImageFile file;
    private final Mapping mapping;
    private final List<Snapshot> snapshots;
    private final StoredBitmaps bitmaps;
    private final Refcounts refcounts;
    private final long clusters;
    private final Map<Long, int[]> counts = new HashMap<>();

    Repair(
            Header header,
            ImageFile file,
            Mapping mapping,
            List<Snapshot> snapshots,
            StoredBitmaps bitmaps,
            Refcounts refcounts) {
        this.header = header;
        this.file = file;
        this.mapping = mapping;
        this.snapshots = snapshots;
        this.bitmaps = bitmaps;
        this.refcounts = refcounts;
        clusters = file.length() + header.clusterSize - 1 >>> header.clusterBits;
    }

    /**
     * Does it, in memory.
     *
     * @throws BlockIoException if references point behind the end of the file: that is more than
     *     dirt
     */
    void run() throws BlockIoException {
        if (clusters > MOST_CLUSTERS) {
            throw new BlockIoException(
                    Errno.EFBIG, "the image is dirty, and too large to be repaired here");
        }
        use(0, header.clusterSize);
        use(header.l1Offset, 8L * header.l1Entries);
        tables(mapping.l1());
        for (Snapshot snapshot : snapshots) {
            use(snapshot.l1Offset(), 8L * snapshot.l1Entries());
            long[] l1 = new long[snapshot.l1Entries()];
            file.read(snapshot.l1Offset(), 8 * l1.length).asLongBuffer().get(l1);
            tables(l1);
        }
        if (!snapshots.isEmpty()) {
            use(header.snapshotsOffset, Snapshot.tableBytes(header, file));
        }
        bitmaps.places(this::use);
        use(header.reftableOffset, (long) header.reftableClusters << header.clusterBits);
        for (long block : refcounts.table()) {
            if (block != 0) {
                use(block, header.clusterSize);
            }
        }
        for (long cluster = 0; cluster < clusters; cluster++) {
            int[] page = counts.get(cluster / PAGE);
            int count = page == null ? 0 : page[(int) (cluster % PAGE)];
            if (refcounts.get(cluster) != count) {
                refcounts.repair(cluster, count);
            }
        }
    }

    private void use(long offset, long bytes) throws BlockIoException {
        if (bytes == 0) {
            return;
        }
        long last = offset + bytes - 1 >>> header.clusterBits;
        if (offset < 0 || last >= clusters) {
            throw new BlockIoException(
                    Errno.EIO,
                    "the image is dirty, and something in it lies behind the end of the file");
        }
        for (long c = offset >>> header.clusterBits; c <= last; c++) {
            counts.computeIfAbsent(c / PAGE, _ -> new int[PAGE])[(int) (c % PAGE)]++;
        }
    }

    private void tables(long[] l1) throws BlockIoException {
        for (long entry : l1) {
            long table = entry & Mapping.OFFSET;
            if (table != 0) {
                use(table, header.clusterSize);
                entries(file.read(table, header.clusterSize));
            }
        }
    }

    private void entries(ByteBuffer table) throws BlockIoException {
        for (int at = 0; at < table.capacity(); at += header.extendedL2 ? 16 : 8) {
            long entry = table.getLong(at);
            if ((entry & Mapping.COMPRESSED) != 0) {
                use(Reader.compressedOffset(header, entry), Reader.compressedBytes(header, entry));
            } else if ((entry & Mapping.OFFSET) != 0 && !header.hasDataFile()) {
                use(entry & Mapping.OFFSET, header.clusterSize);
            }
        }
    }
}

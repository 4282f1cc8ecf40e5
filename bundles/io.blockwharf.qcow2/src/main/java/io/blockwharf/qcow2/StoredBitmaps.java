package io.blockwharf.qcow2;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.ImageDescription.Qcow2BitmapInfo;
import io.blockwharf.api.block.ImageDescription.Qcow2BitmapInfoFlags;
import io.blockwharf.api.qmp.QmpException;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.locks.ReentrantLock;

/**
 * The dirty bitmaps that an image keeps, spec "Bitmaps". While the image is open for writing they
 * are marked "in use" in the file; what is stored in the end is written anew elsewhere.
 */
final class StoredBitmaps implements BitmapStore {
    /** QEMU's QCOW2_MAX_BITMAPS. */
    static final int MOST = 65535;

    /** QEMU's QCOW2_MAX_BITMAP_DIRECTORY_SIZE: 1 KiB for each. */
    static final long DIRECTORY_BYTES = MOST * 1024L;

    private static final int IN_USE = 1;
    private static final int AUTO = 2;
    private static final int EXTRA_COMPATIBLE = 4;
    private static final int KNOWN_FLAGS = IN_USE | AUTO | EXTRA_COMPATIBLE;
    private static final int FIXED = 24;
    private static final int LONGEST_NAME = 1023;
    private static final int FINEST = 9;
    private static final int COARSEST = 31;

    /** QEMU's BME_MAX_PHYS_SIZE: bytes of the bits of one bitmap. */
    private static final long MOST_BYTES = 0x20000000;

    private static final long ALL_DIRTY = 1;
    private static final long PLACE = Mapping.OFFSET;

    /**
     * An entry of the directory.
     *
     * @param wasInUse before the image was opened
     */
    private record Entry(
            String name,
            long table,
            int tableEntries,
            int flags,
            int granularityBits,
            byte[] extra,
            boolean wasInUse) {
        /** Understood here, and well-formed. */
        boolean usable() {
            return extra.length == 0 || (flags & EXTRA_COMPATIBLE) != 0;
        }

        byte[] encode(int newFlags) {
            byte[] text = name.getBytes(StandardCharsets.UTF_8);
            int bytes = FIXED + extra.length + text.length + 7 & -8;
            return ByteBuffer.allocate(bytes)
                    .putLong(table)
                    .putInt(tableEntries)
                    .putInt(newFlags)
                    .put((byte) 1)
                    .put((byte) granularityBits)
                    .putShort((short) text.length)
                    .putInt(extra.length)
                    .put(extra)
                    .put(text)
                    .array();
        }
    }

    private final Header header;
    private final ImageFile file;
    private final List<Entry> entries;

    /**
     * Reads the directory.
     *
     * @throws QmpException if it cannot be understood
     */
    StoredBitmaps(Header header, ImageFile file) throws BlockIoException {
        this.header = header;
        this.file = file;
        entries = header.bitmaps.isPresent() ? read(header.bitmaps.get()) : List.of();
    }

    private List<Entry> read(Header.BitmapsPlace place) throws BlockIoException {
        if (place.offset() > file.length() - place.bytes()) {
            throw QmpException.generic("Bitmap directory lies behind the end of the file");
        }
        ByteBuffer directory = file.read(place.offset(), (int) place.bytes());
        List<Entry> all = new ArrayList<>();
        Set<String> names = new HashSet<>();
        int at = 0;
        while (directory.capacity() - at >= FIXED) {
            int nameBytes = directory.getShort(at + 18) & 0xffff;
            int extraBytes = directory.getInt(at + 20);
            if (extraBytes < 0 || extraBytes > directory.capacity() - at - FIXED - nameBytes) {
                throw QmpException.generic("Broken bitmap directory");
            }
            byte[] extra = new byte[extraBytes];
            directory.get(at + FIXED, extra);
            byte[] name = new byte[nameBytes];
            directory.get(at + FIXED + extraBytes, name);
            int flags = directory.getInt(at + 12);
            Entry entry =
                    new Entry(
                            new String(name, StandardCharsets.UTF_8),
                            directory.getLong(at),
                            directory.getInt(at + 8),
                            flags,
                            directory.get(at + 17),
                            extra,
                            (flags & IN_USE) != 0);
            check(entry, directory.get(at + 16));
            if (!names.add(entry.name)) {
                throw QmpException.generic("Bitmap '%s' is there twice", entry.name);
            }
            all.add(entry);
            at += FIXED + extraBytes + nameBytes + 7 & -8;
        }
        if (all.size() != place.count()) {
            throw QmpException.generic(
                    "Broken bitmap directory: %d bitmaps are said to be there", place.count());
        }
        return all;
    }

    private void check(Entry entry, int type) {
        boolean good =
                type == 1
                        && entry.granularityBits >= FINEST
                        && entry.granularityBits <= COARSEST
                        && (entry.flags & ~KNOWN_FLAGS) == 0
                        && !entry.name.isEmpty()
                        && entry.name.length() <= LONGEST_NAME
                        && entry.table > 0
                        && (entry.table & header.clusterSize - 1) == 0
                        && entry.tableEntries >= 0
                        && entry.tableEntries <= MOST_BYTES >>> header.clusterBits;
        // A bitmap in use may still have the size that the disk had before
        if (!good
                || !entry.wasInUse
                        && entry.tableEntries != tableEntries(header.size, entry.granularityBits)) {
            throw QmpException.generic("Bitmap '%s' doesn't satisfy the constraints", entry.name);
        }
    }

    private long bits(long size, int granularityBits) {
        return (size >>> granularityBits) + ((size & (1L << granularityBits) - 1) == 0 ? 0 : 1);
    }

    private long tableEntries(long size, int granularityBits) {
        long perCluster = header.clusterSize * 8L;
        return (bits(size, granularityBits) + perCluster - 1) / perCluster;
    }

    /** Marks all bitmaps as not to be trusted until they are stored again. */
    void markInUse() throws BlockIoException {
        if (entries.stream().allMatch(Entry::wasInUse)) {
            return;
        }
        ByteArrayOutputStream directory = new ByteArrayOutputStream();
        entries.forEach(entry -> directory.writeBytes(entry.encode(entry.flags | IN_USE)));
        byte[] bytes = directory.toByteArray();
        file.write(header.bitmaps.orElseThrow().offset(), bytes, 0, bytes.length);
        file.node.flush();
    }

    /** Tells where everything lies that belongs to bitmaps. */
    void places(Placed to) throws BlockIoException {
        if (header.bitmaps.isPresent()) {
            to.at(header.bitmaps.get().offset(), header.bitmaps.get().bytes());
        }
        for (Entry entry : entries) {
            to.at(entry.table, Math.max(8, 8L * entry.tableEntries));
            ByteBuffer table = file.read(entry.table, 8 * entry.tableEntries);
            for (int i = 0; i < entry.tableEntries; i++) {
                long place = table.getLong(8 * i) & PLACE;
                if (place != 0) {
                    to.at(place, header.clusterSize);
                }
            }
        }
    }

    /** Receives where something lies in the file. */
    @FunctionalInterface
    interface Placed {
        void at(long offset, long bytes) throws BlockIoException;
    }

    /** What the directory in the file says. */
    List<Qcow2BitmapInfo> described() {
        return entries.stream()
                .map(
                        entry -> {
                            List<Qcow2BitmapInfoFlags> flags = new ArrayList<>();
                            if (access.isPresent() || entry.wasInUse) {
                                flags.add(Qcow2BitmapInfoFlags.IN_USE);
                            }
                            if ((entry.flags & AUTO) != 0) {
                                flags.add(Qcow2BitmapInfoFlags.AUTO);
                            }
                            return new Qcow2BitmapInfo(
                                    entry.name, 1L << entry.granularityBits, flags);
                        })
                .toList();
    }

    // --- Loading -----------------------------------------------------------------------------

    @Override
    public List<Stored> stored() {
        return entries.stream()
                .filter(Entry::usable)
                .map(
                        entry ->
                                new Stored(
                                        entry.name,
                                        1L << entry.granularityBits,
                                        (entry.flags & AUTO) != 0,
                                        entry.wasInUse))
                .toList();
    }

    @Override
    public void load(String name, Dirty dirty) throws BlockIoException {
        Entry entry = entries.stream().filter(e -> e.name.equals(name)).findFirst().orElseThrow();
        int clusterBits = header.clusterBits;
        long covered = 8L << clusterBits + entry.granularityBits;
        ByteBuffer table = file.read(entry.table, 8 * entry.tableEntries);
        for (int i = 0; i < entry.tableEntries; i++) {
            long word = table.getLong(8 * i);
            long place = word & PLACE;
            if ((word & ~(PLACE | ALL_DIRTY)) != 0
                    || place != 0
                            && ((word & ALL_DIRTY) != 0 || (place & header.clusterSize - 1) != 0)) {
                throw new BlockIoException(Errno.EINVAL, "its table is broken");
            }
            if (place == 0 && (word & ALL_DIRTY) != 0) {
                dirty.run(i * covered, covered);
            } else if (place != 0) {
                load(
                        file.read(place, header.clusterSize),
                        i * covered,
                        entry.granularityBits,
                        dirty);
            }
        }
    }

    private static void load(ByteBuffer bits, long offset, int granularityBits, Dirty dirty) {
        long from = -1;
        for (long bit = 0; bit <= 8L * bits.capacity(); bit++) {
            boolean set =
                    bit < 8L * bits.capacity()
                            && (bits.get((int) (bit >>> 3)) >>> (bit & 7) & 1) != 0;
            if (set && from < 0) {
                from = bit;
            } else if (!set && from >= 0) {
                dirty.run(offset + (from << granularityBits), bit - from << granularityBits);
                from = -1;
            }
        }
    }

    // --- Storing -----------------------------------------------------------------------------

    @Override
    public void check(String name, long granularity) {
        if (header.version < 3) {
            throw QmpException.generic("Cannot store dirty bitmaps in qcow2 v2 files");
        }
        if (name.getBytes(StandardCharsets.UTF_8).length > LONGEST_NAME) {
            throw QmpException.generic("Name length exceeds maximum (%d characters)", LONGEST_NAME);
        }
        int bits = Long.numberOfTrailingZeros(granularity);
        if (bits < FINEST || bits > COARSEST) {
            throw QmpException.generic(
                    "Granularity is not between %d and %d bytes", 1L << FINEST, 1L << COARSEST);
        }
        if (bits(header.size, bits) / 8 > MOST_BYTES) {
            throw QmpException.generic("Too much space will be occupied by the bitmap");
        }
    }

    /** What storing needs of an open image. Empty for one that cannot be written. */
    record Access(Refcounts refcounts, Commit commit, Overlaps overlaps, ReentrantLock lock) {}

    private Optional<Access> access = Optional.empty();

    void writable(Access to) {
        access = Optional.of(to);
    }

    @Override
    public void store(List<Kept> kept, List<String> inconsistent) throws BlockIoException {
        List<Entry> staying =
                entries.stream().filter(e -> !e.usable() || inconsistent.contains(e.name)).toList();
        boolean changes = !kept.isEmpty() || staying.size() != entries.size();
        if (access.isEmpty() || !changes) {
            return;
        }
        long bytes = (kept.size() + 2L) * header.clusterSize * 4;
        for (Kept each : kept) {
            bytes += bits(header.size, Long.numberOfTrailingZeros(each.bitmap().granularity())) / 4;
        }
        file.reserve(access.get().refcounts.endOffset() + bytes + 2L * Header.REFTABLE_BYTES);
        access.get().commit.exclusively(() -> store(access.get(), kept, staying));
    }

    private void store(Access to, List<Kept> kept, List<Entry> staying) throws BlockIoException {
        ByteArrayOutputStream directory = new ByteArrayOutputStream();
        for (Entry entry : staying) {
            directory.writeBytes(entry.encode(entry.flags | IN_USE));
        }
        for (Kept each : kept) {
            directory.writeBytes(write(to, each).encode(each.enabled() ? AUTO : 0));
        }
        byte[] bytes = directory.toByteArray();
        Optional<Header.BitmapsPlace> old = header.bitmaps;
        Optional<Header.BitmapsPlace> place = Optional.empty();
        if (bytes.length > 0) {
            long at = allocate(to, bytes.length);
            file.write(at, bytes, 0, bytes.length);
            place =
                    Optional.of(
                            new Header.BitmapsPlace(
                                    staying.size() + kept.size(), at, bytes.length));
        }
        to.commit.writeNow(); // counts come before what refers to the clusters
        header.bitmaps = place;
        header.autoclear =
                place.isPresent()
                        ? header.autoclear | Header.BITMAPS
                        : header.autoclear & ~Header.BITMAPS;
        byte[] encoded = header.encode();
        file.write(0, encoded, 0, encoded.length);
        file.node.flush();
        for (Entry entry : entries) {
            if (!staying.contains(entry)) {
                giveUp(to, entry);
            }
        }
        if (old.isPresent()) {
            giveUp(to, old.get().offset(), old.get().bytes());
        }
    }

    private long allocate(Access to, long bytes) throws BlockIoException {
        to.lock.lock();
        try {
            int clusters = (int) (bytes + header.clusterSize - 1 >>> header.clusterBits);
            long first = to.refcounts.allocateExactly(clusters);
            for (int i = 0; i < clusters; i++) {
                long at = first + i << header.clusterBits;
                to.overlaps.check(first + i, 0, at, header.clusterSize);
            }
            return first << header.clusterBits;
        } finally {
            to.lock.unlock();
        }
    }

    private Entry write(Access to, Kept kept) throws BlockIoException {
        DirtyBitmap bitmap = kept.bitmap();
        int granularityBits = Long.numberOfTrailingZeros(bitmap.granularity());
        int count = (int) tableEntries(header.size, granularityBits);
        long covered = 8L << header.clusterBits + granularityBits;
        ByteBuffer table = ImageFile.buffer(Math.max(8, 8 * count));
        for (int i = 0; i < count; i++) {
            long from = i * covered;
            long end = Math.min(header.size, from + covered);
            long run = bitmap.runEnd(from, end);
            if (run >= end) {
                table.putLong(bitmap.isDirty(from) ? ALL_DIRTY : 0);
                continue;
            }
            ByteBuffer bits = ImageFile.buffer(header.clusterSize);
            for (long at = from; at < end; at = run) {
                run = bitmap.runEnd(at, end);
                if (bitmap.isDirty(at)) {
                    long last = run - 1 - from >>> granularityBits;
                    for (long bit = at - from >>> granularityBits; bit <= last; bit++) {
                        int index = (int) (bit >>> 3);
                        bits.put(index, (byte) (bits.get(index) | 1 << (bit & 7)));
                    }
                }
            }
            long place = allocate(to, header.clusterSize);
            file.write(place, bits);
            table.putLong(place);
        }
        long place = allocate(to, Math.max(8, 8L * count));
        file.write(place, table);
        return new Entry(bitmap.name(), place, count, 0, granularityBits, new byte[0], false);
    }

    private void giveUp(Access to, Entry entry) throws BlockIoException {
        ByteBuffer table = file.read(entry.table, 8 * entry.tableEntries);
        for (int i = 0; i < entry.tableEntries; i++) {
            long place = table.getLong(8 * i) & PLACE;
            if (place != 0) {
                giveUp(to, place, header.clusterSize);
            }
        }
        giveUp(to, entry.table, Math.max(8, 8L * entry.tableEntries));
    }

    private void giveUp(Access to, long offset, long bytes) {
        to.lock.lock();
        try {
            long end = offset + bytes + header.clusterSize - 1 >>> header.clusterBits;
            for (long cluster = offset >>> header.clusterBits; cluster < end; cluster++) {
                to.commit.giveUp(cluster);
            }
        } finally {
            to.lock.unlock();
        }
    }
}

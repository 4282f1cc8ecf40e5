package io.blockwharf.qcow2;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.ImageDescription;
import io.blockwharf.api.block.ImageDescription.Qcow2CompressionType;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.ReentrantLock;

/**
 * An open image. May be used by any thread; a request whose L2 entries are in memory allocates
 * nothing.
 */
final class Qcow2Image implements BlockImage {
    /** Zeroes to write where they cannot be made otherwise. */
    private static final MemorySegment ZEROES = Arena.global().allocate(256 << 10, 4096);

    /** What the image tells the driver. */
    interface Listener {
        /** The image contradicts itself. */
        void corrupted(String node, String message, boolean fatal);

        /** The end of the image could not be written. */
        void closedBadly(String node, BlockIoException why);
    }

    private final String nodeName;
    private final Header header;
    private final ImageFile file;
    private final BlockNode data;
    private final Optional<BlockNode> backing;
    private final boolean readOnly;
    private final Listener listener;
    private final BlockLimits limits;
    private final List<Snapshot> snapshots;
    private final StoredBitmaps bitmaps;
    private final Overlaps overlaps;
    private final Mapping mapping;
    private final Reader reader;

    /** The metadata lock. */
    private final ReentrantLock lock = new ReentrantLock();

    /** The length of the file when it was opened. */
    private final long lengthBefore;

    // Of an image that may be written; null otherwise
    private final Refcounts refcounts;
    private final Commit commit;
    private final PartialClusters partials;
    private final Writer writer;
    private final CompressedWriter compressed;
    private final Clearing clearing;
    private final InFlight inFlight;

    private volatile long size;

    /** Nothing can be believed any more. */
    private volatile boolean corrupt;

    /**
     * Opens an image.
     *
     * @throws QmpException if it cannot be used
     */
    Qcow2Image(NodeSpec<Qcow2Options> spec, Listener listener) {
        this.listener = listener;
        nodeName = spec.nodeName();
        file = new ImageFile(spec.child("file"));
        readOnly = !spec.flags().mayWrite();
        backing = Optional.ofNullable(spec.children().get("backing"));
        Qcow2Options options = spec.options();
        header = header(file);
        data = dataFile(spec);
        lengthBefore = file.length();
        limits = new BlockLimits(1, 1, 0, BlockLimits.NONE.maxTransfer(), header.clusterSize);
        CacheSizes sizes = CacheSizes.of(options, header);
        overlaps = new Overlaps(options.checkedKinds(), this::corrupted);
        if (!readOnly && (header.incompatible & Header.CORRUPT) != 0) {
            throw QmpException.generic("qcow2: Image is corrupt; cannot be opened read/write");
        }
        snapshots = Snapshot.of(header, file);
        Optional<Snapshot> shown = options.snapshot().map(this::snapshot);
        if (shown.isPresent() && !readOnly) {
            throw QmpException.generic("A snapshot can only be opened read-only");
        }
        size = shown.map(Snapshot::size).orElse(header.size);
        try {
            mapping =
                    new Mapping(
                            header,
                            file,
                            overlaps,
                            lock,
                            shown.map(Snapshot::l1Offset).orElse(header.l1Offset),
                            shown.map(Snapshot::l1Entries).orElse(header.l1Entries),
                            sizes.slices(),
                            sizes.sliceBytes());
            bitmaps = new StoredBitmaps(header, file);
            Scratch.Pool scratches = new Scratch.Pool();
            reader = new Reader(header, mapping, file, data, backing, scratches);
            if (readOnly) {
                refcounts = null;
                commit = null;
                partials = null;
                writer = null;
                compressed = null;
                clearing = null;
                inFlight = null;
                return;
            }
            refcounts = new Refcounts(header, file, overlaps, sizes.refcountBytes());
            boolean discards = options.passDiscardRequest().orElse(spec.flags().discard());
            commit = new Commit(header, file, data, refcounts, mapping, overlaps, lock, discards);
            inFlight = commit.inFlight();
            Changes changes =
                    new Changes(
                            header, file, data, backing, refcounts, mapping, reader, commit,
                            overlaps, lock, scratches);
            partials = new PartialClusters(changes, nodeName);
            writer = new Writer(changes, partials);
            compressed = new CompressedWriter(changes, partials);
            boolean keeps = options.discardNoUnref().orElse(false);
            clearing = new Clearing(changes, partials, keeps, discards);
            protectMetadata();
            becomeWriter();
        } catch (BlockIoException e) {
            throw new QmpException("Could not open qcow2 image: " + e.getMessage(), e);
        }
    }

    /**
     * Reads the header.
     *
     * @throws QmpException if there is none
     */
    static Header header(ImageFile file) {
        try {
            int head = (int) Math.min(file.length(), Header.V2_LENGTH);
            int bits = Header.clusterBits(file.read(0, Math.max(1, head)).limit(head));
            int first = (int) Math.min(file.length(), 1L << bits);
            return new Header(file.read(0, first));
        } catch (BlockIoException e) {
            throw new QmpException("Could not read qcow2 header: " + e.getMessage(), e);
        }
    }

    private BlockNode dataFile(NodeSpec<Qcow2Options> spec) {
        Optional<BlockNode> given = Optional.ofNullable(spec.children().get("data-file"));
        if (header.hasDataFile()) {
            return given.orElseThrow(
                    () -> QmpException.generic("'data-file' is required for this image"));
        }
        if (given.isPresent()) {
            throw QmpException.generic(
                    "'data-file' can only be set for images with an external data file");
        }
        return file.node;
    }

    private Snapshot snapshot(String idOrName) {
        return snapshots.stream()
                .filter(each -> each.id().equals(idOrName))
                .findFirst()
                .or(() -> snapshots.stream().filter(s -> s.name().equals(idOrName)).findFirst())
                .orElseThrow(() -> QmpException.generic("Can't find snapshot '%s'", idOrName));
    }

    /** Remembers where metadata lies. */
    private void protectMetadata() {
        int bits = header.clusterBits;
        overlaps.add(0, Overlaps.HEADER);
        protect(header.l1Offset, 8L * header.l1Entries, Overlaps.L1);
        protect(
                header.reftableOffset,
                (long) header.reftableClusters << bits,
                Overlaps.REFCOUNT_TABLE);
        for (long block : refcounts.table()) {
            if (block != 0) {
                overlaps.add(block >>> bits, Overlaps.REFCOUNT_BLOCK);
            }
        }
        for (long entry : mapping.l1()) {
            if ((entry & Mapping.OFFSET) != 0) {
                overlaps.add((entry & Mapping.OFFSET) >>> bits, Overlaps.L2);
            }
        }
        if (!snapshots.isEmpty()) {
            overlaps.add(header.snapshotsOffset >>> bits, Overlaps.SNAPSHOT_TABLE);
        }
        for (Snapshot snapshot : snapshots) {
            protect(snapshot.l1Offset(), 8L * snapshot.l1Entries(), Overlaps.INACTIVE_L1);
        }
        header.bitmaps.ifPresent(
                place -> protect(place.offset(), place.bytes(), Overlaps.BITMAP_DIRECTORY));
    }

    private void protect(long offset, long bytes, int kind) {
        long end = offset + bytes + header.clusterSize - 1 >>> header.clusterBits;
        for (long cluster = offset >>> header.clusterBits; cluster < end; cluster++) {
            overlaps.add(cluster, kind);
        }
    }

    /** What is to be done before the first write. */
    private void becomeWriter() throws BlockIoException {
        long known = header.autoclear & (Header.BITMAPS | Header.DATA_FILE_RAW);
        if (header.version >= 3 && known != header.autoclear) {
            header.autoclear = known; // "clears the respective bits from this field first"
            writeHeader();
        }
        if ((header.incompatible & Header.DIRTY) != 0) {
            file.reserve(refcounts.endOffset() + 4L * Header.REFTABLE_BYTES);
            lock.lock();
            try {
                new Repair(header, file, mapping, snapshots, bitmaps, refcounts).run();
            } finally {
                lock.unlock();
            }
            commit.flush();
            header.incompatible &= ~Header.DIRTY;
            file.write(72, ImageFile.buffer(8).putLong(header.incompatible));
            file.node.flush();
        }
        bitmaps.writable(new StoredBitmaps.Access(refcounts, commit, overlaps, lock));
        bitmaps.markInUse();
    }

    private void writeHeader() throws BlockIoException {
        byte[] bytes = header.encode();
        file.write(0, bytes, 0, bytes.length);
    }

    private void corrupted(String message, boolean fatal) {
        boolean ends = fatal && !readOnly;
        if (ends && corrupt) {
            return; // has been told
        }
        if (ends) {
            corrupt = true;
            header.incompatible |= Header.CORRUPT;
            if (header.version >= 3) {
                try {
                    file.write(72, ImageFile.buffer(8).putLong(header.incompatible));
                    file.node.flush();
                } catch (BlockIoException e) {
                    // the requests fail all the same
                }
            }
        }
        listener.corrupted(nodeName, message, ends);
    }

    private void checkUsable() throws BlockIoException {
        if (corrupt) {
            throw new BlockIoException(Errno.EIO, "the image is corrupt");
        }
    }

    // --- Description -------------------------------------------------------------------------

    @Override
    public long length() {
        return size;
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    @Override
    public String filename() {
        return file.node.filename();
    }

    @Override
    public Optional<Long> allocatedSize() {
        return file.node.allocatedSize();
    }

    @Override
    public Optional<Boolean> dirty() {
        return Optional.of((header.incompatible & Header.DIRTY) != 0);
    }

    @Override
    public Optional<Long> clusterSize() {
        return Optional.of((long) header.clusterSize);
    }

    @Override
    public Optional<ImageDescription> description() {
        return Optional.of(
                new ImageDescription(
                        snapshots.stream().map(Snapshot::info).toList(),
                        header.backingName.map(name -> new ImageName(name, header.backingFormat)),
                        Optional.of(specific())));
    }

    private ImageDescription.Qcow2 specific() {
        boolean newer = header.version >= 3;
        return new ImageDescription.Qcow2(
                newer ? "1.1" : "0.10",
                header.hasDataFile() ? header.dataFileName : Optional.empty(),
                Optional.of(header.dataFileRaw()).filter(_ -> header.hasDataFile()),
                Optional.of(header.extendedL2).filter(_ -> newer),
                Optional.of((header.compatible & Header.LAZY_REFCOUNTS) != 0).filter(_ -> newer),
                Optional.of((header.incompatible & Header.CORRUPT) != 0).filter(_ -> newer),
                header.refcountBits,
                Optional.of(bitmaps.described()).filter(all -> !all.isEmpty()),
                header.zstd ? Qcow2CompressionType.ZSTD : Qcow2CompressionType.ZLIB);
    }

    @Override
    public Map<String, Object> details() {
        Map<String, Object> details = new LinkedHashMap<>();
        details.put("version", header.version);
        details.put("cluster-size", header.clusterSize);
        details.put("compression", header.zstd ? "zstd" : "zlib");
        details.put("refcount-bits", header.refcountBits);
        details.put("extended-l2", header.extendedL2);
        details.put("corrupt", (header.incompatible & Header.CORRUPT) != 0);
        header.backingName.ifPresent(name -> details.put("backing-filename", name));
        details.put("snapshots", snapshots.stream().map(s -> s.id() + " " + s.name()).toList());
        return details;
    }

    /** The whole mapping is in memory, and what is to be counted. */
    @Override
    public boolean closedForOthers() {
        return true;
    }

    @Override
    public Optional<BitmapStore> bitmapStore() {
        return Optional.of(bitmaps);
    }

    @Override
    public void changeBackingName(Optional<ImageName> name) throws BlockIoException {
        checkUsable();
        if (name.isPresent() && header.dataFileRaw()) {
            throw new BlockIoException(
                    Errno.EINVAL, "Cannot set a backing file on images with raw external data");
        }
        int bytes =
                name.map(ImageName::filename)
                        .map(text -> text.getBytes(StandardCharsets.UTF_8).length)
                        .orElse(0);
        if (bytes > Header.LONGEST_BACKING_NAME) {
            throw new BlockIoException(Errno.ENOSPC, "Backing file name too long");
        }
        commit.exclusively(
                () -> {
                    var nameBefore = header.backingName;
                    var formatBefore = header.backingFormat;
                    header.backingName = name.map(ImageName::filename);
                    header.backingFormat = name.flatMap(ImageName::format);
                    try {
                        writeHeader();
                        file.node.flush();
                    } catch (BlockIoException | QmpException e) {
                        header.backingName = nameBefore;
                        header.backingFormat = formatBefore;
                        throw e instanceof BlockIoException io
                                ? io
                                : new BlockIoException(Errno.ENOSPC, e.getMessage(), e);
                    }
                });
    }

    // --- Requests ----------------------------------------------------------------------------

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        read(offset, into, true);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return read(offset, into, false);
    }

    private boolean read(long offset, IoVector into, boolean wait) throws BlockIoException {
        checkUsable();
        if (readOnly) {
            return reader.read(offset, into, wait);
        }
        int entered = inFlight.enter();
        try {
            return reader.read(offset, into, wait);
        } finally {
            inFlight.exit(entered);
        }
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        checkUsable();
        if ((flags & RequestFlags.COMPRESSED) != 0) {
            writeCompressed(offset, from);
        } else {
            write(offset, from, true);
        }
        if ((flags & RequestFlags.FUA) != 0) {
            partials.flush();
        }
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        checkUsable();
        return flags == 0 && write(offset, from, false);
    }

    private boolean write(long offset, IoVector from, boolean wait) throws BlockIoException {
        int entered = inFlight.enter();
        try {
            return writer.write(offset, from, wait);
        } finally {
            inFlight.exit(entered);
        }
    }

    private void writeCompressed(long offset, IoVector from) throws BlockIoException {
        int cluster = header.clusterSize;
        long bytes = from.byteCount();
        boolean whole = (bytes & cluster - 1) == 0 || offset + bytes == size;
        if ((offset & cluster - 1) != 0 || !whole) {
            throw new BlockIoException(Errno.EINVAL, "compressed writes are of whole clusters");
        }
        if (header.hasDataFile()) {
            throw new BlockIoException(
                    Errno.ENOTSUP, "an external data file has no compressed clusters");
        }
        IoVector part = new IoVector(Arena.ofAuto(), Math.max(1, from.count()));
        for (long done = 0; done < bytes; done += cluster) {
            long n = Math.min(cluster, bytes - done);
            byte[] plain = new byte[cluster];
            part.slice(from, done, n).copyTo(MemorySegment.ofArray(plain), 0);
            if (!compressed.write(offset + done, plain)) {
                write(offset + done, part, true);
            }
        }
    }

    @Override
    public void flush() throws BlockIoException {
        if (readOnly) {
            return;
        }
        checkUsable();
        partials.flush();
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        checkUsable();
        if (header.version < 3 && backing.isPresent()) {
            return; // there is no way to hide what lies below
        }
        long cluster = header.clusterSize;
        long from = offset + cluster - 1 & -cluster;
        long end = offset + length;
        long to = end == size ? end : end & -cluster;
        if (from < to) {
            clearing.clear(from, to, size, Clearing.How.DISCARD);
        }
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        checkUsable();
        boolean fast = (flags & RequestFlags.NO_FALLBACK) != 0;
        boolean unmap = (flags & RequestFlags.MAY_UNMAP) != 0;
        long end = offset + length;
        Cursor cursor = new Cursor();
        long from = aligned(offset, true, cursor);
        long to = end == size ? end : aligned(end, false, cursor);
        if (header.version < 3 && backing.isPresent() || from >= to) {
            zeroBytes(offset, end, fast);
        } else {
            zeroBytes(offset, from, fast);
            clear(from, to, unmap ? Clearing.How.UNMAP : Clearing.How.ZERO, cursor);
            zeroBytes(to, end, fast);
        }
        if ((flags & RequestFlags.FUA) != 0) {
            partials.flush();
        }
    }

    /** The next offset, up or down, from which zeroes need no bytes to be written. */
    private long aligned(long offset, boolean up, Cursor cursor) throws BlockIoException {
        long cluster = header.clusterSize;
        if ((offset & cluster - 1) == 0) {
            return offset;
        }
        long unit = clearing.hasUnits(offset, cursor) ? 1L << header.unitBits : cluster;
        return (up ? offset + unit - 1 : offset) & -unit;
    }

    /** Clears whole clusters as such and the subclusters before and behind them. */
    private void clear(long from, long to, Clearing.How how, Cursor cursor)
            throws BlockIoException {
        long cluster = header.clusterSize;
        long first = Math.min(to, from + cluster - 1 & -cluster);
        long last = to == size ? to : Math.max(first, to & -cluster);
        clearing.clear(from, first, size, how);
        clearing.clear(first, last, size, how);
        clearing.clear(last, to, size, how);
    }

    /** Writes zeroes where it is not zero already. */
    private void zeroBytes(long offset, long end, boolean fast) throws BlockIoException {
        IoVector zeroes = new IoVector(Arena.ofAuto(), 1);
        long at = offset;
        while (at < end) {
            Extent extent = extentAt(at, end - at);
            long next = Math.min(end, Math.min(extent.end(), at + ZEROES.byteSize()));
            if (extent.zero()) {
                next = Math.min(end, extent.end());
            } else if (fast) {
                throw new BlockIoException(
                        Errno.ENOTSUP, "the image has no faster way than to write zeroes");
            } else {
                write(at, zeroes.set(ZEROES, 0, next - at), true);
            }
            at = next;
        }
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        checkUsable();
        return reader.extentAt(offset, length, size);
    }

    @Override
    public void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        checkUsable();
        reader.extents(offset, length, size, to);
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long length) {
        return corrupt ? Optional.empty() : reader.hostExtent(offset, length);
    }

    // --- Size --------------------------------------------------------------------------------

    @Override
    public void resize(long bytes) throws BlockIoException {
        checkUsable();
        if ((bytes & 511) != 0) {
            throw new BlockIoException(Errno.EINVAL, "The new size must be a multiple of 512");
        }
        if (!snapshots.isEmpty() && header.version < 3) {
            throw new BlockIoException(
                    Errno.ENOTSUP, "Can't resize a v2 image which has snapshots");
        }
        partials.complete();
        long before = size;
        if (bytes < before) {
            size = bytes;
            shrink(bytes, before);
        } else if (bytes > before) {
            grow(before, bytes);
        }
    }

    private void shrink(long bytes, long before) throws BlockIoException {
        long cluster = header.clusterSize;
        long from = bytes + cluster - 1 & -cluster;
        if (from < before) {
            clearing.clear(from, before, before, Clearing.How.CUT);
        }
        commit.exclusively(() -> writeSize(bytes));
    }

    private void grow(long before, long bytes) throws BlockIoException {
        long needed = header.neededL1Entries(bytes);
        if (8 * needed > Header.L1_BYTES) {
            throw new BlockIoException(Errno.EFBIG, "Image size is too large for its clusters");
        }
        long room = 2L * Header.L1_BYTES;
        if (needed > header.l1Entries) {
            file.reserve(refcounts.endOffset() + room);
            commit.exclusively(() -> growL1((int) needed));
        }
        long zeroEnd = Math.min(bytes, Math.max(storedEnd(before), backingEnd()));
        if (before < zeroEnd) {
            long end = Math.min(bytes, zeroEnd + header.clusterSize - 1 & -header.clusterSize);
            zeroBehind(before, end, bytes);
        }
        commit.exclusively(() -> writeSize(bytes));
        size = bytes;
    }

    /** Where the cluster ends that a disk of that size ends in, if something is stored there. */
    private long storedEnd(long bytes) throws BlockIoException {
        long cluster = header.clusterSize;
        if ((bytes & cluster - 1) == 0) {
            return 0;
        }
        Cursor cursor = new Cursor();
        mapping.find(bytes, 1, cursor, true);
        // Shrinking leaves what is behind the end, and growing again must not show it
        return reader.isZero(cursor.kind, bytes) ? 0 : bytes + cluster - 1 & -cluster;
    }

    private long backingEnd() {
        return backing.map(BlockNode::length).orElse(0L);
    }

    /**
     * Makes the range that is about to be shown zero: whole clusters, and the rest of the first.
     */
    private void zeroBehind(long before, long end, long bytes) throws BlockIoException {
        long cluster = header.clusterSize;
        long first = Math.min(end, before + cluster - 1 & -cluster);
        IoVector zeroes = new IoVector(Arena.ofAuto(), 1);
        long whole = header.version < 3 && backing.isPresent() ? end : first;
        for (long at = before; at < whole; ) {
            long n = Math.min(whole - at, ZEROES.byteSize());
            write(at, zeroes.set(ZEROES, 0, n), true);
            at += n;
        }
        if (whole < end) {
            clearing.clear(whole, end, bytes, Clearing.How.UNMAP);
        }
    }

    private void growL1(int needed) throws BlockIoException {
        int bits = header.clusterBits;
        long oldOffset = header.l1Offset;
        long oldBytes = 8L * header.l1Entries;
        lock.lock();
        try {
            int entries = (int) Math.clamp(header.l1Entries * 3L / 2, needed, Header.L1_BYTES / 8);
            int clusters = (int) (8L * entries + header.clusterSize - 1 >>> bits);
            long place = refcounts.allocateExactly(clusters) << bits;
            mapping.resize(entries);
            ByteBuffer table = ImageFile.buffer(clusters << bits);
            table.asLongBuffer().put(mapping.l1());
            file.write(place, table);
            header.l1Offset = place;
            header.l1Entries = entries;
            protect(place, 8L * entries, Overlaps.L1);
        } finally {
            lock.unlock();
        }
        commit.writeNow(); // the counts of the new table's clusters come before the header
        file.write(36, ImageFile.buffer(12).putInt(header.l1Entries).putLong(header.l1Offset));
        file.node.flush();
        lock.lock();
        try {
            long end = oldOffset + oldBytes + header.clusterSize - 1 >>> bits;
            for (long c = oldOffset >>> bits; oldBytes > 0 && c < end; c++) {
                commit.giveUp(c);
            }
        } finally {
            lock.unlock();
        }
    }

    private void writeSize(long bytes) throws BlockIoException {
        header.size = bytes;
        file.write(24, ImageFile.buffer(8).putLong(bytes));
        file.node.flush();
    }

    /**
     * Gives every cluster its place, for a new image.
     *
     * @param reserved whether the file system is to reserve it
     */
    void preallocate(boolean reserved) throws BlockIoException {
        writer.preallocate(size, reserved);
    }

    // --- End ---------------------------------------------------------------------------------

    /** Forgets metadata that was not used since the last call. */
    void dropUnused() {
        lock.lock();
        try {
            mapping.cache().dropUnused();
        } finally {
            lock.unlock();
        }
    }

    @Override
    public void close() {
        if (readOnly) {
            return;
        }
        partials.close();
        if (corrupt) {
            return;
        }
        try {
            partials.flush();
            partials.flush(); // with the counts of what the first one has let go
            partials.flush();
            if (file.length() > lengthBefore) {
                long used = refcounts.used() << header.clusterBits;
                if (used < file.length()) {
                    file.node.resize(Math.max(used, Math.min(lengthBefore, file.length())));
                }
            }
        } catch (BlockIoException e) {
            listener.closedBadly(nodeName, e);
        }
    }
}

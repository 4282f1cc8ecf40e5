package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.qcow2.Cursor.Kind;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicReferenceArray;

/**
 * Reads the disk as a {@link Mapping} shows it: the active one, or that of a snapshot. May be used
 * by any thread.
 */
final class Reader {
    /** Clusters that were expanded last, so that small reads in order expand each once. */
    private record Expanded(long entry, byte[] bytes) {}

    private static final int MOST_EXPANDED = 8;
    private static final int MOST_EXPANDED_BYTES = 1 << 20;

    private final Header header;
    private final Mapping mapping;
    private final ImageFile file;
    private final BlockNode data;
    private final Optional<BlockNode> backing;
    private final Scratch.Pool scratches;
    private final AtomicReferenceArray<Expanded> expanded;

    /** The run without an L2 table that was described last. */
    private volatile Slice.Described<Extent> bare = new Slice.Described<>(-1, Extent.hole(0, 1));

    Reader(
            Header header,
            Mapping mapping,
            ImageFile file,
            BlockNode data,
            Optional<BlockNode> backing,
            Scratch.Pool scratches) {
        this.header = header;
        this.mapping = mapping;
        this.file = file;
        this.data = data;
        this.backing = backing;
        this.scratches = scratches;
        expanded =
                new AtomicReferenceArray<>(
                        Math.clamp(MOST_EXPANDED_BYTES / header.clusterSize, 1, MOST_EXPANDED));
    }

    /**
     * Reads.
     *
     * @param wait whether it may block
     * @return false if it would have; the buffers' content is undefined then
     */
    boolean read(long offset, IoVector into, boolean wait) throws BlockIoException {
        long bytes = into.byteCount();
        long place = mapping.plain(offset, bytes, 0);
        if (place >= 0 && place <= data.length() - bytes) {
            if (wait) {
                data.read(place, into);
                return true;
            }
            return data.tryRead(place, into);
        }
        Scratch scratch = scratches.take();
        try {
            return read(offset, into, wait, scratch);
        } finally {
            scratches.give(scratch);
        }
    }

    private boolean read(long offset, IoVector into, boolean wait, Scratch scratch)
            throws BlockIoException {
        Cursor cursor = scratch.cursor;
        long bytes = into.byteCount();
        for (long done = 0; done < bytes; done += cursor.length) {
            if (!mapping.find(offset + done, bytes - done, cursor, wait)) {
                return false;
            }
            boolean whole = cursor.length == bytes;
            IoVector part = whole ? into : scratch.part.slice(into, done, cursor.length);
            boolean there =
                    switch (cursor.kind) {
                        case UNALLOCATED -> readBelow(offset + done, part, wait, scratch);
                        case ZERO -> {
                            part.fillZero();
                            yield true;
                        }
                        case DATA -> readUpTo(data, cursor.host, part, wait, scratch);
                        case COMPRESSED -> readCompressed(cursor.entry, offset + done, part, wait);
                    };
            if (!there) {
                return false;
            }
        }
        return true;
    }

    /** Reads what the backing file shows, or zeroes. */
    boolean readBelow(long offset, IoVector into, boolean wait, Scratch scratch)
            throws BlockIoException {
        if (backing.isEmpty()) {
            into.fillZero();
            return true;
        }
        return readUpTo(backing.get(), offset, into, wait, scratch);
    }

    /** Reads from a node; behind its end there are zeroes. */
    private static boolean readUpTo(
            BlockNode node, long offset, IoVector into, boolean wait, Scratch scratch)
            throws BlockIoException {
        long there = Math.clamp(node.length() - offset, 0, into.byteCount());
        IoVector stored = into;
        if (there < into.byteCount()) {
            into.fillZero();
            if (there == 0) {
                return true;
            }
            stored = scratch.piece.slice(into, 0, there);
        }
        if (wait) {
            node.read(offset, stored);
            return true;
        }
        return node.tryRead(offset, stored);
    }

    // --- Compressed clusters -----------------------------------------------------------------

    /** Where compressed bytes lie, spec "Compressed Clusters Descriptor". */
    static long compressedOffset(Header header, long entry) {
        int x = 62 - (header.clusterBits - 8);
        return entry & (1L << x) - 1 & (1L << 56) - 1;
    }

    /** How many bytes may belong to it, up to the end of the last sector. */
    static int compressedBytes(Header header, long entry) {
        int x = 62 - (header.clusterBits - 8);
        long sectors = (entry & (1L << 62) - 1) >>> x;
        return (int) ((sectors + 1) * 512 - (compressedOffset(header, entry) & 511));
    }

    private boolean readCompressed(long entry, long offset, IoVector into, boolean wait)
            throws BlockIoException {
        int slot = (int) ((compressedOffset(header, entry) >>> 9) % expanded.length());
        Expanded known = expanded.get(slot);
        if (known == null || known.entry != entry) {
            if (!wait) {
                return false; // it would keep the thread busy for long
            }
            known = new Expanded(entry, expand(entry, offset));
            expanded.set(slot, known);
        }
        into.copyFrom(MemorySegment.ofArray(known.bytes), offset & header.clusterSize - 1);
        return true;
    }

    private byte[] expand(long entry, long offset) throws BlockIoException {
        byte[] bytes = new byte[compressedBytes(header, entry)];
        file.read(compressedOffset(header, entry), bytes.length).get(bytes);
        byte[] cluster = new byte[header.clusterSize];
        if (!Compression.expand(header.zstd, bytes, cluster)) {
            throw new BlockIoException(
                    Errno.EIO,
                    "the compressed cluster at %#x cannot be expanded".formatted(offset));
        }
        return cluster;
    }

    /** Bytes are about to be stored where others have been. */
    void forget(long entry) {
        int slot = (int) ((compressedOffset(header, entry) >>> 9) % expanded.length());
        expanded.set(slot, null);
    }

    // --- Descriptions ------------------------------------------------------------------------

    /** Whether a run that is not stored here reads as zeroes. */
    boolean isZero(Kind kind, long offset) {
        return kind == Kind.ZERO
                || kind == Kind.UNALLOCATED
                        && (backing.isEmpty() || offset >= backing.get().length());
    }

    Extent extentAt(long offset, long length, long size) throws BlockIoException {
        long losses = mapping.losses();
        long changes = mapping.changes();
        Slice slice = mapping.cached(offset);
        Slice.Described<Extent> known = slice == null ? bare : slice.extent;
        if (known != null
                && known.run().contains(offset)
                && known.generation() == (known.run().data() ? losses : changes)) {
            return known.run();
        }
        Scratch scratch = scratches.take();
        try {
            return describe(offset, size, losses, changes, scratch.cursor);
        } finally {
            scratches.give(scratch);
        }
    }

    private Extent describe(long offset, long size, long losses, long changes, Cursor cursor)
            throws BlockIoException {
        // Runs that touch are one for those who ask, wherever they lie
        mapping.find(offset, size - offset, cursor, true);
        Slice slice = cursor.slice;
        Kind kind = cursor.kind;
        boolean stored = isStored(cursor);
        long end = offset + cursor.length;
        while (end < size && slice != null) {
            mapping.find(end, size - end, cursor, true);
            boolean same = stored ? isStored(cursor) : cursor.kind == kind && !isStored(cursor);
            if (cursor.slice != slice || !same) {
                break;
            }
            end += cursor.length;
        }
        if (!stored
                && kind == Kind.UNALLOCATED
                && backing.isPresent()
                && offset < backing.get().length()) {
            return below(offset, Math.min(end, backing.get().length()));
        }
        Extent run =
                !stored && kind == Kind.UNALLOCATED
                        ? new Extent(offset, end - offset, false, true, behindBacking())
                        : new Extent(offset, end - offset, stored, !stored, 1);
        var described = new Slice.Described<>(stored ? losses : changes, run);
        if (slice == null) {
            bare = described;
        } else {
            slice.extent = described;
        }
        return run;
    }

    /** Tells of runs as far as one slice, and what has no L2 table around it, describes them. */
    void extents(long offset, long length, long size, ExtentSink to) throws BlockIoException {
        Scratch scratch = scratches.take();
        try {
            Cursor cursor = scratch.cursor;
            long end = Math.min(offset + length, size);
            Slice slice = null;
            boolean more = true;
            for (long at = offset; more && at < end; at += cursor.length) {
                mapping.find(at, size - at, cursor, true);
                if (slice != null && cursor.slice != slice) {
                    return;
                }
                slice = cursor.slice;
                more = tell(at, cursor, to);
            }
        } finally {
            scratches.give(scratch);
        }
    }

    /** Tells of the cursor's run. Shortens it to what was told. */
    private boolean tell(long at, Cursor cursor, ExtentSink to) throws BlockIoException {
        boolean stored = isStored(cursor);
        if (stored || cursor.kind == Kind.ZERO) {
            return to.run(cursor.length, stored, !stored, 1);
        }
        if (backing.isEmpty() || at >= backing.get().length()) {
            return to.run(cursor.length, false, true, behindBacking());
        }
        Extent there = below(at, Math.min(at + cursor.length, backing.get().length()));
        cursor.length = there.length();
        return there.tell(at, to);
    }

    /** Clusters that are stored in parts count as a whole: they are about to be. */
    private boolean isStored(Cursor cursor) {
        return cursor.kind == Kind.DATA
                || cursor.kind == Kind.COMPRESSED
                || mapping.isPartial(cursor.entry);
    }

    /** Which layer holds the zeroes behind the end of a backing file: that one, says QEMU. */
    private int behindBacking() {
        return backing.isPresent() ? 2 : 0;
    }

    private Extent below(long offset, long end) throws BlockIoException {
        Extent there = backing.get().extentAt(offset, end - offset);
        long to = Math.min(end, there.end());
        int depth = there.depth() == 0 ? 0 : there.depth() + 1;
        return new Extent(offset, to - offset, there.data(), there.zero(), depth);
    }

    /** Where the run of bytes around an offset lies in a file of the host. */
    Optional<HostExtent> hostExtent(long offset, long length) {
        long losses = mapping.losses();
        Slice slice = mapping.cached(offset);
        if (slice == null) {
            return Optional.empty();
        }
        Slice.Described<Optional<HostExtent>> known = slice.host;
        if (known != null
                && known.generation() == losses
                && known.run().isPresent()
                && known.run().get().covers(offset, length)) {
            return known.run();
        }
        Scratch scratch = scratches.take();
        try {
            Cursor cursor = scratch.cursor;
            if (!mapping.find(offset, Long.MAX_VALUE - offset, cursor, false)
                    || cursor.kind != Kind.DATA) {
                return Optional.empty();
            }
            long bytes = Math.min(cursor.length, data.length() - cursor.host);
            Optional<HostExtent> there = data.hostExtent(cursor.host, bytes);
            if (bytes <= 0 || there.isEmpty() || !there.get().covers(cursor.host, 1)) {
                return Optional.empty();
            }
            HostExtent host = there.get();
            long run = Math.min(bytes, host.offset() + host.length() - cursor.host);
            var here =
                    Optional.of(
                            new HostExtent(host.fd(), offset, host.positionOf(cursor.host), run));
            slice.host = new Slice.Described<>(losses, here);
            return here;
        } catch (BlockIoException e) {
            return Optional.empty(); // the read itself will tell
        } finally {
            scratches.give(scratch);
        }
    }
}

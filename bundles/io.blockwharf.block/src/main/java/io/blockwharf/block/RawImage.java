package io.blockwharf.block;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * A window on another node. Core keeps requests inside {@link #length}, so that adding the offset
 * does not overflow.
 */
final class RawImage implements BlockImage {
    /** A child's extent and what it is here: most often the same is asked for again. */
    private record Seen(Extent child, Extent here) {}

    /** The same for where the bytes lie. */
    private record Host(HostExtent there, Optional<HostExtent> here) {}

    private final BlockNode child;
    private final RawOptions options;
    private final long start;

    /** Bytes at most. */
    private final long size;

    private volatile Seen seen;
    private volatile Host host = new Host(new HostExtent(-1, 0, 0, 0), Optional.empty());

    /** The window that these options describe; it begins in the child. */
    RawImage(BlockNode child, RawOptions options) {
        this.child = child;
        this.options = options;
        start = options.offset().orElse(0L);
        size = options.size().orElse(Long.MAX_VALUE);
        seen = new Seen(Extent.data(0, 1), Extent.data(0, 1));
    }

    private boolean isWhole() {
        return start == 0 && options.size().isEmpty();
    }

    @Override
    public long length() {
        long there = Math.max(0, child.length() - start);
        return Math.min(size, there);
    }

    @Override
    public BlockLimits limits() {
        return child.limits();
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        child.read(start + offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        child.write(start + offset, from, flags);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return child.tryRead(start + offset, into);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return child.tryWrite(start + offset, from, flags);
    }

    @Override
    public void flush() throws BlockIoException {
        child.flush();
    }

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        child.discard(start + offset, bytes);
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        child.writeZeroes(start + offset, bytes, flags);
    }

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        Extent there = child.extentAt(start + offset, bytes);
        if (start == 0) {
            return there;
        }
        Seen last = seen;
        if (last.child != there) {
            last = new Seen(there, shifted(there));
            seen = last;
        }
        return last.here;
    }

    @Override
    public void extents(long offset, long bytes, ExtentSink to) throws BlockIoException {
        child.extents(start + offset, bytes, to);
    }

    private Extent shifted(Extent there) {
        long from = Math.max(0, there.offset() - start);
        long to = there.end() - start;
        return new Extent(from, to - from, there.data(), there.zero(), there.depth());
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long bytes) {
        Optional<HostExtent> there = child.hostExtent(start + offset, bytes);
        if (start == 0 || there.isEmpty()) {
            return there;
        }
        Host last = host;
        if (last.there != there.get()) {
            HostExtent below = there.get();
            // What lies before the window has negative offsets, which nobody asks for.
            HostExtent here =
                    new HostExtent(
                            below.fd(), below.offset() - start, below.position(), below.length());
            last = new Host(below, Optional.of(here));
            host = last;
        }
        return last.here;
    }

    @Override
    public Optional<DirectAccess> directAccess(boolean write) {
        return isWhole() ? child.directAccess(write) : Optional.empty();
    }

    @Override
    public Optional<BlockQueue> openQueue(int depth) {
        BlockQueue queue = child.openQueue(depth);
        return Optional.of(start == 0 ? queue : new ShiftedQueue(queue, start));
    }

    @Override
    public void resize(long bytes) throws BlockIoException {
        if (options.size().isPresent()) {
            throw new BlockIoException(Errno.ENOTSUP, "Cannot resize fixed-size raw disks");
        }
        if (bytes > Long.MAX_VALUE - start) {
            throw new BlockIoException(Errno.EINVAL, "Disk size too large for the chosen offset");
        }
        child.resize(start + bytes);
    }

    @Override
    public Optional<Boolean> dirty() {
        return child.dirty();
    }

    /** What was given is part of the name, even if it changes nothing: as in QEMU. */
    @Override
    public String filename() {
        if (options.offset().isEmpty()
                && options.size().isEmpty()
                && JsonFilename.isPlain(child.filename())) {
            return child.filename();
        }
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"raw\""));
        members.put("offset", options.offset().map(String::valueOf));
        members.put("size", options.size().map(String::valueOf));
        members.put("file", Optional.of(child.jsonOptions()));
        return JsonFilename.of(members);
    }

    @Override
    public Optional<Long> allocatedSize() {
        return child.allocatedSize();
    }

    @Override
    public Map<String, Object> details() {
        Map<String, Object> details = new LinkedHashMap<>();
        if (start != 0) {
            details.put("offset", start);
        }
        options.size().ifPresent(size -> details.put("size", size));
        return details;
    }

    @Override
    public void close() {
        // the child is core's
    }
}

package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Another node, which is given what is read of it and lies deeper in its backing chain. What is
 * there already is read as if this filter were not.
 *
 * <p>A range that is being copied waits for writes to it that are under way, and holds up those
 * that come: a copy never undoes a write. Nobody else writes to the child ({@link
 * io.blockwharf.api.block.ChildRole#FILLED}).
 */
final class CopyOnReadImage extends FilterImage {
    /** What is copied at once, at most. */
    private static final long PIECE = 1 << 20;

    private record Range(long from, long to, boolean copying) {
        /** Writes do not wait for each other; the child knows what to do. */
        boolean excludes(Range other) {
            return (copying || other.copying) && from < other.to && other.from < to;
        }
    }

    private final Optional<String> bottom;
    private final int deepest;

    /** Whether anything may be copied. Changed while there are no requests. */
    private volatile boolean copies;

    /** What is copied and written now. Its monitor guards it. */
    private final List<Range> busy = new ArrayList<>();

    /**
     * A filter.
     *
     * @param deepest the deepest layer that is copied from
     * @param active whether the node is
     */
    CopyOnReadImage(BlockNode child, Optional<String> bottom, int deepest, boolean active) {
        super(child);
        this.bottom = bottom;
        this.deepest = deepest;
        copies = active;
    }

    @Override
    public void active(boolean active) {
        copies = active;
    }

    // --- Reading -----------------------------------------------------------------------------

    /** Whether a run is to be copied: the child itself does not hold it. */
    private boolean missing(Extent extent) {
        return copies
                && extent.depth() != 1
                && (bottom.isEmpty() || extent.depth() > 1 && extent.depth() <= deepest);
    }

    /** Whether the child holds all of a range that it is to hold. */
    private boolean complete(long offset, long end) throws BlockIoException {
        long at = offset;
        while (at < end) {
            Extent extent = child.extentAt(at, end - at);
            if (missing(extent)) {
                return false;
            }
            at = extent.end();
        }
        return true;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        long end = offset + into.byteCount();
        if (complete(offset, Math.min(end, length()))) {
            child.read(offset, into);
            return;
        }
        try (Arena arena = Arena.ofConfined()) {
            int alignment = Math.max(child.limits().memoryAlignment(), 16);
            long piece = Math.min(PIECE, child.limits().maxTransfer());
            MemorySegment memory = arena.allocate(Math.min(piece, end - offset), alignment);
            IoVector vector = new IoVector(arena, 1);
            IoVector target = new IoVector(arena, into.count());
            for (long at = offset; at < end; at += memory.byteSize()) {
                long n = Math.min(memory.byteSize(), end - at);
                copy(at, memory.asSlice(0, n), vector);
                target.slice(into, at - offset, n).copyFrom(memory, 0);
            }
        }
    }

    /**
     * Reads a range and writes what the child does not hold of it. Through memory of our own: the
     * reader's may change under us, and must not change the disk.
     */
    private void copy(long offset, MemorySegment memory, IoVector vector) throws BlockIoException {
        long end = offset + memory.byteSize();
        Range range = enter(offset, end, true);
        try {
            child.read(offset, vector.set(memory, 0, memory.byteSize()));
            long stop = Math.min(end, length());
            for (long at = offset; at < stop; ) {
                Extent extent = child.extentAt(at, stop - at);
                long n = Math.min(extent.end(), stop) - at;
                if (missing(extent) && extent.zero()) {
                    child.writeZeroes(at, n, 0);
                } else if (missing(extent)) {
                    child.write(at, vector.set(memory, at - offset, n), 0);
                }
                at += n;
            }
        } finally {
            leave(range);
        }
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return complete(offset, Math.min(offset + into.byteCount(), length()))
                && child.tryRead(offset, into);
    }

    // --- Writing -----------------------------------------------------------------------------

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        Range range = enter(offset, offset + from.byteCount(), false);
        try {
            child.write(offset, from, flags);
        } finally {
            leave(range);
        }
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        Range range = new Range(offset, offset + from.byteCount(), false);
        synchronized (busy) {
            if (excluded(range)) {
                return false;
            }
            busy.add(range);
        }
        try {
            return child.tryWrite(offset, from, flags);
        } finally {
            leave(range);
        }
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        Range range = enter(offset, offset + length, false);
        try {
            child.writeZeroes(offset, length, flags);
        } finally {
            leave(range);
        }
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        Range range = enter(offset, offset + length, false);
        try {
            child.discard(offset, length);
        } finally {
            leave(range);
        }
    }

    private Range enter(long from, long to, boolean copying) {
        Range range = new Range(from, to, copying);
        boolean interrupted = false;
        synchronized (busy) {
            while (excluded(range)) {
                try {
                    busy.wait();
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
            busy.add(range);
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
        return range;
    }

    private boolean excluded(Range range) {
        for (Range other : busy) {
            if (range.excludes(other)) {
                return true;
            }
        }
        return false;
    }

    private void leave(Range range) {
        synchronized (busy) {
            busy.remove(range);
            busy.notifyAll();
        }
    }

    @Override
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"copy-on-read\""));
        members.put("bottom", bottom.map(JsonFilename::text));
        members.put("file", Optional.of(child.jsonOptions()));
        return JsonFilename.of(members);
    }
}

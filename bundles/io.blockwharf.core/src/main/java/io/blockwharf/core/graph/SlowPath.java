package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.IoVector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * The requests to a node that cannot go to its image as they are: misaligned in the device or in
 * memory, longer than the image takes at once, or in the zeroes between the image's end and the end
 * of its last sector. They are cut up and copied through buffers of our own. Ranges have been
 * checked. May be called from any number of threads.
 *
 * <p>A block that is written in part is read, changed and written back with its range locked, so
 * that two such writes into one block do not undo each other. A write of whole blocks does not look
 * at the lock: it can meet a partial write of the same block only if the requests themselves
 * overlap and run at the same time, which have no order on any disk.
 */
final class SlowPath {
    private static final int BOUNCE_BYTES = 256 << 10;
    private static final int PAGE = 4096;
    private static final int MOST_BUFFERS = 32;

    /** Memory that any image can use, with the vectors to work on it. */
    private static final class Buffer {
        final MemorySegment memory;
        final IoVector own;
        final IoVector part;

        Buffer(int bytes, int alignment) {
            Arena arena = Arena.ofAuto();
            memory = arena.allocate(bytes, alignment);
            own = new IoVector(arena, 1);
            part = new IoVector(arena, IoVector.MAX_PIECES);
        }
    }

    private record Range(long from, long to) {
        boolean overlaps(Range other) {
            return from < other.to && other.from < to;
        }
    }

    private final Node node;
    private final BlockImage image;
    private final int alignment;
    private final int bounceBytes;

    /** Those that nobody uses. */
    private final Deque<Buffer> buffers = new ArrayDeque<>();

    private int made;
    private final List<Range> locked = new ArrayList<>();

    SlowPath(Node node) {
        this.node = node;
        image = node.image();
        alignment = node.alignment();
        bounceBytes = (int) Math.max(alignment, Math.min(BOUNCE_BYTES, node.maxTransfer()));
    }

    // --- Reading -----------------------------------------------------------------------------

    /**
     * Reads.
     *
     * @param wholeBlocks whether the last block may be read to its end: the reader is an image with
     *     the same alignment, which knows no better
     */
    void read(long offset, IoVector into, boolean wholeBlocks) throws BlockIoException {
        long end = offset + into.byteCount();
        if (!wholeBlocks || offset < 0 || end <= node.length() || end > up(node.length())) {
            node.check(offset, into.byteCount());
        }
        if (into.byteCount() == 0) {
            return;
        }
        Buffer buffer = take();
        try {
            read(buffer, offset, into);
        } finally {
            give(buffer);
        }
    }

    private void read(Buffer buffer, long offset, IoVector into) throws BlockIoException {
        long stored = Math.min(into.byteCount(), Math.max(0, node.imageLength() - offset));
        long done = 0;
        while (done < stored) {
            long at = offset + done;
            long n = Math.min(stored - done, node.maxTransfer());
            buffer.part.slice(into, done, n);
            if (((at | n) & (alignment - 1)) == 0 && node.aligned(buffer.part)) {
                image.read(at, buffer.part);
            } else {
                long from = down(at);
                n = Math.min(n, from + bounceBytes - at);
                image.read(from, buffer.own.set(buffer.memory, 0, up(at + n) - from));
                buffer.part.slice(into, done, n).copyFrom(buffer.memory, at - from);
            }
            done += n;
        }
        if (done < into.byteCount()) {
            buffer.part.slice(into, done, into.byteCount() - done).fillZero();
        }
    }

    // --- Writing -----------------------------------------------------------------------------

    void write(long offset, IoVector data, int flags) throws BlockIoException {
        reach(offset + data.byteCount());
        Buffer buffer = take();
        try {
            long bytes = data.byteCount();
            long done = 0;
            while (done < bytes) {
                long at = offset + done;
                long n = Math.min(bytes - done, node.maxTransfer());
                buffer.part.slice(data, done, n);
                if (((at | n) & (alignment - 1)) == 0 && node.aligned(buffer.part)) {
                    image.write(at, buffer.part, flags);
                } else {
                    n = Math.min(n, down(at) + bounceBytes - at);
                    buffer.part.slice(data, done, n);
                    bounce(buffer, at, n, buffer.part, flags);
                }
                done += n;
            }
        } finally {
            give(buffer);
        }
    }

    /** Makes zeroes; blocks that are only touched are changed in the part that is meant. */
    void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        // What lies behind the image's end is zero as it is.
        long end = Math.min(offset + length, node.imageLength());
        if (alignment == 1) {
            if (offset < end) {
                image.writeZeroes(offset, end - offset, flags);
            }
            return;
        }
        Buffer buffer = take();
        try {
            long from = Math.min(up(offset), end);
            if (offset < from) {
                reach(from);
                bounce(buffer, offset, from - offset, null, flags);
            }
            long to = Math.max(down(end), from);
            if (from < to) {
                image.writeZeroes(from, to - from, flags);
            }
            if (to < end) {
                reach(end);
                bounce(buffer, to, end - to, null, flags);
            }
        } finally {
            give(buffer);
        }
    }

    /**
     * Writes {@code [at, at + bytes)} from the buffer, which holds all blocks of it.
     *
     * @param data the bytes; null for zeroes
     */
    private void bounce(Buffer buffer, long at, long bytes, IoVector data, int flags)
            throws BlockIoException {
        long from = down(at);
        long to = up(at + bytes);
        boolean head = from < at;
        boolean tail = at + bytes < to;
        Range range = new Range(from, to);
        if (head || tail) {
            lock(range);
        }
        try {
            if (head) {
                image.read(from, buffer.own.set(buffer.memory, 0, alignment));
            }
            if (tail && !(head && to - from == alignment)) {
                long last = to - from - alignment;
                image.read(from + last, buffer.own.set(buffer.memory, last, alignment));
            }
            if (data == null) {
                buffer.memory.asSlice(at - from, bytes).fill((byte) 0);
            } else {
                data.copyTo(buffer.memory, at - from);
            }
            image.write(from, buffer.own.set(buffer.memory, 0, to - from), flags);
        } finally {
            if (head || tail) {
                unlock(range);
            }
        }
    }

    /** Before a write that ends in a block which the image has not or has only a part of. */
    private void reach(long end) throws BlockIoException {
        long needed = Math.max(end > node.imageLength() ? node.length() : 0, up(end));
        if (needed > node.imageLength()) {
            node.extendTo(needed);
        }
    }

    // --- Discarding and asking -----------------------------------------------------------------

    /** A discard is advice: parts of blocks, and what is not stored, are left alone. */
    void discard(long offset, long length) throws BlockIoException {
        long from = up(offset);
        long to = down(Math.min(offset + length, node.imageLength()));
        if (from < to) {
            image.discard(from, to - from);
        }
    }

    Extent extentAt(long offset, long length) throws BlockIoException {
        node.check(offset, Math.max(1, length));
        long stored = node.imageLength();
        if (offset >= stored) {
            return Extent.hole(stored, node.length() - stored);
        }
        long from = down(offset);
        long to = Math.min(up(offset + Math.max(1, length)), stored);
        return image.extentAt(from, to - from);
    }

    void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        long stored = node.imageLength();
        if (offset < stored && down(offset) == offset) {
            node.check(offset, Math.max(1, length));
            long end = Math.min(up(offset + Math.max(1, length)), stored);
            image.extents(offset, end - offset, to);
        } else {
            extentAt(offset, length).tell(offset, to);
        }
    }

    // --- Blocks ------------------------------------------------------------------------------

    private long down(long offset) {
        return offset & -(long) alignment;
    }

    private long up(long offset) {
        return (offset + alignment - 1) & -(long) alignment;
    }

    private void lock(Range range) {
        synchronized (locked) {
            boolean interrupted = false;
            while (locked.stream().anyMatch(range::overlaps)) {
                interrupted |= interrupted(locked);
            }
            locked.add(range);
            restore(interrupted);
        }
    }

    private void unlock(Range range) {
        synchronized (locked) {
            locked.remove(range);
            locked.notifyAll();
        }
    }

    /** A buffer; there is a bound on how many there are, and whoever has one needs no second. */
    private Buffer take() {
        synchronized (buffers) {
            boolean interrupted = false;
            while (buffers.isEmpty() && made == MOST_BUFFERS) {
                interrupted |= interrupted(buffers);
            }
            restore(interrupted);
            if (!buffers.isEmpty()) {
                return buffers.pop();
            }
            Buffer buffer =
                    new Buffer(
                            bounceBytes,
                            Math.max(PAGE, Math.max(alignment, node.limits().memoryAlignment())));
            made++;
            return buffer;
        }
    }

    private void give(Buffer buffer) {
        buffer.part.clear();
        synchronized (buffers) {
            buffers.push(buffer);
            buffers.notify();
        }
    }

    /** Waits for a notification; whether the thread was interrupted meanwhile. */
    private static boolean interrupted(Object monitor) {
        try {
            monitor.wait();
            return false;
        } catch (InterruptedException e) {
            return true;
        }
    }

    private static void restore(boolean interrupted) {
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

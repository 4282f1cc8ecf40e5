package io.blockwharf.api.block;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/**
 * The buffers of one request, in order: a reusable list of pieces of native memory.
 *
 * <p>The pieces are kept twice: as segments for drivers that touch the bytes, and as an array of
 * {@code struct iovec} (two 64-bit words, POSIX {@code <sys/uio.h>}) that a system call can take as
 * it stands. Filling it in allocates nothing.
 *
 * <p>Owned by one thread at a time; while a request is under way it belongs to the device. The
 * memory of the pieces must stay alive for as long.
 */
public final class IoVector {
    /** The kernel takes at most this many pieces in one call (IOV_MAX). */
    public static final int MAX_PIECES = 1024;

    private static final long ENTRY = 16;

    private final MemorySegment entries;
    private final MemorySegment[] bases;
    private final long[] offsets;
    private final long[] lengths;
    private int count;
    private long bytes;

    /**
     * Makes an empty list.
     *
     * @param arena owns the native array
     * @param capacity how many pieces it can hold, 1 to {@value #MAX_PIECES}
     */
    public IoVector(Arena arena, int capacity) {
        if (capacity < 1 || capacity > MAX_PIECES) {
            throw new IllegalArgumentException("capacity " + capacity);
        }
        entries = arena.allocate(ENTRY * capacity, 8);
        bases = new MemorySegment[capacity];
        offsets = new long[capacity];
        lengths = new long[capacity];
    }

    /** Forgets all pieces. */
    public IoVector clear() {
        count = 0;
        bytes = 0;
        return this;
    }

    /** Makes one piece the whole list. */
    public IoVector set(MemorySegment base, long offset, long length) {
        return clear().add(base, offset, length);
    }

    /**
     * Appends the piece {@code [offset, offset + length)} of a native segment.
     *
     * @throws IndexOutOfBoundsException if it is not inside the segment, or the list is full
     */
    public IoVector add(MemorySegment base, long offset, long length) {
        java.util.Objects.checkFromIndexSize(offset, length, base.byteSize());
        if (bases[count] != base) { // mostly it is; a store costs more than a look
            bases[count] = base;
        }
        offsets[count] = offset;
        lengths[count] = length;
        count++;
        bytes += length;
        return this;
    }

    /** The sum of the lengths of all pieces. */
    public long byteCount() {
        return bytes;
    }

    /** How many pieces there are. */
    public int count() {
        return count;
    }

    /** How many pieces fit. */
    public int capacity() {
        return bases.length;
    }

    /** The segment that piece {@code i} lies in. */
    public MemorySegment base(int i) {
        return bases[java.util.Objects.checkIndex(i, count)];
    }

    /** Where piece {@code i} begins in its segment, bytes. */
    public long offset(int i) {
        return offsets[java.util.Objects.checkIndex(i, count)];
    }

    /** The length of piece {@code i}, bytes. */
    public long length(int i) {
        return lengths[java.util.Objects.checkIndex(i, count)];
    }

    /**
     * The pieces as an array of {@link #count} {@code struct iovec}s, written anew by each call;
     * valid until the next change.
     */
    public MemorySegment entries() {
        for (int i = 0; i < count; i++) {
            entries.set(ValueLayout.JAVA_LONG, ENTRY * i, bases[i].address() + offsets[i]);
            entries.set(ValueLayout.JAVA_LONG, ENTRY * i + 8, lengths[i]);
        }
        return entries;
    }

    /** Replaces this list by the part {@code [from, from + length)} of another one's bytes. */
    public IoVector slice(IoVector other, long from, long length) {
        java.util.Objects.checkFromIndexSize(from, length, other.bytes);
        clear();
        long skip = from;
        long rest = length;
        for (int i = 0; rest > 0; i++) {
            long n = other.lengths[i];
            if (skip >= n) {
                skip -= n;
                continue;
            }
            long take = Math.min(n - skip, rest);
            add(other.bases[i], other.offsets[i] + skip, take);
            skip = 0;
            rest -= take;
        }
        return this;
    }

    /** Copies the bytes of all pieces to {@code target} from {@code at} on. */
    public void copyTo(MemorySegment target, long at) {
        long to = at;
        for (int i = 0; i < count; i++) {
            MemorySegment.copy(bases[i], offsets[i], target, to, lengths[i]);
            to += lengths[i];
        }
    }

    /** Fills all pieces with the bytes of {@code source} from {@code at} on. */
    public void copyFrom(MemorySegment source, long at) {
        long from = at;
        for (int i = 0; i < count; i++) {
            MemorySegment.copy(source, from, bases[i], offsets[i], lengths[i]);
            from += lengths[i];
        }
    }

    /** Fills all pieces with zeroes. */
    public void fillZero() {
        for (int i = 0; i < count; i++) {
            bases[i].asSlice(offsets[i], lengths[i]).fill((byte) 0);
        }
    }
}

package io.blockwharf.api.block;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Arrays;
import java.util.Objects;

/**
 * The buffers of one request, in order: a reusable list of pieces of native memory.
 *
 * <p>The pieces are kept twice: as segments for drivers that touch the bytes, and as an array of
 * {@code struct iovec} (two 64-bit words, POSIX {@code <sys/uio.h>}) that a system call can take as
 * it stands. Filling it in allocates nothing once it has had as many pieces.
 *
 * <p>Owned by one thread at a time; while a request is under way it belongs to the device. The
 * memory of the pieces must stay alive for as long.
 */
public final class IoVector {
    /** The kernel takes at most this many pieces in one call (IOV_MAX). */
    public static final int MAX_PIECES = 1024;

    private static final long ENTRY = 16;

    /** What there is room for at first: many vectors in use shall be near to each other. */
    private static final int FEW = 4;

    private final int capacity;
    private final MemorySegment entries;
    private MemorySegment[] bases;

    /** Offset and length of each piece, side by side. */
    private long[] ranges;

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
        this.capacity = capacity;
        entries = arena.allocate(ENTRY * capacity, 8);
        int few = Math.min(capacity, FEW);
        bases = new MemorySegment[few];
        ranges = new long[2 * few];
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
        Objects.checkFromIndexSize(offset, length, base.byteSize());
        if (count == bases.length) {
            grow();
        }
        put(count, base, offset, length);
        count++;
        bytes += length;
        return this;
    }

    private void put(int i, MemorySegment base, long offset, long length) {
        if (bases[i] != base) { // mostly it is; a store costs more than a look
            bases[i] = base;
        }
        ranges[2 * i] = offset;
        ranges[2 * i + 1] = length;
    }

    /** At most once for each size that a list ever has: it keeps the room. */
    private void grow() {
        int room = Math.min(capacity, 2 * count);
        Objects.checkIndex(count, room);
        bases = Arrays.copyOf(bases, room);
        ranges = Arrays.copyOf(ranges, 2 * room);
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
        return capacity;
    }

    /** The segment that piece {@code i} lies in. */
    public MemorySegment base(int i) {
        return bases[Objects.checkIndex(i, count)];
    }

    /** Where piece {@code i} begins in its segment, bytes. */
    public long offset(int i) {
        return ranges[2 * Objects.checkIndex(i, count)];
    }

    /** The length of piece {@code i}, bytes. */
    public long length(int i) {
        return ranges[2 * Objects.checkIndex(i, count) + 1];
    }

    /**
     * The pieces as an array of {@link #count} {@code struct iovec}s, written anew by each call;
     * valid until the next change.
     */
    public MemorySegment entries() {
        for (int i = 0; i < count; i++) {
            entries.set(ValueLayout.JAVA_LONG, ENTRY * i, bases[i].address() + ranges[2 * i]);
            entries.set(ValueLayout.JAVA_LONG, ENTRY * i + 8, ranges[2 * i + 1]);
        }
        return entries;
    }

    /** Replaces this list by the part {@code [from, from + length)} of another one's bytes. */
    public IoVector slice(IoVector other, long from, long length) {
        Objects.checkFromIndexSize(from, length, other.bytes);
        clear();
        long skip = from;
        long rest = length;
        for (int i = 0; rest > 0; i++) {
            long n = other.ranges[2 * i + 1];
            if (skip >= n) {
                skip -= n;
                continue;
            }
            long take = Math.min(n - skip, rest);
            add(other.bases[i], other.ranges[2 * i] + skip, take);
            skip = 0;
            rest -= take;
        }
        return this;
    }

    /** Keeps the part {@code [from, from + length)} of its bytes, and drops the others. */
    public IoVector narrow(long from, long length) {
        Objects.checkFromIndexSize(from, length, bytes);
        long skip = from;
        long rest = length;
        int kept = 0;
        for (int i = 0; rest > 0; i++) {
            long n = ranges[2 * i + 1];
            if (skip >= n) {
                skip -= n;
                continue;
            }
            long take = Math.min(n - skip, rest);
            put(kept++, bases[i], ranges[2 * i] + skip, take);
            skip = 0;
            rest -= take;
        }
        count = kept;
        bytes = length;
        return this;
    }

    /** Copies the bytes of all pieces to {@code target} from {@code at} on. */
    public void copyTo(MemorySegment target, long at) {
        long to = at;
        for (int i = 0; i < count; i++) {
            MemorySegment.copy(bases[i], ranges[2 * i], target, to, ranges[2 * i + 1]);
            to += ranges[2 * i + 1];
        }
    }

    /** Fills all pieces with the bytes of {@code source} from {@code at} on. */
    public void copyFrom(MemorySegment source, long at) {
        long from = at;
        for (int i = 0; i < count; i++) {
            MemorySegment.copy(source, from, bases[i], ranges[2 * i], ranges[2 * i + 1]);
            from += ranges[2 * i + 1];
        }
    }

    /** Fills all pieces with zeroes. */
    public void fillZero() {
        for (int i = 0; i < count; i++) {
            bases[i].asSlice(ranges[2 * i], ranges[2 * i + 1]).fill((byte) 0);
        }
    }
}

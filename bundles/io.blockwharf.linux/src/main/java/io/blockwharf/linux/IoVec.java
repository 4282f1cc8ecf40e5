package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A list of memory ranges for one scattered read or gathered write: {@code struct iovec[]}, filled
 * and used again without allocating. A transfer takes from the front what it has moved, so that a
 * list that is not empty afterwards holds the rest.
 *
 * <p>The ranges are not copied: their owner keeps them alive and unchanged until the transfer has
 * returned (or, on an {@link IoUring}, completed, and then the list as well). Owned by one thread
 * at a time; its own memory is freed by the garbage collector.
 */
public final class IoVec {
    /** Most ranges that the kernel takes in one call (UIO_MAXIOV); longer lists take several. */
    static final int MAX_PER_CALL = 1024;

    private static final int ENTRY = 16;

    private final MemorySegment entries;
    private final int capacity;
    private int first;
    private int end;
    private long bytes;

    /** A list for up to {@code capacity} ranges. */
    public IoVec(int capacity) {
        this.capacity = capacity;
        entries = Arena.ofAuto().allocate((long) capacity * ENTRY, ENTRY);
    }

    /** Drops all ranges. */
    public void clear() {
        first = 0;
        end = 0;
        bytes = 0;
    }

    /**
     * Appends {@code length} bytes at {@code offset} of a native segment. An empty range is left
     * out; a range that continues the last one is merged with it.
     *
     * @throws IllegalStateException if the list is full
     * @throws IndexOutOfBoundsException if the range is not inside the segment
     */
    public void add(MemorySegment segment, long offset, long length) {
        long address = RawMemory.address(segment, offset, length);
        if (length == 0) {
            return;
        }
        if (end > first) {
            long last = (long) (end - 1) * ENTRY;
            long lastLength = entries.get(JAVA_LONG, last + 8);
            if (entries.get(JAVA_LONG, last) + lastLength == address) {
                entries.set(JAVA_LONG, last + 8, lastLength + length);
                bytes += length;
                return;
            }
        }
        if (end == capacity) {
            throw new IllegalStateException("the list is full");
        }
        long entry = (long) end * ENTRY;
        entries.set(JAVA_LONG, entry, address);
        entries.set(JAVA_LONG, entry + 8, length);
        end++;
        bytes += length;
    }

    /** Ranges left. */
    public int count() {
        return end - first;
    }

    /** Whether {@link #add} has no room for another range. */
    public boolean isFull() {
        return end == capacity;
    }

    public boolean isEmpty() {
        return first == end;
    }

    /** Bytes left in all ranges. */
    public long bytes() {
        return bytes;
    }

    /** Takes {@code moved} bytes from the front. */
    void advance(long moved) {
        bytes -= moved;
        long left = moved;
        while (left > 0) {
            long entry = (long) first * ENTRY;
            long length = entries.get(JAVA_LONG, entry + 8);
            if (left < length) {
                entries.set(JAVA_LONG, entry, entries.get(JAVA_LONG, entry) + left);
                entries.set(JAVA_LONG, entry + 8, length - left);
                return;
            }
            left -= length;
            first++;
        }
        if (first == end) {
            clear();
        }
    }

    /** Address of the first range that is left. */
    long address() {
        return entries.address() + (long) first * ENTRY;
    }

    /** Where the first range that is left begins. */
    long firstRange() {
        return entries.get(JAVA_LONG, (long) first * ENTRY);
    }

    /** Ranges for the next call. */
    int countPerCall() {
        return Math.min(count(), MAX_PER_CALL);
    }
}

package io.blockwharf.api.block;

/**
 * A run of bytes with the same allocation.
 *
 * @param offset first byte
 * @param length bytes, at least 1
 * @param data the bytes are stored somewhere and reading them costs a device access
 * @param zero the bytes are known to read as zeroes
 * @param depth which layer of a backing chain holds the bytes: 1 is the node itself, 2 its backing
 *     node and so on, 0 if no layer does
 */
public record Extent(long offset, long length, boolean data, boolean zero, int depth) {
    /** A run of stored bytes in the node itself. */
    public static Extent data(long offset, long length) {
        return new Extent(offset, length, true, false, 1);
    }

    /** A hole: not stored, reads as zeroes. */
    public static Extent hole(long offset, long length) {
        return new Extent(offset, length, false, true, 1);
    }

    /** The first byte behind the run. */
    public long end() {
        return offset + length;
    }

    /**
     * Tells of the part of the run from {@code position} on, which lies in it.
     *
     * @return whether the next run is wanted
     */
    public boolean tell(long position, ExtentSink to) {
        return to.run(end() - position, data, zero, depth);
    }

    /** Whether a byte lies in the run. */
    public boolean contains(long position) {
        return position >= offset && position - offset < length;
    }
}

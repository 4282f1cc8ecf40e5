package io.blockwharf.api.block;

/**
 * A run of a node's bytes that lies as it is in a file of the host.
 *
 * @param fd file descriptor, readable; it belongs to the node, see {@link BlockNode#pin}
 * @param offset where the run begins in the node, bytes
 * @param position where it begins in the file, bytes
 * @param length bytes
 */
public record HostExtent(int fd, long offset, long position, long length) {
    /** Whether all of a range of the node lies in the run. */
    public boolean covers(long from, long bytes) {
        return from >= offset && bytes <= length && from - offset <= length - bytes;
    }

    /** Where a byte of the node lies in the file. */
    public long positionOf(long nodeOffset) {
        return nodeOffset - offset + position;
    }
}

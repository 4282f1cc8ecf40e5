package io.blockwharf.fuse.wire;

import java.time.Instant;

/**
 * {@code struct fuse_attr} of the one file that there is.
 *
 * @param size bytes
 * @param blocks allocated storage, 512 bytes each
 * @param time of last access, modification and change
 * @param mode type and permissions
 * @param uid owner
 * @param gid group
 * @param blockSize the preferred size of a request in bytes, a power of two
 */
public record Attributes(
        long size, long blocks, Instant time, int mode, int uid, int gid, int blockSize) {
    /** The node id and inode number of the file: the root of the file system. */
    public static final long INODE = 1;

    /** {@code S_IFREG}. */
    public static final int REGULAR_FILE = 0100000;

    /** {@code S_IFDIR}. */
    public static final int DIRECTORY = 0040000;
}

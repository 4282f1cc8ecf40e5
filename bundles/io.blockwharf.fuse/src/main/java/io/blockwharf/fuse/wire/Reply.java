package io.blockwharf.fuse.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;

/**
 * Writes replies and notifications: a {@code struct fuse_out_header}, then a body. Each function
 * for a body writes all its bytes and returns how many there are. Nothing is allocated.
 */
public final class Reply {
    /** The size of {@code struct fuse_out_header}. */
    public static final int HEADER_BYTES = 16;

    /** The largest body that is not data: {@code struct fuse_attr_out}. */
    public static final int MAX_BODY_BYTES = 104;

    /** The size of a whole notification about a node. */
    public static final int INVALIDATION_BYTES = HEADER_BYTES + 24;

    /** {@code FOPEN_DIRECT_IO}: the kernel's page cache is left out. */
    public static final int OPEN_DIRECT_IO = 1;

    /** {@code FOPEN_PARALLEL_DIRECT_WRITES}. */
    public static final int OPEN_PARALLEL_DIRECT_WRITES = 1 << 6;

    /** {@code FOPEN_PASSTHROUGH}. */
    public static final int OPEN_PASSTHROUGH = 1 << 7;

    /** {@code FUSE_NOTIFY_INVAL_INODE}. */
    private static final int NOTIFY_INVALIDATE_NODE = 2;

    private Reply() {}

    /**
     * The header.
     *
     * @param bodyBytes the size of the body, 0 for an error
     * @param errno what went wrong, 0 or positive as in errno.h
     */
    public static void header(MemorySegment to, long at, int bodyBytes, int errno, long unique) {
        to.set(JAVA_INT_UNALIGNED, at, HEADER_BYTES + bodyBytes);
        to.set(JAVA_INT_UNALIGNED, at + 4, -errno);
        to.set(JAVA_LONG_UNALIGNED, at + 8, unique);
    }

    /** {@code struct fuse_init_out}. */
    public static int init(MemorySegment to, long at, Init.Agreement agreement) {
        to.asSlice(at, 64).fill((byte) 0);
        to.set(JAVA_INT_UNALIGNED, at, Init.MAJOR);
        to.set(JAVA_INT_UNALIGNED, at + 4, agreement.minor());
        to.set(JAVA_INT_UNALIGNED, at + 8, agreement.maxReadahead());
        to.set(JAVA_INT_UNALIGNED, at + 12, (int) agreement.flags());
        to.set(JAVA_SHORT_UNALIGNED, at + 16, (short) Init.Agreement.MAX_BACKGROUND);
        to.set(JAVA_SHORT_UNALIGNED, at + 18, (short) Init.Agreement.CONGESTION_THRESHOLD);
        to.set(JAVA_INT_UNALIGNED, at + 20, agreement.maxTransfer());
        to.set(JAVA_INT_UNALIGNED, at + 24, 1); // time_gran, nanoseconds
        to.set(JAVA_SHORT_UNALIGNED, at + 28, (short) agreement.maxPages());
        to.set(JAVA_INT_UNALIGNED, at + 32, (int) (agreement.flags() >>> 32));
        if (agreement.has(Init.PASSTHROUGH)) {
            to.set(JAVA_INT_UNALIGNED, at + 36, Init.Agreement.MAX_STACK_DEPTH);
        }
        return 64;
    }

    /**
     * {@code struct fuse_attr_out}.
     *
     * @param validSeconds how long the kernel may use them without asking again
     */
    public static int attributes(
            MemorySegment to, long at, int validSeconds, Attributes attributes) {
        to.set(JAVA_LONG_UNALIGNED, at, validSeconds);
        to.set(JAVA_LONG_UNALIGNED, at + 8, 0);
        long a = at + 16;
        to.set(JAVA_LONG_UNALIGNED, a, Attributes.INODE);
        to.set(JAVA_LONG_UNALIGNED, a + 8, attributes.size());
        to.set(JAVA_LONG_UNALIGNED, a + 16, attributes.blocks());
        for (int time = 0; time < 3; time++) { // of access, modification, change
            to.set(JAVA_LONG_UNALIGNED, a + 24 + 8 * time, attributes.time().getEpochSecond());
            to.set(JAVA_INT_UNALIGNED, a + 48 + 4 * time, attributes.time().getNano());
        }
        to.set(JAVA_INT_UNALIGNED, a + 60, attributes.mode());
        to.set(JAVA_INT_UNALIGNED, a + 64, 1); // nlink
        to.set(JAVA_INT_UNALIGNED, a + 68, attributes.uid());
        to.set(JAVA_INT_UNALIGNED, a + 72, attributes.gid());
        to.set(JAVA_INT_UNALIGNED, a + 76, 0); // rdev
        to.set(JAVA_INT_UNALIGNED, a + 80, attributes.blockSize());
        to.set(JAVA_INT_UNALIGNED, a + 84, 0); // flags
        return 104;
    }

    /**
     * {@code struct fuse_open_out}.
     *
     * @param fileHandle what later requests for this open file repeat
     * @param backingId with {@link #OPEN_PASSTHROUGH}, which file of the kernel's; else 0
     */
    public static int open(MemorySegment to, long at, long fileHandle, int flags, int backingId) {
        to.set(JAVA_LONG_UNALIGNED, at, fileHandle);
        to.set(JAVA_INT_UNALIGNED, at + 8, flags);
        to.set(JAVA_INT_UNALIGNED, at + 12, backingId);
        return 16;
    }

    /** {@code struct fuse_write_out}. */
    public static int written(MemorySegment to, long at, int bytes) {
        to.set(JAVA_INT_UNALIGNED, at, bytes);
        to.set(JAVA_INT_UNALIGNED, at + 4, 0);
        return 8;
    }

    /** {@code struct fuse_lseek_out}. */
    public static int position(MemorySegment to, long at, long offset) {
        to.set(JAVA_LONG_UNALIGNED, at, offset);
        return 8;
    }

    /**
     * {@code struct fuse_statfs_out}: a full file system with one file.
     *
     * @param size of the file, bytes
     */
    public static int fileSystem(MemorySegment to, long at, long size, int blockSize) {
        to.asSlice(at, 80).fill((byte) 0);
        to.set(JAVA_LONG_UNALIGNED, at, Math.ceilDiv(size, blockSize)); // blocks
        to.set(JAVA_LONG_UNALIGNED, at + 24, 1); // files
        to.set(JAVA_INT_UNALIGNED, at + 40, blockSize); // bsize
        to.set(JAVA_INT_UNALIGNED, at + 44, 255); // namelen
        to.set(JAVA_INT_UNALIGNED, at + 48, blockSize); // frsize
        return 80;
    }

    /**
     * {@code struct fuse_notify_inval_inode_out} with its header: the attributes of a node have
     * changed. Cached pages are left alone (a negative offset).
     */
    public static int invalidation(MemorySegment to, long at, long nodeId) {
        to.set(JAVA_INT_UNALIGNED, at, INVALIDATION_BYTES);
        to.set(JAVA_INT_UNALIGNED, at + 4, NOTIFY_INVALIDATE_NODE);
        to.set(JAVA_LONG_UNALIGNED, at + 8, 0); // unique: not a reply
        to.set(JAVA_LONG_UNALIGNED, at + 16, nodeId);
        to.set(JAVA_LONG_UNALIGNED, at + 24, -1); // off
        to.set(JAVA_LONG_UNALIGNED, at + 32, 0); // len
        return INVALIDATION_BYTES;
    }
}

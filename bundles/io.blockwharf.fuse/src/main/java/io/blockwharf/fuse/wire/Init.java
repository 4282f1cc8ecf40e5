package io.blockwharf.fuse.wire;

/** What kernel and server agree on first: {@code struct fuse_init_in} and {@code fuse_init_out}. */
public final class Init {
    /** {@code FUSE_KERNEL_VERSION}: the only major version there has been since 2005. */
    public static final int MAJOR = 7;

    /** The newest minor version whose meaning of things is known here. */
    public static final int MINOR = 44;

    /** The oldest minor version that has everything the export needs ({@code max_pages}). */
    public static final int OLDEST_MINOR = 28;

    /** {@code FUSE_ASYNC_READ}. */
    public static final long ASYNC_READ = 1;

    /** {@code FUSE_BIG_WRITES}. */
    public static final long BIG_WRITES = 1 << 5;

    /** {@code FUSE_AUTO_INVAL_DATA}: a change of size or time drops cached pages. */
    public static final long AUTO_INVAL_DATA = 1 << 12;

    /** {@code FUSE_ASYNC_DIO}: several requests of one direct read or write at once. */
    public static final long ASYNC_DIO = 1 << 15;

    /** {@code FUSE_ABORT_ERROR}: after an abort the device answers ECONNABORTED. */
    public static final long ABORT_ERROR = 1 << 21;

    /** {@code FUSE_MAX_PAGES}: {@code max_pages} of the reply counts. */
    public static final long MAX_PAGES = 1 << 22;

    /** {@code FUSE_INIT_EXT}: flags from bit 32 on count. */
    public static final long INIT_EXT = 1 << 30;

    /** {@code FUSE_DIRECT_IO_ALLOW_MMAP}: shared mappings of files opened for direct I/O. */
    public static final long DIRECT_IO_ALLOW_MMAP = 1L << 36;

    /**
     * {@code FUSE_PASSTHROUGH}: the kernel can read and write another file in place of this one.
     */
    public static final long PASSTHROUGH = 1L << 37;

    /** {@code FUSE_OVER_IO_URING}. */
    public static final long OVER_IO_URING = 1L << 41;

    /** Asked for wherever the kernel has them. */
    private static final long ALWAYS =
            ASYNC_READ
                    | BIG_WRITES
                    | AUTO_INVAL_DATA
                    | ASYNC_DIO
                    | ABORT_ERROR
                    | MAX_PAGES
                    | INIT_EXT
                    | DIRECT_IO_ALLOW_MMAP;

    private static final int PAGE = 4096;

    private Init() {}

    /**
     * What the kernel offers.
     *
     * @param major its protocol version
     * @param minor its protocol version
     * @param maxReadahead bytes
     * @param flags all 64 of them
     */
    public record Offer(int major, int minor, long maxReadahead, long flags) {
        /** Whether the export can be served through this kernel. */
        public boolean acceptable() {
            return major == MAJOR && minor >= OLDEST_MINOR && (flags & MAX_PAGES) != 0;
        }

        /**
         * The answer to it.
         *
         * @param maxTransfer upper bound of one read or write in bytes, a multiple of 4096
         * @param wanted flags besides those that are always asked for
         */
        public Agreement accept(int maxTransfer, long wanted) {
            return new Agreement(
                    Math.min(minor, MINOR),
                    (int) Math.min(maxReadahead, maxTransfer),
                    flags & (ALWAYS | wanted),
                    maxTransfer);
        }
    }

    /**
     * What both sides do from now on.
     *
     * @param minor the protocol's minor version
     * @param maxReadahead bytes
     * @param flags all 64 of them
     * @param maxTransfer upper bound of one read or write in bytes
     */
    public record Agreement(int minor, int maxReadahead, long flags, int maxTransfer) {
        /** Requests that may wait for their reply besides those that somebody waits for. */
        static final int MAX_BACKGROUND = 256;

        /** From where on the kernel holds back readahead. */
        static final int CONGESTION_THRESHOLD = 192;

        /**
         * File systems that may lie below each other, for passthrough: the kernel's upper bound, so
         * that the image may lie on an overlay.
         */
        static final int MAX_STACK_DEPTH = 2;

        /** Whether a flag is agreed on. */
        public boolean has(long flag) {
            return (flags & flag) != 0;
        }

        int maxPages() {
            return maxTransfer / PAGE;
        }
    }
}

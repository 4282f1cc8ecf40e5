package io.blockwharf.api.block;

/** Bits of the {@code flags} of writing requests. */
public final class RequestFlags {
    /** Force unit access: the data is on stable storage when the request completes. */
    public static final int FUA = 1;

    /** Zeroes may be made by giving storage back. */
    public static final int MAY_UNMAP = 2;

    /** Fail with {@link Errno#ENOTSUP} rather than write zeroes as data. */
    public static final int NO_FALLBACK = 4;

    /**
     * Store the data compressed; for writes only. Offset and length are multiples of the image's
     * clusters, or reach to its end. A driver that cannot compress ignores it.
     */
    public static final int COMPRESSED = 8;

    private RequestFlags() {}
}

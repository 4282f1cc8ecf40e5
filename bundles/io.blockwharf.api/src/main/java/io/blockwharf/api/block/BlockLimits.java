package io.blockwharf.api.block;

/**
 * Bounds of requests to a device.
 *
 * @param requestAlignment offsets and lengths must be multiples of this many bytes; a power of two
 * @param memoryAlignment addresses of buffers must be multiples of this many bytes; a power of two
 * @param optimalTransfer the preferred size of a request in bytes, 0 if there is none
 * @param maxTransfer upper bound of one read or write in bytes
 * @param discardAlignment discards smaller than this many bytes are pointless; a power of two
 */
public record BlockLimits(
        int requestAlignment,
        int memoryAlignment,
        int optimalTransfer,
        long maxTransfer,
        int discardAlignment) {
    /** Any offset, any address, up to 2 GiB less one page at once. */
    public static final BlockLimits NONE = new BlockLimits(1, 1, 0, 0x7fff_f000L, 1);

    /** Checks the powers of two. */
    public BlockLimits {
        if (Integer.bitCount(requestAlignment) != 1
                || Integer.bitCount(memoryAlignment) != 1
                || Integer.bitCount(discardAlignment) != 1
                || optimalTransfer < 0
                || maxTransfer < requestAlignment) {
            throw new IllegalArgumentException("bad limits");
        }
    }
}

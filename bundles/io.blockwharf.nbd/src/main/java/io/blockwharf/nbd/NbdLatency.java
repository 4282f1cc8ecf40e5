package io.blockwharf.nbd;

import java.util.List;

/**
 * How long requests took that were carried out, from the arrival of their last byte until the node
 * was done with them, or, if that needed no waiting, until their replies were sent.
 *
 * @param read of READ
 * @param write of WRITE
 * @param other of FLUSH, TRIM, WRITE_ZEROES, CACHE and BLOCK_STATUS
 */
public record NbdLatency(Histogram read, Histogram write, Histogram other) {

    /**
     * As QAPI {@code BlockLatencyHistogramInfo}.
     *
     * @param boundaries in nanoseconds, ascending
     * @param bins requests below the first boundary, between each and the next, and from the last
     *     on
     */
    public record Histogram(List<Long> boundaries, List<Long> bins) {}
}

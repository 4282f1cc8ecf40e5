package io.blockwharf.block;

import io.blockwharf.api.qmp.Unsigned;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsNull}: options of {@code null-co} and {@code null-aio}.
 *
 * @param size bytes (default 1 GiB)
 * @param latencyNs nanoseconds that each request takes (default 0)
 * @param readZeroes true: a hole, reads as zeroes; false: data, and reads leave the buffer as it
 *     is, which shows a client whatever the daemon had in its memory: for measuring only. By
 *     default data that reads as zeroes
 */
public record NullOptions(
        Optional<Long> size, @Unsigned(64) Optional<Long> latencyNs, Optional<Boolean> readZeroes) {
    /** Nothing is said. */
    static final NullOptions DEFAULTS =
            new NullOptions(Optional.empty(), Optional.empty(), Optional.empty());

    /** Checks the numbers. */
    public NullOptions {
        if (size.orElse(0L) < 0) {
            throw new IllegalArgumentException("Parameter 'size' expects a non-negative number");
        }
        if (latencyNs.orElse(0L) < 0) {
            throw new IllegalArgumentException("latency-ns is invalid");
        }
    }
}

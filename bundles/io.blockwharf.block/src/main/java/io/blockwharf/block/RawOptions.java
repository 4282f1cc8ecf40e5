package io.blockwharf.block;

import io.blockwharf.api.block.BlockdevRef;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsRaw}.
 *
 * @param file the node whose bytes they are
 * @param offset of the first byte in it (default 0)
 * @param size bytes that are used of it, a multiple of 512 (default: to its end)
 */
public record RawOptions(BlockdevRef file, Optional<Long> offset, Optional<Long> size) {
    /** Checks the numbers. */
    public RawOptions {
        if (offset.orElse(0L) < 0 || size.orElse(0L) < 0) {
            throw new IllegalArgumentException("offset and size must not be negative");
        }
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.IoVector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** Finds out whether bytes are zero. */
final class Zeroes {
    private static final int BYTES = 1 << 16;
    private static final MemorySegment BLOCK = Arena.global().allocate(BYTES, 64);

    private Zeroes() {}

    /** Whether all bytes are. Data is usually found out by its first bytes. */
    static boolean only(IoVector vector) {
        for (int i = 0; i < vector.count(); i++) {
            MemorySegment base = vector.base(i);
            long at = vector.offset(i);
            long end = at + vector.length(i);
            while (at < end) {
                long n = Math.min(BYTES, end - at);
                if (MemorySegment.mismatch(base, at, at + n, BLOCK, 0, n) >= 0) {
                    return false;
                }
                at += n;
            }
        }
        return true;
    }
}

package io.blockwharf.nbd.client;

import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.ReplyStyle;

import java.util.OptionalInt;

/**
 * What was agreed on with a server.
 *
 * @param style of the replies; extended headers are those of requests, too
 * @param size bytes, not negative
 * @param flags {@link io.blockwharf.nbd.wire.TransmissionFlags}
 * @param minimum bytes that offsets and lengths are multiples of; a power of two up to 64 KiB
 * @param preferred bytes, 0 if the server has told nothing
 * @param maximum most bytes of a read or write; a multiple of the minimum, at most 32 MiB
 * @param context the number of the context that tells the allocation
 */
record Terms(
        ReplyStyle style,
        long size,
        int flags,
        int minimum,
        int preferred,
        int maximum,
        OptionalInt context) {
    /** "the minimum block size [...] SHOULD be no more than 64 KiB". "Size constraints". */
    static final int LARGEST_MINIMUM = 64 << 10;

    /** Most bytes of TRIM in 32 bits, as QEMU's client sends them. */
    private static final int MOST_IN_32_BITS = Integer.MAX_VALUE;

    /** Longer than any export, and a multiple of every block size. */
    private static final long MOST_IN_64_BITS = 1L << 62;

    boolean has(int flag) {
        return (flags & flag) != 0;
    }

    boolean extended() {
        return style == ReplyStyle.EXTENDED;
    }

    /** Most bytes of one TRIM or BLOCK_STATUS. */
    long mostWithoutPayload() {
        return extended() ? MOST_IN_64_BITS : MOST_IN_32_BITS & -minimum;
    }

    /** Most bytes of one WRITE_ZEROES; servers may hold them to the limit of data. */
    long mostZeroes() {
        return extended() ? MOST_IN_64_BITS : maximum;
    }

    /** Whether users of an export on {@code before} can go on with these. */
    boolean replace(Terms before) {
        return size == before.size && minimum <= before.minimum && maximum >= before.maximum;
    }

    /** The largest payload in whole blocks. */
    static int maximum(long told, int minimum) {
        return (int) Math.min(told, Command.MAX_PAYLOAD) & -minimum;
    }
}

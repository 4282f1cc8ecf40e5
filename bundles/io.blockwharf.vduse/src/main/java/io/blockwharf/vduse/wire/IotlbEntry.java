package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * {@code struct vduse_iotlb_entry}: memory that the driver has shared.
 *
 * @param offset where it begins in the descriptor that came with it
 * @param start the driver's address of its first byte, unsigned
 * @param last the driver's address of its last byte, unsigned
 * @param permission of the bits {@link #READ} and {@link #WRITE}
 */
public record IotlbEntry(long offset, long start, long last, int permission) {
    /** The size of the structure. */
    public static final int BYTES = 32;

    /** VDUSE_ACCESS_RO. */
    public static final int READ = 1;

    /** VDUSE_ACCESS_WO. */
    public static final int WRITE = 2;

    /** Where the members lie. */
    public static final int OFFSET = 0;

    /** See {@link #OFFSET}. */
    public static final int START = 8;

    /** See {@link #OFFSET}. */
    public static final int LAST = 16;

    /** See {@link #OFFSET}. */
    public static final int PERM = 24;

    /** The structure that asks for the memory at an address. */
    public static MemorySegment request(Arena arena, long address) {
        MemorySegment bytes = arena.allocate(BYTES, 8);
        bytes.set(JAVA_LONG, START, address);
        bytes.set(JAVA_LONG, LAST, address);
        return bytes;
    }

    /** What the kernel has answered. */
    public static IotlbEntry decode(MemorySegment bytes) {
        return new IotlbEntry(
                bytes.get(JAVA_LONG, OFFSET),
                bytes.get(JAVA_LONG, START),
                bytes.get(JAVA_LONG, LAST),
                bytes.get(JAVA_BYTE, PERM));
    }
}

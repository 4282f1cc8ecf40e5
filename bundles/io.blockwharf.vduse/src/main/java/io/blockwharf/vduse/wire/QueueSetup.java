package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** {@code struct vduse_vq_config}: how large a virtqueue may be. */
public final class QueueSetup {
    /** The size of the structure. */
    public static final int BYTES = 32;

    /** Where the members lie. */
    public static final int INDEX = 0;

    /** See {@link #INDEX}. */
    public static final int MAX_SIZE = 4;

    private QueueSetup() {}

    /** The structure. */
    public static MemorySegment encode(Arena arena, int index, int maxSize) {
        MemorySegment bytes = arena.allocate(BYTES, 8);
        bytes.set(JAVA_INT, INDEX, index);
        bytes.set(JAVA_SHORT, MAX_SIZE, (short) maxSize);
        return bytes;
    }
}

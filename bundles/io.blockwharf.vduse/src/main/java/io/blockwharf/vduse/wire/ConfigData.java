package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** {@code struct vduse_config_data}: a change of the configuration space. */
public final class ConfigData {
    /** The structure up to the bytes of the configuration space. */
    public static final int HEADER_BYTES = 8;

    /** Where the members lie. */
    public static final int OFFSET = 0;

    /** See {@link #OFFSET}. */
    public static final int LENGTH = 4;

    private ConfigData() {}

    /** The structure that replaces the whole configuration space. */
    public static MemorySegment encode(Arena arena, byte[] config) {
        MemorySegment bytes = arena.allocate((long) HEADER_BYTES + config.length, 8);
        bytes.set(JAVA_INT, OFFSET, 0);
        bytes.set(JAVA_INT, LENGTH, config.length);
        MemorySegment.copy(config, 0, bytes, JAVA_BYTE, HEADER_BYTES, config.length);
        return bytes;
    }
}

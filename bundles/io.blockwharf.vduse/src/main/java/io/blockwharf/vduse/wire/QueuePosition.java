package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.MemorySegment;

/**
 * {@code struct vduse_vq_state_split} and {@code vduse_vq_state_packed}, as the one number that
 * {@code Virtqueue.position()} is.
 */
public final class QueuePosition {
    /** Where the members of the packed state lie; that of the split state is at 0. */
    public static final int LAST_AVAIL_COUNTER = 0;

    /** See {@link #LAST_AVAIL_COUNTER}. */
    public static final int LAST_AVAIL_IDX = 2;

    /** See {@link #LAST_AVAIL_COUNTER}. */
    public static final int LAST_USED_COUNTER = 4;

    /** See {@link #LAST_AVAIL_COUNTER}. */
    public static final int LAST_USED_IDX = 6;

    private QueuePosition() {}

    static int decode(MemorySegment bytes, long at, boolean packed) {
        if (!packed) {
            return Short.toUnsignedInt(bytes.get(JAVA_SHORT, at));
        }
        return (bytes.get(JAVA_SHORT, at + LAST_AVAIL_IDX) & 0x7fff)
                | (bytes.get(JAVA_SHORT, at + LAST_AVAIL_COUNTER) & 1) << 15
                | (bytes.get(JAVA_SHORT, at + LAST_USED_IDX) & 0x7fff) << 16
                | (bytes.get(JAVA_SHORT, at + LAST_USED_COUNTER) & 1) << 31;
    }

    static void encode(MemorySegment bytes, long at, boolean packed, int position) {
        if (!packed) {
            bytes.set(JAVA_SHORT, at, (short) position);
            return;
        }
        bytes.set(JAVA_SHORT, at + LAST_AVAIL_COUNTER, (short) (position >>> 15 & 1));
        bytes.set(JAVA_SHORT, at + LAST_AVAIL_IDX, (short) (position & 0x7fff));
        bytes.set(JAVA_SHORT, at + LAST_USED_COUNTER, (short) (position >>> 31));
        bytes.set(JAVA_SHORT, at + LAST_USED_IDX, (short) (position >>> 16 & 0x7fff));
    }
}

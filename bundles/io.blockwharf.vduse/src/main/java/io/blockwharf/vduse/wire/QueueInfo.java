package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * {@code struct vduse_vq_info}: a virtqueue as the driver has set it up.
 *
 * @param size ring entries
 * @param descriptors the driver's address of the descriptor area
 * @param driver the driver's address of the driver area
 * @param device the driver's address of the device area
 * @param position where the driver wants the device to begin, see {@link QueuePosition}
 * @param ready whether the driver has enabled it
 */
public record QueueInfo(
        int size, long descriptors, long driver, long device, int position, boolean ready) {
    /** The size of the structure. */
    public static final int BYTES = 48;

    /** Where the members lie. */
    public static final int INDEX = 0;

    /** See {@link #INDEX}. */
    public static final int NUM = 4;

    /** See {@link #INDEX}. */
    public static final int DESC_ADDR = 8;

    /** See {@link #INDEX}. */
    public static final int DRIVER_ADDR = 16;

    /** See {@link #INDEX}. */
    public static final int DEVICE_ADDR = 24;

    /** See {@link #INDEX}. */
    public static final int STATE = 32;

    /** See {@link #INDEX}. */
    public static final int READY = 40;

    /** The structure that asks for a queue's. */
    public static MemorySegment request(Arena arena, int index) {
        MemorySegment bytes = arena.allocate(BYTES, 8);
        bytes.set(JAVA_INT, INDEX, index);
        return bytes;
    }

    /** What the kernel has answered. */
    public static QueueInfo decode(MemorySegment bytes, boolean packed) {
        return new QueueInfo(
                bytes.get(JAVA_INT, NUM),
                bytes.get(JAVA_LONG, DESC_ADDR),
                bytes.get(JAVA_LONG, DRIVER_ADDR),
                bytes.get(JAVA_LONG, DEVICE_ADDR),
                QueuePosition.decode(bytes, STATE, packed),
                bytes.get(JAVA_BYTE, READY) != 0);
    }
}

package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;

/**
 * {@code struct vduse_dev_config}: what a device is made from.
 *
 * @param name 1 to 255 bytes of UTF-8, without a slash
 * @param vendorId virtio vendor
 * @param deviceId virtio device
 * @param features the virtio features that it offers
 * @param queues the number of virtqueues
 * @param alignment of a virtqueue's parts, bytes
 * @param config the configuration space
 */
public record DeviceConfig(
        String name,
        int vendorId,
        int deviceId,
        long features,
        int queues,
        int alignment,
        byte[] config) {
    /** VDUSE_NAME_MAX, with the terminating zero. */
    public static final int NAME_BYTES = 256;

    /** The structure up to the configuration space. */
    public static final int HEADER_BYTES = 336;

    /** Where the members lie. */
    public static final int VENDOR_ID = 256;

    /** See {@link #VENDOR_ID}. */
    public static final int DEVICE_ID = 260;

    /** See {@link #VENDOR_ID}. */
    public static final int FEATURES = 264;

    /** See {@link #VENDOR_ID}. */
    public static final int VQ_NUM = 272;

    /** See {@link #VENDOR_ID}. */
    public static final int VQ_ALIGN = 276;

    /** See {@link #VENDOR_ID}. */
    public static final int CONFIG_SIZE = 332;

    /** Whether the kernel takes a name and it names one file of {@code /dev/vduse}. */
    public static boolean validName(String name) {
        int bytes = name.getBytes(StandardCharsets.UTF_8).length;
        return bytes > 0
                && bytes < NAME_BYTES
                && !name.equals(".")
                && !name.equals("..")
                && !name.equals("control")
                && name.chars().noneMatch(c -> c == '/' || c == '!' || c == 0);
    }

    /** The structure and the configuration space behind it. */
    public MemorySegment encode(Arena arena) {
        MemorySegment bytes = arena.allocate((long) HEADER_BYTES + config.length, 8);
        bytes.setString(0, name);
        bytes.set(JAVA_INT, VENDOR_ID, vendorId);
        bytes.set(JAVA_INT, DEVICE_ID, deviceId);
        bytes.set(JAVA_LONG, FEATURES, features);
        bytes.set(JAVA_INT, VQ_NUM, queues);
        bytes.set(JAVA_INT, VQ_ALIGN, alignment);
        bytes.set(JAVA_INT, CONFIG_SIZE, config.length);
        MemorySegment.copy(config, 0, bytes, JAVA_BYTE, HEADER_BYTES, config.length);
        return bytes;
    }

    /** The argument of VDUSE_DESTROY_DEV. */
    public static MemorySegment encodeName(Arena arena, String name) {
        MemorySegment bytes = arena.allocate(NAME_BYTES, 8);
        bytes.setString(0, name);
        return bytes;
    }
}

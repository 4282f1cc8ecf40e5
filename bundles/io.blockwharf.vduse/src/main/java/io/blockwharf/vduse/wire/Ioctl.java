package io.blockwharf.vduse.wire;

/** The ioctls of {@code linux/vduse.h}; those that take a structure take it by address. */
public enum Ioctl {
    // of /dev/vduse/control
    /** Reads a u64. */
    VDUSE_GET_API_VERSION(Ioctl.READ, 0x00, 8),
    /** Writes a u64. */
    VDUSE_SET_API_VERSION(Ioctl.WRITE, 0x01, 8),
    /** Writes a {@link DeviceConfig}. */
    VDUSE_CREATE_DEV(Ioctl.WRITE, 0x02, DeviceConfig.HEADER_BYTES),
    /** Writes a name of {@link DeviceConfig#NAME_BYTES}. */
    VDUSE_DESTROY_DEV(Ioctl.WRITE, 0x03, DeviceConfig.NAME_BYTES),

    // of /dev/vduse/NAME
    /** Reads and writes a {@link IotlbEntry}; the result is a descriptor. */
    VDUSE_IOTLB_GET_FD(Ioctl.READ | Ioctl.WRITE, 0x10, IotlbEntry.BYTES),
    /** Reads a u64: what the driver has accepted, 0 until it has. */
    VDUSE_DEV_GET_FEATURES(Ioctl.READ, 0x11, 8),
    /** Writes a {@link ConfigData}. */
    VDUSE_DEV_SET_CONFIG(Ioctl.WRITE, 0x12, ConfigData.HEADER_BYTES),
    /** Without argument. */
    VDUSE_DEV_INJECT_CONFIG_IRQ(0, 0x13, 0),
    /** Writes a {@link QueueSetup}. */
    VDUSE_VQ_SETUP(Ioctl.WRITE, 0x14, QueueSetup.BYTES),
    /** Reads and writes a {@link QueueInfo}. */
    VDUSE_VQ_GET_INFO(Ioctl.READ | Ioctl.WRITE, 0x15, QueueInfo.BYTES),
    /** Writes the queue's index and the number of an eventfd, -1 for none; a u32 each. */
    VDUSE_VQ_SETUP_KICKFD(Ioctl.WRITE, 0x16, 8),
    /** Writes the queue's index, a u32. */
    VDUSE_VQ_INJECT_IRQ(Ioctl.WRITE, 0x17, 4);

    // asm-generic/ioctl.h, as x86, ARM and RISC-V have it
    private static final int WRITE = 1;
    private static final int READ = 2;
    private static final int VDUSE_BASE = 0x81;

    private final long number;

    Ioctl(int direction, int number, int bytes) {
        this.number = (long) direction << 30 | (long) bytes << 16 | VDUSE_BASE << 8 | number;
    }

    /** The request number of ioctl(2). */
    public long number() {
        return number;
    }
}

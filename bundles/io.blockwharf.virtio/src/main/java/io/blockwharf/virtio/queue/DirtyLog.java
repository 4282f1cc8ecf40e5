package io.blockwharf.virtio.queue;

/** Learns which memory of the driver the device has written to (for live migration). */
@FunctionalInterface
public interface DirtyLog {
    /** No log. */
    DirtyLog NONE = (address, length) -> {};

    /** The device has written {@code length} bytes at a driver's address. */
    void written(long address, long length);
}

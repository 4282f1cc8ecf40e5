package io.blockwharf.virtio.queue;

/**
 * The driver broke the rules of a virtqueue, which cannot go on: the device needs a reset (VIRTIO
 * 1.3 section 2.1.2, DEVICE_NEEDS_RESET).
 */
public final class VirtqueueException extends Exception {
    private static final long serialVersionUID = 1;

    /** A violation, in words, with the section of VIRTIO 1.3. */
    public VirtqueueException(String message) {
        super(message);
    }
}

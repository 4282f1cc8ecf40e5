/**
 * The device side of virtqueues, VIRTIO 1.3 sections 2.6 to 2.8: split and packed rings in memory
 * that a driver shares.
 *
 * <p>The driver is not trusted. Every address is looked up in a {@link
 * io.blockwharf.virtio.queue.GuestMemory}, every index and length is checked before use, and each
 * value in shared memory is read exactly once. What breaks the rules of a ring throws {@link
 * io.blockwharf.virtio.queue.VirtqueueException}: the ring is broken until the driver resets it,
 * and nothing else is harmed.
 */
@Export
@Version("1.0.0")
package io.blockwharf.virtio.queue;

import org.osgi.annotation.bundle.Export;
import org.osgi.annotation.versioning.Version;

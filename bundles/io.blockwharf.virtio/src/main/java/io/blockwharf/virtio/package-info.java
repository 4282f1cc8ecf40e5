/** Device side of a virtqueue, and virtio-blk requests. */
package io.blockwharf.virtio;

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;

/**
 * The device side of a virtqueue. Owned by one thread; every method is called by it.
 *
 * <p>Life of a buffer: {@link #next} takes it, {@link #complete} gives it back, {@link #publish}
 * makes what was given back visible to the driver and tells whether the driver wants to be
 * notified. Buffers may be given back in any order, unless the driver wants them {@link #inOrder}.
 */
public abstract sealed class Virtqueue permits SplitQueue, PackedQueue {
    /** Feature bit VIRTIO_F_INDIRECT_DESC, section 6. */
    public static final long F_INDIRECT_DESC = 1L << 28;

    /** Feature bit VIRTIO_F_EVENT_IDX, section 6. */
    public static final long F_EVENT_IDX = 1L << 29;

    /** Feature bit VIRTIO_F_VERSION_1, section 6. */
    public static final long F_VERSION_1 = 1L << 32;

    /** Feature bit VIRTIO_F_RING_PACKED, section 6. */
    public static final long F_RING_PACKED = 1L << 34;

    /**
     * Feature bit VIRTIO_F_IN_ORDER, section 6: buffers have to be given back in the order in which
     * they were taken (2.7.9 and 2.8.8), which is the caller's to do.
     */
    public static final long F_IN_ORDER = 1L << 35;

    /** Flags of a descriptor, sections 2.7.5 and 2.8.1. */
    static final int DESC_NEXT = 1;

    static final int DESC_WRITE = 2;
    static final int DESC_INDIRECT = 4;

    static final int DESCRIPTOR_BYTES = 16;
    private static final int DESCRIPTOR_SHIFT = 4;

    /** Longer indirect tables than the largest ring are nonsense (2.7.5.3.1). */
    private static final int MAX_INDIRECT = 32768;

    final GuestMemory memory;
    final int size;
    final boolean eventIdx;
    final boolean indirect;
    private final long features;
    DirtyLog dirtyLog = DirtyLog.NONE;

    Virtqueue(GuestMemory memory, int size, long features) {
        this.memory = memory;
        this.size = size;
        this.features = features;
        this.eventIdx = (features & F_EVENT_IDX) != 0;
        this.indirect = (features & F_INDIRECT_DESC) != 0;
    }

    /** The number of ring entries. */
    public final int size() {
        return size;
    }

    /** Whether one of these feature bits was negotiated. */
    public final boolean negotiated(long bits) {
        return (features & bits) != 0;
    }

    /** Sends what the device writes to guest memory to a log from now on. */
    public final void dirtyLog(DirtyLog log) {
        dirtyLog = log;
    }

    /**
     * Keeps a log of the buffers in flight from now on, and takes up what an earlier process has
     * left in it: {@link #next} returns the buffers first that it had taken and not given back, in
     * their order, and goes on behind them. Where that process was, the log tells better than a
     * front end that has lost it. To be called before anything was taken.
     *
     * @param region {@link InFlightLog#byteSize} bytes of memory that outlives this process, all
     *     zeroes if the log is new
     * @throws VirtqueueException if the log is not one of such a queue
     */
    public abstract void log(MemorySegment region) throws VirtqueueException;

    /** Whether the driver has made a buffer available that was not taken yet. */
    public abstract boolean hasNext() throws VirtqueueException;

    /**
     * Takes the next available buffer.
     *
     * @return false if there is none
     * @throws VirtqueueException if the driver broke the rules; the queue is unusable then
     */
    public abstract boolean next(DescriptorChain chain) throws VirtqueueException;

    /**
     * Gives a buffer back.
     *
     * @param written how many bytes of the writable part were written, from its beginning
     */
    public abstract void complete(DescriptorChain chain, long written);

    /**
     * Makes everything given back visible to the driver.
     *
     * @return whether the driver wants a notification for it
     */
    public abstract boolean publish();

    /**
     * Asks the driver for a notification when it makes the next buffer available.
     *
     * @return false if one is available already, which will perhaps not be notified
     */
    public abstract boolean enableNotifications() throws VirtqueueException;

    /** Tells the driver that it need not notify: the device looks by itself. */
    public abstract void disableNotifications();

    /**
     * Where the device is in the ring, as vhost-user's GET_VRING_BASE and VDUSE's vq state have it:
     * split: the index of the next available entry; packed: bits 0-14 the available index, bit 15
     * its wrap counter, bits 16-30 the used index, bit 31 its wrap counter.
     */
    public abstract int position();

    /** Walks an indirect table, section 2.7.5.3. */
    final void addIndirect(DescriptorChain chain, long address, long length, boolean chained)
            throws VirtqueueException {
        if (!indirect) {
            throw new VirtqueueException("indirect descriptor was not negotiated (2.7.5.3.1)");
        }
        if (length == 0 || (length & DESCRIPTOR_BYTES - 1) != 0) {
            throw new VirtqueueException("indirect table of " + length + " bytes (2.7.5.3.1)");
        }
        long entries = length >>> DESCRIPTOR_SHIFT;
        if (entries > MAX_INDIRECT) {
            throw new VirtqueueException("indirect table of " + entries + " entries");
        }
        GuestMemory.Region region = memory.region("indirect table", address, length);
        MemorySegment table = region.bytes();
        long begin = address - region.address();
        long entry = 0;
        for (int seen = 0; ; ) {
            if (++seen > entries) {
                throw new VirtqueueException("indirect descriptors form a loop (2.7.5.3.1)");
            }
            long at = begin + entry * DESCRIPTOR_BYTES;
            long bufferAddress = table.get(Le.U64, at);
            long rest = table.get(Le.U64, at + 8);
            long bufferLength = rest & 0xffff_ffffL;
            int word = (int) (rest >>> 32);
            // Split: le16 flags, le16 next. Packed: le16 id, le16 flags, and no chaining by index.
            int flags = (chained ? word : word >>> 16) & 0xffff;
            if ((flags & DESC_INDIRECT) != 0) {
                throw new VirtqueueException("indirect table inside an indirect table (2.7.5.3.1)");
            }
            chain.add(memory, bufferAddress, bufferLength, (flags & DESC_WRITE) != 0);
            if (chained) {
                if ((flags & DESC_NEXT) == 0) {
                    return;
                }
                entry = word >>> 16;
                if (entry >= entries) {
                    throw new VirtqueueException("indirect next " + entry + " is out of range");
                }
            } else if (++entry == entries) {
                return;
            }
        }
    }
}

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;

/**
 * A split virtqueue, VIRTIO 1.3 section 2.7: descriptor table, available ring (written by the
 * driver) and used ring (written by the device).
 */
public final class SplitQueue extends Virtqueue {
    /** The largest queue size, section 2.7. */
    public static final int MAX_SIZE = 32768;

    private static final long AVAIL_FLAGS = 0;
    private static final long AVAIL_IDX = 2;
    private static final long AVAIL_RING = 4;
    private static final int AVAIL_F_NO_INTERRUPT = 1;

    private static final long USED_FLAGS = 0;
    private static final long USED_IDX = 2;
    private static final long USED_RING = 4;
    private static final int USED_ELEMENT_BYTES = 8;
    private static final short USED_F_NO_NOTIFY = 1;

    private final MemorySegment table;
    private final MemorySegment avail;
    private final MemorySegment used;
    private final long usedAddress;
    private final int mask;

    private short nextAvail;
    private short seenAvail;
    private short nextUsed;
    private short publishedUsed;

    /** Null if none is kept. */
    private SplitLog log;

    /** Buffers of {@link SplitLog#pending} that are taken again already, or all. */
    private int resumed;

    private int pending;

    /**
     * Takes a ring into service.
     *
     * @param size ring entries, a power of two up to {@value #MAX_SIZE}
     * @param features the negotiated feature bits
     * @param descriptorTable the driver's address of the descriptor table
     * @param availableRing the driver's address of the available ring
     * @param usedRing the driver's address of the used ring
     * @param position the index of the next available entry, see {@link #position}
     * @throws VirtqueueException if a part of the ring is not in shared memory
     */
    public SplitQueue(
            GuestMemory memory,
            int size,
            long features,
            long descriptorTable,
            long availableRing,
            long usedRing,
            int position)
            throws VirtqueueException {
        super(memory, size, features);
        if (size < 1 || size > MAX_SIZE || Integer.bitCount(size) != 1) {
            throw new VirtqueueException("queue size " + size + " (2.7)");
        }
        // Section 2.7, table of alignments; the trailing event words exist even when unused.
        table =
                memory.slice(
                        "descriptor table",
                        descriptorTable,
                        (long) DESCRIPTOR_BYTES * size,
                        16,
                        false);
        avail = memory.slice("available ring", availableRing, 6 + 2L * size, 2, false);
        used = memory.slice("used ring", usedRing, 6 + (long) USED_ELEMENT_BYTES * size, 4, true);
        usedAddress = usedRing;
        mask = size - 1;
        nextAvail = (short) position;
        seenAvail = nextAvail;
        // What was completed before is what the used ring says, so that a ring can be taken over.
        nextUsed = used.get(Le.U16, USED_IDX);
        publishedUsed = nextUsed;
    }

    @Override
    public void log(MemorySegment region) throws VirtqueueException {
        log = new SplitLog(region, size, nextUsed & 0xffff);
        pending = log.pending().length;
        nextAvail = (short) (nextUsed + pending);
        seenAvail = nextAvail;
    }

    @Override
    public boolean hasNext() throws VirtqueueException {
        if (nextAvail != seenAvail || resumed < pending) {
            return true;
        }
        // Pairs with the driver's barrier before it updates idx (2.7.13.3): the entries and
        // descriptors up to idx are read after idx.
        seenAvail = (short) Le.ATOMIC_16.getAcquire(avail, AVAIL_IDX);
        int pending = (seenAvail - nextAvail) & 0xffff;
        if (pending > size) {
            throw new VirtqueueException("available index jumped by " + pending + " (2.7.6)");
        }
        return pending != 0;
    }

    @Override
    public boolean next(DescriptorChain chain) throws VirtqueueException {
        if (!hasNext()) {
            return false;
        }
        if (resumed < pending) {
            take(log.pending()[resumed++], chain);
            return true;
        }
        int head = avail.get(Le.U16, AVAIL_RING + 2L * (nextAvail & mask)) & 0xffff;
        take(head, chain);
        if (log != null) {
            log.taken(head);
        }
        nextAvail++;
        return true;
    }

    /** Reads the chain that begins at a descriptor. */
    private void take(int head, DescriptorChain chain) throws VirtqueueException {
        chain.clear();
        chain.id = head;
        int index = head;
        for (int seen = 1; ; seen++) {
            if (index >= size) {
                throw new VirtqueueException("descriptor index " + index + " (2.7.5)");
            }
            if (seen > size) {
                throw new VirtqueueException("descriptors form a loop (2.7.5.2)");
            }
            long at = (long) DESCRIPTOR_BYTES * index;
            long address = table.get(Le.U64, at);
            long rest = table.get(Le.U64, at + 8); // le32 len, le16 flags, le16 next
            long length = rest & 0xffff_ffffL;
            int word = (int) (rest >>> 32);
            int flags = word & 0xffff;
            if ((flags & DESC_INDIRECT) != 0) {
                if ((flags & DESC_NEXT) != 0) {
                    throw new VirtqueueException("indirect and next together (2.7.5.3.1)");
                }
                addIndirect(chain, address, length, true);
                return;
            }
            chain.add(memory, address, length, (flags & DESC_WRITE) != 0);
            if ((flags & DESC_NEXT) == 0) {
                return;
            }
            index = word >>> 16;
        }
    }

    @Override
    public void complete(DescriptorChain chain, long written) {
        long at = USED_RING + (long) USED_ELEMENT_BYTES * (nextUsed & mask);
        if (log != null) {
            log.completing(chain.id);
        }
        used.set(Le.U32, at, chain.id);
        used.set(Le.U32, at + 4, (int) written);
        nextUsed++;
        if (dirtyLog != DirtyLog.NONE) {
            chain.logAll(dirtyLog);
            dirtyLog.written(usedAddress + at, USED_ELEMENT_BYTES);
        }
    }

    @Override
    public boolean publish() {
        if (nextUsed == publishedUsed) {
            return false;
        }
        short old = publishedUsed;
        publishedUsed = nextUsed;
        if (log != null) {
            log.publishing();
        }
        // Elements first, then idx: pairs with the driver's read barrier (2.7.14).
        Le.release16(used, USED_IDX, nextUsed);
        if (log != null) {
            log.published(nextUsed & 0xffff);
        }
        if (dirtyLog != DirtyLog.NONE) {
            dirtyLog.written(usedAddress + USED_IDX, 2);
        }
        // The driver enables notifications, then looks at idx; we write idx, then look whether they
        // are enabled. Both need a full barrier in between (2.7.7.2).
        VarHandle.fullFence();
        if (eventIdx) {
            short event = (short) Le.ATOMIC_16.getOpaque(avail, AVAIL_RING + 2L * size);
            return ((nextUsed - event - 1) & 0xffff) < ((nextUsed - old) & 0xffff);
        }
        return ((short) Le.ATOMIC_16.getOpaque(avail, AVAIL_FLAGS) & AVAIL_F_NO_INTERRUPT) == 0;
    }

    @Override
    public boolean enableNotifications() throws VirtqueueException {
        if (eventIdx) {
            Le.release16(used, USED_RING + (long) USED_ELEMENT_BYTES * size, nextAvail);
        } else {
            Le.release16(used, USED_FLAGS, (short) 0);
        }
        VarHandle.fullFence(); // enable, then look again (2.7.10.1)
        return !hasNext();
    }

    @Override
    public void disableNotifications() {
        if (!eventIdx) {
            Le.release16(used, USED_FLAGS, USED_F_NO_NOTIFY);
        }
        // With event indices an index that is not moved on is never reached again (2.7.10).
    }

    @Override
    public int position() {
        return nextAvail & 0xffff;
    }
}

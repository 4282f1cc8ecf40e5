package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;

/**
 * A packed virtqueue, VIRTIO 1.3 section 2.8: one ring of descriptors that driver and device write
 * in turn, and one event suppression structure of each.
 */
public final class PackedQueue extends Virtqueue {
    /** The largest queue size, section 2.8. */
    public static final int MAX_SIZE = 32768;

    private static final int DESC_AVAIL = 1 << 7;
    private static final int DESC_USED = 1 << 15;

    private static final int EVENT_ENABLE = 0;
    private static final int EVENT_DISABLE = 1;
    private static final int EVENT_DESC = 2;

    private final MemorySegment ring;
    private final MemorySegment driverEvent;
    private final MemorySegment deviceEvent;
    private final long ringAddress;

    private int availIndex;
    private boolean availWrap;
    private int usedIndex;
    private boolean usedWrap;

    private int publishedIndex;
    private boolean publishedWrap;
    private int unpublishedSlots;
    private short firstFlags;

    /** Descriptors of the ring that were taken and not given back. */
    private int slotsInFlight;

    /** Null if none is kept. */
    private PackedLog log;

    /** Buffers of {@link PackedLog#pending} that are taken again already. */
    private int resumed;

    private int pending;

    /**
     * Takes a ring into service.
     *
     * @param size ring entries, 1 to {@value #MAX_SIZE}
     * @param features the negotiated feature bits
     * @param descriptorRing the driver's address of the ring
     * @param driverArea the driver's address of its event suppression structure
     * @param deviceArea the driver's address of the device's event suppression structure
     * @param position see {@link #position}
     * @throws VirtqueueException if a part of the ring is not in shared memory
     */
    public PackedQueue(
            GuestMemory memory,
            int size,
            long features,
            long descriptorRing,
            long driverArea,
            long deviceArea,
            int position)
            throws VirtqueueException {
        super(memory, size, features);
        if (size < 1 || size > MAX_SIZE) {
            throw new VirtqueueException("queue size " + size + " (2.8)");
        }
        // Section 2.8.10.1, table of alignments.
        ring =
                memory.slice(
                        "descriptor ring",
                        descriptorRing,
                        (long) DESCRIPTOR_BYTES * size,
                        16,
                        true);
        driverEvent = memory.slice("driver event suppression", driverArea, 4, 4, false);
        deviceEvent = memory.slice("device event suppression", deviceArea, 4, 4, true);
        ringAddress = descriptorRing;
        availIndex = position & 0x7fff;
        availWrap = (position & 0x8000) != 0;
        usedIndex = (position >>> 16) & 0x7fff;
        usedWrap = position < 0;
        if (availIndex >= size || usedIndex >= size) {
            throw new VirtqueueException("ring position 0x" + Integer.toHexString(position));
        }
        publishedIndex = usedIndex;
        publishedWrap = usedWrap;
    }

    private static long at(int index) {
        return (long) DESCRIPTOR_BYTES * index;
    }

    @Override
    public void log(MemorySegment region) throws VirtqueueException {
        log = new PackedLog(region, ring, size, usedIndex, usedWrap);
        usedIndex = log.usedIndex();
        usedWrap = log.usedWrap();
        publishedIndex = usedIndex;
        publishedWrap = usedWrap;
        pending = log.pending().size();
        for (int first : log.pending()) {
            slotsInFlight += log.descriptors(first).size();
        }
        availIndex = usedIndex + slotsInFlight;
        availWrap = usedWrap;
        if (availIndex >= size) {
            availIndex -= size;
            availWrap = !availWrap;
        }
    }

    @Override
    public boolean hasNext() {
        if (resumed < pending) {
            return true;
        }
        // The flags make the rest of the descriptor valid (2.8.20): acquire.
        int flags = (short) Le.ATOMIC_16.getAcquire(ring, at(availIndex) + 14);
        return isAvailable(flags, availWrap);
    }

    static boolean isAvailable(int flags, boolean wrap) {
        boolean avail = (flags & DESC_AVAIL) != 0;
        boolean used = (flags & DESC_USED) != 0;
        return avail == wrap && used != wrap; // 2.8.1
    }

    @Override
    public boolean next(DescriptorChain chain) throws VirtqueueException {
        if (!hasNext()) {
            return false;
        }
        chain.clear();
        if (resumed < pending) {
            takeAgain(log.pending().get(resumed++), chain);
            return true;
        }
        int index = availIndex;
        boolean wrap = availWrap;
        for (int seen = 1; ; seen++) {
            if (slotsInFlight + seen > size) {
                throw new VirtqueueException("more descriptors than the ring has (2.8.17)");
            }
            long address = ring.get(Le.U64, at(index));
            long rest = ring.get(Le.U64, at(index) + 8); // le32 len, le16 id, le16 flags
            long length = rest & 0xffff_ffffL;
            int word = (int) (rest >>> 32);
            if (++index == size) {
                index = 0;
                wrap = !wrap;
            }
            if (log != null) {
                log.take(address, length, word);
            }
            if (add(chain, address, length, word, seen)) {
                availIndex = index;
                availWrap = wrap;
                slotsInFlight += seen;
                if (log != null) {
                    chain.logEntry = log.taken();
                }
                return true;
            }
        }
    }

    /** A buffer that was in flight when an earlier process died: the ring has it no more. */
    private void takeAgain(int first, DescriptorChain chain) throws VirtqueueException {
        chain.logEntry = first;
        int seen = 0;
        for (PackedLog.Descriptor each : log.descriptors(first)) {
            int word = each.id() | each.flags() << 16;
            if (add(chain, each.address(), each.length(), word, ++seen)) {
                return;
            }
        }
        throw new VirtqueueException("in-flight log with an endless buffer");
    }

    /**
     * Adds a descriptor to a chain.
     *
     * @param word its id and flags
     * @param seen how many it has with this one
     * @return whether it was the last one
     */
    private boolean add(DescriptorChain chain, long address, long length, int word, int seen)
            throws VirtqueueException {
        int flags = word >>> 16;
        chain.descriptors = seen;
        if ((flags & DESC_INDIRECT) != 0) {
            if ((flags & DESC_NEXT) != 0 || seen > 1) {
                throw new VirtqueueException("indirect and next together (2.8.7)");
            }
            addIndirect(chain, address, length, false);
        } else {
            chain.add(memory, address, length, (flags & DESC_WRITE) != 0);
        }
        if ((flags & DESC_NEXT) != 0) {
            return false;
        }
        chain.id = word & 0xffff; // the last descriptor of a chain has its id (2.8.6)
        if (chain.id >= size) {
            throw new VirtqueueException("buffer id " + chain.id);
        }
        return true;
    }

    @Override
    public void complete(DescriptorChain chain, long written) {
        long at = at(usedIndex);
        ring.set(Le.U32, at + 8, (int) written);
        ring.set(Le.U16, at + 12, (short) chain.id);
        // 2.8.1: both bits as the used wrap counter; WRITE tells that the length is valid (2.8.5).
        short flags =
                (short) ((usedWrap ? DESC_AVAIL | DESC_USED : 0) | (written > 0 ? DESC_WRITE : 0));
        usedIndex += chain.slots();
        if (usedIndex >= size) {
            usedIndex -= size;
            usedWrap = !usedWrap;
        }
        if (log != null) {
            log.returning(chain.logEntry, usedIndex, usedWrap);
            Le.release16(ring, at + 14, flags);
            log.returned(chain.logEntry);
        } else if (unpublishedSlots == 0) {
            firstFlags = flags; // written last, by publish: it opens the batch to the driver
        } else {
            ring.set(Le.U16, at + 14, flags);
        }
        unpublishedSlots += chain.slots();
        slotsInFlight -= chain.slots();
        if (dirtyLog != DirtyLog.NONE) {
            chain.logAll(dirtyLog);
            dirtyLog.written(ringAddress + at, DESCRIPTOR_BYTES);
        }
    }

    @Override
    public boolean publish() {
        if (unpublishedSlots == 0) {
            return false;
        }
        if (log == null) {
            // The driver reads descriptors in ring order and stops at the first that is not used,
            // so the first one's flags, written with release, publish all that follows it.
            Le.release16(ring, at(publishedIndex) + 14, firstFlags);
        }
        int oldIndex = publishedIndex;
        publishedIndex = usedIndex;
        publishedWrap = usedWrap;
        int slots = unpublishedSlots;
        unpublishedSlots = 0;
        VarHandle.fullFence(); // publish, then look whether the driver wants to know (2.8.21.3.1)
        int event = driverEvent.get(Le.U32, 0);
        return switch ((event >>> 16) & 3) {
            case EVENT_ENABLE -> true;
            case EVENT_DISABLE -> false;
            case EVENT_DESC -> {
                if (!eventIdx) {
                    yield true;
                }
                // The event lies among the slots just published (2.8.10): distance from the old
                // position, going round the ring at most once.
                int wanted = event & 0x7fff;
                boolean wantedWrap = (event & 0x8000) != 0;
                int distance = wanted - oldIndex;
                boolean oldWrap = oldIndex + slots >= size ? !publishedWrap : publishedWrap;
                if (wantedWrap != oldWrap) {
                    distance += size;
                }
                yield distance >= 0 && distance < slots;
            }
            default -> true;
        };
    }

    @Override
    public boolean enableNotifications() {
        if (eventIdx) {
            deviceEvent.set(Le.U16, 0, (short) (availIndex | (availWrap ? 0x8000 : 0)));
            Le.release16(deviceEvent, 2L, (short) EVENT_DESC);
        } else {
            Le.release16(deviceEvent, 2L, (short) EVENT_ENABLE);
        }
        VarHandle.fullFence(); // enable, then look again (2.8.21.1)
        return !hasNext();
    }

    @Override
    public void disableNotifications() {
        Le.release16(deviceEvent, 2L, (short) EVENT_DISABLE);
    }

    @Override
    public int position() {
        return availIndex
                | (availWrap ? 0x8000 : 0)
                | usedIndex << 16
                | (usedWrap ? 0x8000_0000 : 0);
    }
}

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The driver side of a virtqueue in {@link SharedMemory}, written from the driver's sections of
 * VIRTIO 1.3 (2.7.13 and 2.8.21), so that a test sees the ring as a guest does. Ring parts lie at
 * the beginning of the first region; buffers are the test's own.
 */
public abstract sealed class FakeVirtqueue {
    /** A part of a buffer: the driver's address, the length in bytes, who writes it. */
    public record Part(long address, long length, boolean deviceWrites) {}

    /** A buffer that the device has given back. */
    public record Used(int id, long written) {}

    final MemorySegment bytes;
    final int size;

    FakeVirtqueue(MemorySegment bytes, int size) {
        this.bytes = bytes;
        this.size = size;
    }

    /** Where buffers may begin: behind the ring, page-aligned. */
    public static final long BUFFERS = SharedMemory.BASE + 0x40000;

    /** Makes a buffer available and returns its id. */
    public abstract int add(List<Part> parts);

    /**
     * Makes a buffer available whose parts are in an indirect table, and returns its id.
     *
     * @param table where the table goes, the driver's address in the first region; it has to stay
     *     there until the device has taken the buffer
     */
    public abstract int addIndirect(long table, List<Part> parts);

    /** Takes the next buffer that was given back. */
    public abstract Optional<Used> poll();

    /** Whether the device wants to be notified of what was just added. */
    public abstract boolean kickWanted();

    /** Asks for an interrupt (or not). */
    public abstract void wantInterrupts(boolean wanted);

    /**
     * Asks for an interrupt at the buffer that is given back after {@code more} others. Needs event
     * indices, and buffers of one ring entry each.
     */
    public abstract void wantInterruptAfter(int more);

    /** Writes an entry of an indirect table: the last word is flags and next, or id and flags. */
    final void entry(long table, int index, Part part, int word) {
        long at = table - SharedMemory.BASE + 16L * index;
        bytes.set(Le.U64, at, part.address);
        bytes.set(Le.U32, at + 8, (int) part.length);
        bytes.set(Le.U32, at + 12, word);
    }

    /** A split ring. */
    public static final class Split extends FakeVirtqueue {
        static final long TABLE = 0;

        /** Where the available ring lies in the memory. */
        public final long avail;

        /** Where the used ring lies in the memory. */
        public final long used;

        private final boolean eventIdx;
        private final ArrayDeque<Integer> free = new ArrayDeque<>();
        private final List<List<Integer>> chains = new ArrayList<>();
        private short availIdx;
        private short lastUsed;
        private short kickedIdx;

        /** A ring in memory that lies at {@link SharedMemory#BASE}. */
        public Split(MemorySegment bytes, int size, long features) {
            super(bytes, size);
            avail = TABLE + 16L * size;
            used = (avail + 6 + 2L * size + 4095) & ~4095L;
            eventIdx = (features & Virtqueue.F_EVENT_IDX) != 0;
            for (int i = 0; i < size; i++) {
                free.add(i);
                chains.add(List.of());
            }
        }

        /** The device side of this ring. */
        public SplitQueue device(SharedMemory memory, long features, int position)
                throws VirtqueueException {
            return new SplitQueue(
                    memory,
                    size,
                    features,
                    SharedMemory.BASE + TABLE,
                    SharedMemory.BASE + avail,
                    SharedMemory.BASE + used,
                    position);
        }

        /** Writes a raw descriptor. */
        public void descriptor(int index, long address, long length, int flags, int next) {
            bytes.set(Le.U64, TABLE + 16L * index, address);
            bytes.set(Le.U32, TABLE + 16L * index + 8, (int) length);
            bytes.set(Le.U16, TABLE + 16L * index + 12, (short) flags);
            bytes.set(Le.U16, TABLE + 16L * index + 14, (short) next);
        }

        /** Makes a raw head available. */
        public void available(int head) {
            bytes.set(Le.U16, avail + 4 + 2L * (availIdx & (size - 1)), (short) head);
            availableIndex(++availIdx);
        }

        /** Writes a raw available index. */
        public void availableIndex(int index) {
            availIdx = (short) index;
            Le.ATOMIC_16.setRelease(bytes, avail + 2, availIdx);
        }

        @Override
        public int add(List<Part> parts) {
            var chain = new ArrayList<Integer>();
            parts.forEach(_ -> chain.add(free.remove()));
            for (int i = 0; i < parts.size(); i++) {
                Part part = parts.get(i);
                boolean more = i + 1 < parts.size();
                descriptor(
                        chain.get(i),
                        part.address,
                        part.length,
                        (part.deviceWrites ? 2 : 0) | (more ? 1 : 0),
                        more ? chain.get(i + 1) : 0);
            }
            chains.set(chain.get(0), chain);
            available(chain.get(0));
            return chain.get(0);
        }

        @Override
        public int addIndirect(long table, List<Part> parts) {
            for (int i = 0; i < parts.size(); i++) {
                boolean more = i + 1 < parts.size();
                int flags = (parts.get(i).deviceWrites ? 2 : 0) | (more ? 1 : 0);
                entry(table, i, parts.get(i), flags | (more ? i + 1 << 16 : 0));
            }
            int head = free.remove();
            descriptor(head, table, 16L * parts.size(), 4, 0);
            chains.set(head, List.of(head));
            available(head);
            return head;
        }

        @Override
        public Optional<Used> poll() {
            short idx = (short) Le.ATOMIC_16.getAcquire(bytes, used + 2);
            if (idx == lastUsed) {
                return Optional.empty();
            }
            long at = used + 4 + 8L * (lastUsed++ & (size - 1));
            int id = bytes.get(Le.U32, at);
            free.addAll(chains.get(id));
            chains.set(id, List.of());
            if (eventIdx) {
                bytes.set(Le.U16, avail + 4 + 2L * size, lastUsed);
            }
            return Optional.of(new Used(id, Integer.toUnsignedLong(bytes.get(Le.U32, at + 4))));
        }

        @Override
        public boolean kickWanted() {
            short old = kickedIdx;
            kickedIdx = availIdx;
            if (eventIdx) {
                short event = bytes.get(Le.U16, used + 4 + 8L * size);
                return ((availIdx - event - 1) & 0xffff) < ((availIdx - old) & 0xffff);
            }
            return (bytes.get(Le.U16, used) & 1) == 0;
        }

        @Override
        public void wantInterrupts(boolean wanted) {
            if (eventIdx) {
                bytes.set(
                        Le.U16, avail + 4 + 2L * size, (short) (wanted ? lastUsed : lastUsed - 1));
            } else {
                bytes.set(Le.U16, avail, (short) (wanted ? 0 : 1));
            }
        }

        @Override
        public void wantInterruptAfter(int more) {
            bytes.set(Le.U16, avail + 4 + 2L * size, (short) (lastUsed + more));
        }
    }

    /** A packed ring. */
    public static final class Packed extends FakeVirtqueue {
        private static final long DRIVER_AREA = 0x30000;
        private static final long DEVICE_AREA = 0x30010;
        private final int[] slotsOf;
        private final ArrayDeque<Integer> freeIds = new ArrayDeque<>();
        private final boolean eventIdx;
        private int availIndex;
        private boolean availWrap = true;
        private int usedIndex;
        private boolean usedWrap = true;
        private int freeSlots;
        private int kickedIndex;
        private int added;

        /** A ring in memory that lies at {@link SharedMemory#BASE}. */
        public Packed(MemorySegment bytes, int size, long features) {
            super(bytes, size);
            slotsOf = new int[size];
            freeSlots = size;
            eventIdx = (features & Virtqueue.F_EVENT_IDX) != 0;
            for (int i = 0; i < size; i++) {
                freeIds.add(i);
            }
        }

        /** The device side of this ring. */
        public PackedQueue device(SharedMemory memory, long features, int position)
                throws VirtqueueException {
            return new PackedQueue(
                    memory,
                    size,
                    features,
                    SharedMemory.BASE,
                    SharedMemory.BASE + DRIVER_AREA,
                    SharedMemory.BASE + DEVICE_AREA,
                    position);
        }

        /** Writes a raw descriptor; bit 7 of its flags makes it available in the first round. */
        public void descriptor(int index, long address, long length, int id, int flags) {
            bytes.set(Le.U64, 16L * index, address);
            bytes.set(Le.U32, 16L * index + 8, (int) length);
            bytes.set(Le.U16, 16L * index + 12, (short) id);
            bytes.set(Le.U16, 16L * index + 14, (short) flags);
        }

        @Override
        public int add(List<Part> parts) {
            return add(parts, 0);
        }

        @Override
        public int addIndirect(long table, List<Part> parts) {
            for (int i = 0; i < parts.size(); i++) {
                entry(table, i, parts.get(i), parts.get(i).deviceWrites ? 2 << 16 : 0);
            }
            return add(List.of(new Part(table, 16L * parts.size(), false)), 4);
        }

        private int add(List<Part> parts, int indirect) {
            if (parts.size() > freeSlots) {
                throw new IllegalStateException("ring is full");
            }
            int id = freeIds.remove();
            slotsOf[id] = parts.size();
            freeSlots -= parts.size();
            int first = availIndex;
            short firstFlags = 0;
            for (int i = 0; i < parts.size(); i++) {
                Part part = parts.get(i);
                long at = 16L * availIndex;
                bytes.set(Le.U64, at, part.address);
                bytes.set(Le.U32, at + 8, (int) part.length);
                bytes.set(Le.U16, at + 12, (short) id);
                short flags =
                        (short)
                                ((availWrap ? 1 << 7 : 1 << 15)
                                        | indirect
                                        | (part.deviceWrites ? 2 : 0)
                                        | (i + 1 < parts.size() ? 1 : 0));
                if (i == 0) {
                    firstFlags = flags;
                } else {
                    bytes.set(Le.U16, at + 14, flags);
                }
                if (++availIndex == size) {
                    availIndex = 0;
                    availWrap = !availWrap;
                }
            }
            added += parts.size();
            Le.ATOMIC_16.setRelease(bytes, 16L * first + 14, firstFlags);
            return id;
        }

        @Override
        public Optional<Used> poll() {
            int flags = (short) Le.ATOMIC_16.getAcquire(bytes, 16L * usedIndex + 14);
            boolean avail = (flags & 1 << 7) != 0;
            boolean used = (flags & 1 << 15) != 0;
            if (avail != usedWrap || used != usedWrap) {
                return Optional.empty();
            }
            long at = 16L * usedIndex;
            int id = bytes.get(Le.U16, at + 12);
            long written = Integer.toUnsignedLong(bytes.get(Le.U32, at + 8));
            usedIndex += slotsOf[id];
            freeSlots += slotsOf[id];
            freeIds.add(id);
            if (usedIndex >= size) {
                usedIndex -= size;
                usedWrap = !usedWrap;
            }
            wantInterrupts(true);
            return Optional.of(new Used(id, written));
        }

        @Override
        public boolean kickWanted() {
            int event = bytes.get(Le.U32, DEVICE_AREA);
            int slots = added;
            added = 0;
            int old = kickedIndex;
            kickedIndex = availIndex;
            return switch (event >>> 16 & 3) {
                case 0 -> true;
                case 1 -> false;
                default -> {
                    int distance = Math.floorMod((event & 0x7fff) - old, size);
                    yield distance < slots;
                }
            };
        }

        @Override
        public void wantInterrupts(boolean wanted) {
            int flags = wanted ? (eventIdx ? 2 : 0) : 1;
            int position = usedIndex | (usedWrap ? 0x8000 : 0);
            bytes.set(Le.U32, DRIVER_AREA, flags << 16 | position);
        }

        @Override
        public void wantInterruptAfter(int more) {
            int at = usedIndex + more;
            boolean wrap = at < size == usedWrap;
            int position = (at < size ? at : at - size) | (wrap ? 0x8000 : 0);
            bytes.set(Le.U32, DRIVER_AREA, 2 << 16 | position);
        }
    }
}

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * The log of a packed queue: {@code QueueRegionPacked}. The device overwrites descriptors when it
 * gives buffers back, also those of others that are in flight; so the log has copies. Its entries
 * are either linked with the other descriptors of a buffer, or in a list of free ones.
 *
 * <p>Everything about to change has an old value besides: a process that died between two stores is
 * rolled back to the old ones, or forward if the driver can see the new state already.
 */
final class PackedLog extends InFlightLog {
    private static final long FREE_HEAD = 12;
    private static final long OLD_FREE_HEAD = 14;

    /**
     * Two indices and two wrap counters, new and old in turn: {@code le16 used_idx, old_used_idx;
     * u8 used_wrap_counter, old_used_wrap_counter}. Stored as one word, because an index and its
     * counter make sense together only.
     */
    private static final long USED = 16;

    static final long ENTRIES = 32;
    static final int ENTRY_BYTES = 32;
    private static final long ENTRY_INFLIGHT = 0;
    private static final long ENTRY_NEXT = 2;
    private static final long ENTRY_LAST = 4;
    private static final long ENTRY_NUM = 6;
    private static final long ENTRY_COUNTER = 8;
    private static final long ENTRY_ID = 16;
    private static final long ENTRY_FLAGS = 18;
    private static final long ENTRY_LENGTH = 20;
    private static final long ENTRY_ADDRESS = 24;

    /** A descriptor of a buffer to be executed again. */
    record Descriptor(long address, long length, int id, int flags) {}

    // What the shared memory has been told, not to be read from there again
    private final int[] next;
    private final int[] last;
    private int freeHead;

    /** The entry at which the buffer begins that is being taken. */
    private int head;

    private int descriptors;

    private final List<Integer> pending = new ArrayList<>();
    private int usedIndex;
    private boolean usedWrap;
    private long oldUsed;

    /**
     * Opens the log of a queue and corrects what the death of a process between two stores left
     * behind.
     *
     * @param region all zeroes if the log is new
     * @param ring the descriptor ring
     * @param usedIndex where the device goes on to give back, if the log is new
     * @param usedWrap its wrap counter
     * @throws VirtqueueException if the log is not one of such a queue
     */
    PackedLog(
            MemorySegment region,
            MemorySegment ring,
            int queueSize,
            int usedIndex,
            boolean usedWrap)
            throws VirtqueueException {
        super(region, queueSize);
        next = new int[size];
        last = new int[size];
        this.usedIndex = usedIndex;
        this.usedWrap = usedWrap;
        if (isNew()) {
            for (int i = 0; i < size; i++) {
                region.set(U8, entry(i) + ENTRY_INFLIGHT, (byte) 0);
                link(i, i + 1);
            }
            setUsed(usedIndex, usedWrap);
            setFreeHead(0);
            keep();
            begin();
        } else {
            recover(ring);
        }
    }

    private static long entry(int i) {
        return ENTRIES + (long) ENTRY_BYTES * i;
    }

    private void link(int from, int to) {
        next[from] = to;
        region.set(Le.U16, entry(from) + ENTRY_NEXT, (short) to);
    }

    private void setFreeHead(int value) {
        freeHead = value;
        region.set(Le.U16, FREE_HEAD, (short) value);
    }

    private void setUsed(int index, boolean wrap) {
        usedIndex = index;
        usedWrap = wrap;
        Le.ATOMIC_64.setRelease(region, USED, used() | oldUsed);
    }

    private long used() {
        return usedIndex | (usedWrap ? 1L << 32 : 0);
    }

    /** The new values become the old ones. */
    private void keep() {
        VarHandle.releaseFence();
        region.set(Le.U16, OLD_FREE_HEAD, (short) freeHead);
        oldUsed = (long) usedIndex << 16 | (usedWrap ? 1L << 40 : 0);
        Le.ATOMIC_64.setRelease(region, USED, used() | oldUsed);
        head = freeHead;
        descriptors = 0;
    }

    /** "When reconnecting". */
    private void recover(MemorySegment ring) throws VirtqueueException {
        long used = region.get(Le.U64, USED);
        int newIndex = (int) used & 0xffff;
        int index = (int) used >>> 16;
        boolean newWrap = (used & 1L << 32) != 0;
        boolean wrap = (used & 1L << 40) != 0;
        int free = region.get(Le.U16, OLD_FREE_HEAD) & 0xffff;
        if (index >= size || newIndex >= size) {
            throw damaged();
        }
        // A buffer that fills the ring moves the index to where it was, but flips the counter.
        if (index != newIndex || wrap != newWrap) {
            int flags = ring.get(Le.U16, (long) Virtqueue.DESCRIPTOR_BYTES * index + 14);
            if (!PackedQueue.isAvailable(flags, wrap)) { // the driver can see it
                index = newIndex;
                wrap = newWrap;
                free = region.get(Le.U16, FREE_HEAD) & 0xffff;
            }
        }
        setUsed(index, wrap);
        for (int i = 0; i < size; i++) {
            next[i] = region.get(Le.U16, entry(i) + ENTRY_NEXT) & 0xffff;
            last[i] = region.get(Le.U16, entry(i) + ENTRY_LAST) & 0xffff;
        }
        var seen = new boolean[size];
        int count = 0;
        for (int i = free; i != size; i = next[i]) {
            see(i, seen);
            count++;
            region.set(U8, entry(i) + ENTRY_INFLIGHT, (byte) 0); // was not taken to the end
        }
        for (int i = 0; i < size; i++) {
            if (region.get(U8, entry(i) + ENTRY_INFLIGHT) == 1) {
                count += checkBuffer(i, seen);
                pending.add(i);
                counter = Math.max(counter, region.get(Le.U64, entry(i) + ENTRY_COUNTER) + 1);
            }
        }
        if (count != size) {
            throw damaged();
        }
        var order = new long[size];
        pending.forEach(i -> order[i] = region.get(Le.U64, entry(i) + ENTRY_COUNTER));
        pending.sort(Comparator.comparingLong(i -> order[i]));
        setFreeHead(free);
        keep();
    }

    private VirtqueueException damaged() {
        return new VirtqueueException("in-flight log is damaged");
    }

    private void see(int i, boolean[] seen) throws VirtqueueException {
        if (i >= size || seen[i]) {
            throw damaged();
        }
        seen[i] = true;
    }

    /** Checks the entries of a buffer and counts them. */
    private int checkBuffer(int first, boolean[] seen) throws VirtqueueException {
        int count = 1;
        see(first, seen);
        for (int i = first; i != last[first]; count++) {
            i = next[i];
            see(i, seen);
        }
        if (count != (region.get(Le.U16, entry(first) + ENTRY_NUM) & 0xffff)) {
            throw damaged();
        }
        return count;
    }

    /** Heads of the buffers to be executed again, in the order in which they were taken. */
    List<Integer> pending() {
        return pending;
    }

    /** The descriptors of a buffer to be executed again. */
    List<Descriptor> descriptors(int first) {
        var all = new ArrayList<Descriptor>();
        for (int i = first; ; i = next[i]) {
            long at = entry(i);
            all.add(
                    new Descriptor(
                            region.get(Le.U64, at + ENTRY_ADDRESS),
                            Integer.toUnsignedLong(region.get(Le.U32, at + ENTRY_LENGTH)),
                            region.get(Le.U16, at + ENTRY_ID) & 0xffff,
                            region.get(Le.U16, at + ENTRY_FLAGS) & 0xffff));
            if (i == last[first]) {
                return all;
            }
        }
    }

    /** Where the device goes on to give back. */
    int usedIndex() {
        return usedIndex;
    }

    boolean usedWrap() {
        return usedWrap;
    }

    /**
     * Takes the next descriptor of a buffer. There are never more in flight than the ring has.
     *
     * @param word its last four bytes: id and flags
     */
    void take(long address, long length, int word) {
        long first = entry(head);
        if (descriptors == 0) {
            region.set(Le.U64, first + ENTRY_COUNTER, counter++);
            region.set(U8, first + ENTRY_INFLIGHT, (byte) 1);
        }
        last[head] = freeHead;
        region.set(Le.U16, first + ENTRY_LAST, (short) freeHead);
        region.set(Le.U16, first + ENTRY_NUM, (short) ++descriptors);
        long at = entry(freeHead);
        region.set(Le.U64, at + ENTRY_ADDRESS, address);
        region.set(Le.U32, at + ENTRY_LENGTH, (int) length);
        region.set(Le.U32, at + ENTRY_ID, word);
        setFreeHead(next[freeHead]);
    }

    /**
     * The descriptor that was taken last was the buffer's last.
     *
     * @return by what the buffer is given back
     */
    int taken() {
        int first = head;
        keep();
        return first;
    }

    /**
     * To be called right before the driver can see that a buffer is given back. One after the
     * other: of several that become visible together the log could not tell which ones have.
     *
     * @param first what {@link #taken} has answered
     * @param index where the device goes on behind it
     */
    void returning(int first, int index, boolean wrap) {
        link(last[first], freeHead);
        setFreeHead(first);
        setUsed(index, wrap);
        VarHandle.releaseFence();
    }

    /** The driver can see it. */
    void returned(int first) {
        VarHandle.releaseFence();
        region.set(U8, entry(first) + ENTRY_INFLIGHT, (byte) 0);
        keep();
    }
}

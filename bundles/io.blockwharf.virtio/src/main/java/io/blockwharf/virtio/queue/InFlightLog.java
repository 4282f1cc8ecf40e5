package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;

/**
 * Which buffers of a split queue the device has taken and not given back, kept in memory that
 * outlives this process: vhost-user specification, "Inflight I/O tracking", "Split virtqueue".
 *
 * <p>The order of stores is that of the specification, so that whatever store was the last one
 * before the process died, the next process executes every buffer that was not given back, and none
 * that was. Owned by the queue's thread.
 */
public final class InFlightLog {
    private static final long FEATURES = 0;
    private static final long VERSION = 8;
    private static final long DESC_NUM = 10;
    private static final long LAST_BATCH_HEAD = 12;
    private static final long USED_IDX = 14;
    private static final long STATES = 16;
    private static final int STATE_BYTES = 16;
    private static final long STATE_INFLIGHT = 0;
    private static final long STATE_NEXT = 6;
    private static final long STATE_COUNTER = 8;

    private final MemorySegment region;
    private final int size;
    private long counter;
    private int firstOfBatch = -1;
    private int lastOfBatch = -1;

    private InFlightLog(MemorySegment region, int size) {
        this.region = region;
        this.size = size;
    }

    /** The bytes that the log of one queue takes, rounded up to 64 so that logs share no line. */
    public static long byteSize(int queueSize) {
        return (STATES + (long) STATE_BYTES * queueSize + 63) & ~63L;
    }

    /**
     * Opens the log of a queue and corrects what the death of a process between two stores left
     * behind.
     *
     * @param region {@link #byteSize} bytes of shared memory; all zeroes if the log is new
     * @param usedIndex the used index that the ring shows to the driver
     * @throws VirtqueueException if the log is not one of such a queue
     */
    public static InFlightLog open(MemorySegment region, int queueSize, int usedIndex)
            throws VirtqueueException {
        if (region.byteSize() < byteSize(queueSize)) {
            throw new VirtqueueException("in-flight log of " + region.byteSize() + " bytes");
        }
        var log = new InFlightLog(region, queueSize);
        if (region.get(Le.U16, VERSION) == 0) {
            region.set(Le.U64, FEATURES, 0);
            region.set(Le.U16, DESC_NUM, (short) queueSize);
            region.set(Le.U16, USED_IDX, (short) usedIndex);
            region.set(Le.U16, VERSION, (short) 1);
            return log;
        }
        if (region.get(Le.U16, VERSION) != 1
                || (region.get(Le.U16, DESC_NUM) & 0xffff) != queueSize) {
            throw new VirtqueueException("in-flight log of another version or size");
        }
        log.finishBatch((short) usedIndex);
        for (int i = 0; i < queueSize; i++) {
            if (log.inFlight(i)) {
                log.counter = Math.max(log.counter, log.counter(i) + 1);
            }
        }
        return log;
    }

    /** The used ring was published, but the log may not say so yet. */
    private void finishBatch(short usedIndex) {
        int head = region.get(Le.U16, LAST_BATCH_HEAD) & 0xffff;
        int published = (usedIndex - region.get(Le.U16, USED_IDX)) & 0xffff;
        for (int i = 0; i < published && i < size && head < size; i++) {
            region.set(java.lang.foreign.ValueLayout.JAVA_BYTE, state(head), (byte) 0);
            head = region.get(Le.U16, state(head) + STATE_NEXT) & 0xffff;
        }
        VarHandle.releaseFence();
        region.set(Le.U16, USED_IDX, usedIndex);
    }

    private static long state(int head) {
        return STATES + (long) STATE_BYTES * head;
    }

    private boolean inFlight(int head) {
        return region.get(java.lang.foreign.ValueLayout.JAVA_BYTE, state(head) + STATE_INFLIGHT)
                == 1;
    }

    private long counter(int head) {
        return region.get(Le.U64, state(head) + STATE_COUNTER);
    }

    /** The heads of the buffers to be executed again, in the order in which they were taken. */
    public List<Integer> pending() {
        var heads = new ArrayList<Integer>();
        for (int i = 0; i < size; i++) {
            if (inFlight(i)) {
                heads.add(i);
            }
        }
        heads.sort(Comparator.comparingLong(this::counter));
        return heads;
    }

    /** A buffer was taken. */
    public void taken(int head) {
        region.set(Le.U64, state(head) + STATE_COUNTER, counter++);
        VarHandle.releaseFence();
        region.set(java.lang.foreign.ValueLayout.JAVA_BYTE, state(head) + STATE_INFLIGHT, (byte) 1);
    }

    /** A buffer is about to be given back with the next {@link #published}. */
    public void completing(int head) {
        // The batch is a list from the last head back to the first; its links are in place before
        // LAST_BATCH_HEAD, and that before the used index.
        region.set(
                Le.U16, state(head) + STATE_NEXT, (short) (lastOfBatch >= 0 ? lastOfBatch : head));
        lastOfBatch = head;
        if (firstOfBatch < 0) {
            firstOfBatch = head;
        }
    }

    /** To be called right before the used index is published. */
    public void publishing() {
        if (lastOfBatch >= 0) {
            region.set(Le.U16, LAST_BATCH_HEAD, (short) lastOfBatch);
            VarHandle.releaseFence();
        }
    }

    /** The used index is visible to the driver. */
    public void published(int usedIndex) {
        VarHandle.releaseFence();
        for (int head = lastOfBatch; head >= 0; ) {
            region.set(
                    java.lang.foreign.ValueLayout.JAVA_BYTE,
                    state(head) + STATE_INFLIGHT,
                    (byte) 0);
            head = head == firstOfBatch ? -1 : region.get(Le.U16, state(head) + STATE_NEXT);
        }
        firstOfBatch = -1;
        lastOfBatch = -1;
        VarHandle.releaseFence();
        region.set(Le.U16, USED_IDX, (short) usedIndex);
    }
}

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;
import java.util.Comparator;
import java.util.stream.IntStream;

/** The log of a split queue: {@code QueueRegionSplit}. */
final class SplitLog extends InFlightLog {
    private static final long LAST_BATCH_HEAD = 12;
    private static final long USED_IDX = 14;
    private static final long STATES = 16;
    private static final int STATE_BYTES = 16;
    private static final long STATE_INFLIGHT = 0;
    private static final long STATE_NEXT = 6;
    private static final long STATE_COUNTER = 8;

    private final boolean[] inFlight;
    private final int[] pending;

    /** Heads that were completed since the used index was published last. */
    private final int[] batch;

    private int batched;

    /**
     * Opens the log of a queue and corrects what the death of a process between two stores left
     * behind.
     *
     * @param region all zeroes if the log is new
     * @param usedIndex the used index that the ring shows to the driver
     * @throws VirtqueueException if the log is not one of such a queue
     */
    SplitLog(MemorySegment region, int queueSize, int usedIndex) throws VirtqueueException {
        super(region, queueSize);
        inFlight = new boolean[size];
        batch = new int[size];
        if (isNew()) {
            for (int head = 0; head < size; head++) {
                region.set(U8, state(head) + STATE_INFLIGHT, (byte) 0);
            }
            region.set(Le.U16, USED_IDX, (short) usedIndex);
            begin();
            pending = new int[0];
            return;
        }
        finishBatch((short) usedIndex);
        long[] counters = new long[size];
        for (int head = 0; head < size; head++) {
            inFlight[head] = region.get(U8, state(head) + STATE_INFLIGHT) == 1;
            counters[head] = region.get(Le.U64, state(head) + STATE_COUNTER);
            if (inFlight[head]) {
                counter = Math.max(counter, counters[head] + 1);
            }
        }
        pending =
                IntStream.range(0, size)
                        .filter(head -> inFlight[head])
                        .boxed()
                        .sorted(Comparator.comparingLong(head -> counters[head]))
                        .mapToInt(Integer::intValue)
                        .toArray();
    }

    private static long state(int head) {
        return STATES + (long) STATE_BYTES * head;
    }

    /** The used ring was published, but the log may not say so yet. */
    private void finishBatch(short usedIndex) {
        int head = region.get(Le.U16, LAST_BATCH_HEAD) & 0xffff;
        int published = (usedIndex - region.get(Le.U16, USED_IDX)) & 0xffff;
        for (int i = 0; i < published && i < size && head < size; i++) {
            region.set(U8, state(head) + STATE_INFLIGHT, (byte) 0);
            head = region.get(Le.U16, state(head) + STATE_NEXT) & 0xffff;
        }
        VarHandle.releaseFence();
        region.set(Le.U16, USED_IDX, usedIndex);
    }

    /** The heads of the buffers to be executed again, in the order in which they were taken. */
    int[] pending() {
        return pending;
    }

    /** A buffer was taken. */
    void taken(int head) throws VirtqueueException {
        if (inFlight[head]) {
            throw new VirtqueueException("descriptor " + head + " is in flight (2.7.13.1)");
        }
        inFlight[head] = true;
        region.set(Le.U64, state(head) + STATE_COUNTER, counter++);
        VarHandle.releaseFence();
        region.set(U8, state(head) + STATE_INFLIGHT, (byte) 1);
    }

    /** A buffer is about to be given back with the next {@link #published}. */
    void completing(int head) {
        // The batch is a list from the last head back to the first; its links are in place before
        // LAST_BATCH_HEAD, and that before the used index.
        int before = batched > 0 ? batch[batched - 1] : head;
        region.set(Le.U16, state(head) + STATE_NEXT, (short) before);
        batch[batched++] = head;
    }

    /** To be called right before the used index is published. */
    void publishing() {
        if (batched > 0) {
            region.set(Le.U16, LAST_BATCH_HEAD, (short) batch[batched - 1]);
            VarHandle.releaseFence();
        }
    }

    /** The used index is visible to the driver. */
    void published(int usedIndex) {
        VarHandle.releaseFence();
        while (batched > 0) {
            int head = batch[--batched];
            inFlight[head] = false;
            region.set(U8, state(head) + STATE_INFLIGHT, (byte) 0);
        }
        VarHandle.releaseFence();
        region.set(Le.U16, USED_IDX, (short) usedIndex);
    }
}

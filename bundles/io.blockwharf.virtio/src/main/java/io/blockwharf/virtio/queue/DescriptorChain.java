package io.blockwharf.virtio.queue;

import io.blockwharf.api.block.IoVector;

import java.lang.foreign.Arena;
import java.util.Arrays;

/**
 * One buffer that the driver has made available: what the device may read, then what it may write
 * (VIRTIO 1.3 section 2.6.4). A reusable object of the thread that serves the queue.
 */
public final class DescriptorChain {
    /** Writable descriptors that there is room for at first. */
    private static final int FEW = 2;

    private final IoVector readable;
    private final IoVector writable;

    /** The driver's address and length of each writable descriptor, side by side. */
    private long[] targets = new long[2 * FEW];

    private int writableDescriptors;
    int id;
    int descriptors;

    /** What {@link #touched} was told. */
    private long touched;

    /** Where a packed queue's log has it. */
    int logEntry;

    /**
     * An empty chain.
     *
     * @param arena owns its native arrays
     * @param capacity the most readable and the most writable descriptors of a buffer, 1 to 1024; a
     *     longer chain breaks the queue, so take what the device promises to accept
     */
    public DescriptorChain(Arena arena, int capacity) {
        readable = new IoVector(arena, capacity);
        writable = new IoVector(arena, capacity);
    }

    /** What the device may read, in order. */
    public IoVector readable() {
        return readable;
    }

    /** What the device may write, in order. */
    public IoVector writable() {
        return writable;
    }

    /** The number by which the chain is given back: the index of its head, or its buffer id. */
    public int id() {
        return id;
    }

    /** Ring slots that the chain takes (packed rings). */
    int slots() {
        return descriptors;
    }

    void clear() {
        readable.clear();
        writable.clear();
        writableDescriptors = 0;
        touched = Long.MAX_VALUE;
    }

    /** Appends one descriptor. */
    void add(GuestMemory memory, long address, long length, boolean write)
            throws VirtqueueException {
        if (!write && writableDescriptors > 0) {
            throw new VirtqueueException("readable descriptor after a writable one (2.6.4.2)");
        }
        if (!memory.append(address, length, write, write ? writable : readable)) {
            throw new VirtqueueException(
                    "descriptor 0x%x+0x%x is not in shared memory, or one too many"
                            .formatted(address, length));
        }
        if (write && length > 0) {
            if (2 * writableDescriptors == targets.length) {
                targets = Arrays.copyOf(targets, 2 * targets.length);
            }
            targets[2 * writableDescriptors] = address;
            targets[2 * writableDescriptors + 1] = length;
            writableDescriptors++;
        }
    }

    /** Reports the driver's addresses of the first {@code written} writable bytes to a log. */
    void log(DirtyLog log, long written) {
        long rest = written;
        for (int i = 0; i < writableDescriptors && rest > 0; i++) {
            long n = Math.min(rest, targets[2 * i + 1]);
            log.written(targets[2 * i], n);
            rest -= n;
        }
    }

    /**
     * Tells how many bytes of the writable part may have been written from its beginning, besides
     * the last one. All of them, if it is not told: a chain of a few descriptors can have hundreds
     * of gibibytes, which takes seconds to log.
     */
    public void touched(long bytes) {
        touched = bytes;
    }

    /** Reports the writable bytes that may have been written to a log. */
    public void logAll(DirtyLog log) {
        log(log, touched);
        if (touched != Long.MAX_VALUE && writableDescriptors > 0) {
            int last = 2 * (writableDescriptors - 1);
            log.written(targets[last] + targets[last + 1] - 1, 1);
        }
    }
}

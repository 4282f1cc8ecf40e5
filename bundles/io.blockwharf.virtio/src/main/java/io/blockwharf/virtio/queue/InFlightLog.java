package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;

/**
 * Which buffers of a queue the device has taken and not given back, kept in memory that outlives
 * this process: vhost-user specification, "Inflight I/O tracking". {@link Virtqueue#log} opens one.
 *
 * <p>The order of stores is that of the specification, so that whatever store was the last one
 * before the process died, the next process executes every buffer that was not given back, and none
 * that was. The memory may be shared with a driver that is not trusted: it is read when the log is
 * opened, checked, and never again. Owned by the queue's thread.
 */
public abstract sealed class InFlightLog permits SplitLog, PackedLog {
    static final ValueLayout.OfByte U8 = ValueLayout.JAVA_BYTE;

    private static final long FEATURES = 0;
    private static final long VERSION = 8;
    private static final long DESC_NUM = 10;

    final MemorySegment region;
    final int size;

    /** Numbers the buffers in the order in which they are taken. */
    long counter;

    InFlightLog(MemorySegment region, int size) throws VirtqueueException {
        if (region.byteSize() < byteSize(size) || (region.address() & 7) != 0) {
            throw new VirtqueueException("in-flight log of " + region.byteSize() + " bytes");
        }
        this.region = region;
        this.size = size;
    }

    /**
     * The bytes that the log of one queue takes: those of the larger format, the packed one,
     * rounded up to 64 so that logs share no line.
     */
    public static long byteSize(int queueSize) {
        return (PackedLog.ENTRIES + (long) PackedLog.ENTRY_BYTES * queueSize + 63) & ~63L;
    }

    /** Makes a log new: what was in flight is forgotten, because the device was reset. */
    public static void clear(MemorySegment region) {
        region.set(Le.U16, VERSION, (short) 0);
    }

    /**
     * Whether there is no log yet, so that its fields have to be set, and {@link #begin} called.
     */
    final boolean isNew() throws VirtqueueException {
        int version = region.get(Le.U16, VERSION);
        if (version == 0) {
            return true;
        }
        if (version != 1 || (region.get(Le.U16, DESC_NUM) & 0xffff) != size) {
            throw new VirtqueueException("in-flight log of another version or size");
        }
        return false;
    }

    /** From now on the log counts. */
    final void begin() {
        region.set(Le.U64, FEATURES, 0);
        region.set(Le.U16, DESC_NUM, (short) size);
        VarHandle.releaseFence();
        region.set(Le.U16, VERSION, (short) 1);
    }
}

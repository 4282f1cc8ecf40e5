package io.blockwharf.vhostuser;

import io.blockwharf.virtio.queue.DirtyLog;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * The dirty log of live migration, vhost-user specification, "Migration": a bit per page of 4 KiB
 * of guest memory, shared with the front end and with other vrings.
 */
record PageLog(MemorySegment bits) implements DirtyLog {
    private static final int PAGE_SHIFT = 12;
    private static final VarHandle WORD =
            ValueLayout.JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN).varHandle();

    @Override
    public void written(long address, long length) {
        if (length == 0) {
            return;
        }
        long last = (address + length - 1) >>> PAGE_SHIFT;
        for (long page = address >>> PAGE_SHIFT; page <= last; page = (page | 63) + 1) {
            long at = (page >>> 6) << 3;
            if (at <= bits.byteSize() - 8) { // a page beyond the log is not guest memory
                long from = -1L << (page & 63);
                long to = (page | 63) <= last ? -1L : -1L >>> (63 - (last & 63));
                WORD.getAndBitwiseOr(bits, at, from & to);
            }
        }
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.NativeMemory;
import io.blockwharf.nbd.wire.RequestHeader;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One of the requests of a client that are under way in the node's queue, with a buffer of its own.
 * Data begins at {@link #DATA}, so that it is aligned for direct I/O and a reply's header fits in
 * front of it. Owned by the thread that serves the connection; the buffer belongs to the queue
 * while the request is in flight.
 */
final class Slot implements AutoCloseable {
    /** Where data begins in {@code memory}. */
    static final int DATA = 4096;

    /** A buffer larger than this is given back as soon as it is not needed. */
    private static final int KEEP = (256 << 10) + DATA;

    private NativeMemory owned;

    final int index;
    final IoVector vector;
    MemorySegment memory = MemorySegment.NULL;
    int command;
    int flags;
    long cookie;

    /** When the request had arrived. */
    long arrived;

    /** Offset of the request, which an extended reply repeats. */
    long origin;

    /** What this slot transfers. */
    long offset;

    long length;

    /** CACHE: how much is done. TRIM: 1 when it is being flushed. */
    long progress;

    Errno result = Errno.OK;

    Slot(int index, Arena vectors) {
        this.index = index;
        vector = new IoVector(vectors, 1);
    }

    /** Takes over a request. */
    void describe(int command, int flags, long cookie, long origin, long offset, long length) {
        this.command = command;
        this.flags = flags;
        this.cookie = cookie;
        this.origin = origin;
        this.offset = offset;
        this.length = length;
        progress = 0;
    }

    /** Takes over a request, or what is left of it. */
    void describe(int command, RequestHeader header, long offset, long length, long arrived) {
        describe(command, header.flags(), header.cookie(), header.offset(), offset, length);
        this.arrived = arrived;
    }

    /** Bytes of memory that this slot holds. */
    long held() {
        return memory.byteSize();
    }

    /** Bytes of memory that it would hold with room for {@code length} bytes of data. */
    long wouldHold(long length) {
        return Math.max(held(), DATA + roundUp(length));
    }

    private static long roundUp(long length) {
        return length <= 4096 ? 4096 : Long.highestOneBit(length - 1) << 1;
    }

    /** Makes room for {@code length} bytes of data. */
    void reserve(long length) {
        if (held() - DATA < length) {
            close();
            owned = NativeMemory.allocate(DATA + roundUp(length), DATA);
            memory = owned.segment();
        }
    }

    /** The request is answered. */
    void release() {
        if (held() > KEEP) {
            close();
        }
    }

    @Override
    public void close() {
        if (owned != null) {
            owned.close();
            owned = null;
            memory = MemorySegment.NULL;
        }
    }
}

package io.blockwharf.block;

import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.IoVector;

/** A queue of another node whose bytes begin at an offset here. */
final class ShiftedQueue implements BlockQueue {
    private final BlockQueue queue;
    private final long start;

    ShiftedQueue(BlockQueue queue, long start) {
        this.queue = queue;
        this.start = start;
    }

    @Override
    public boolean batchesReads() {
        return queue.batchesReads();
    }

    @Override
    public void read(long cookie, long offset, IoVector into) {
        queue.read(cookie, start + offset, into);
    }

    @Override
    public void tryRead(long cookie, long offset, IoVector into) {
        queue.tryRead(cookie, start + offset, into);
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        queue.write(cookie, start + offset, from, flags);
    }

    @Override
    public void flush(long cookie) {
        queue.flush(cookie);
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        queue.discard(cookie, start + offset, length);
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        queue.writeZeroes(cookie, start + offset, length, flags);
    }

    @Override
    public void submit() {
        queue.submit();
    }

    @Override
    public int reap(Completion completion) {
        return queue.reap(completion);
    }

    @Override
    public int inFlight() {
        return queue.inFlight();
    }

    @Override
    public int fd() {
        return queue.fd();
    }

    @Override
    public void close() {
        queue.close();
    }
}

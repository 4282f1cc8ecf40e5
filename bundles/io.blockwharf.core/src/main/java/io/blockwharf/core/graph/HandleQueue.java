package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.LinuxException;

/**
 * What a handle adds to the queue of a driver: the checks of each request, the node's options, and
 * the observers of its writes. Requests that the driver could not take as they are go aside, to
 * threads that call the handle's synchronous methods.
 */
final class HandleQueue implements BlockQueue {
    private final NodeHandle handle;
    private final Node node;
    private final BlockQueue queue;
    private final WorkerQueue aside;
    private final Epoll both;

    // Of a request in the driver's queue, by slot
    private final long[] cookies;
    private final long[] offsets;

    /** Bytes that it changes, 0 if it does not. */
    private final long[] lengths;

    private final boolean[] discards;

    private final int[] free;
    private int freeCount;

    private final Completion onCompletion = this::completed;
    private Completion target;

    HandleQueue(NodeHandle handle, BlockQueue queue, WorkerQueue aside, int depth)
            throws LinuxException {
        this.handle = handle;
        node = handle.node;
        this.queue = queue;
        this.aside = aside;
        cookies = new long[depth];
        offsets = new long[depth];
        lengths = new long[depth];
        discards = new boolean[depth];
        free = new int[depth];
        for (int i = 0; i < depth; i++) {
            free[i] = depth - 1 - i;
        }
        freeCount = depth;
        both = new Epoll(1);
        try {
            both.add(queue.fd(), Epoll.IN, 0);
            both.add(aside.fd(), Epoll.IN, 1);
        } catch (LinuxException e) {
            both.close();
            throw e;
        }
    }

    // --- Starting ----------------------------------------------------------------------------

    @Override
    public boolean batchesReads() {
        return queue.batchesReads();
    }

    @Override
    public void read(long cookie, long offset, IoVector into) {
        admit();
        if (node.straight(offset, into.byteCount()) && node.aligned(into)) {
            queue.read(slot(cookie, 0, 0), offset, into);
        } else {
            aside.read(cookie, offset, into);
        }
    }

    @Override
    public void tryRead(long cookie, long offset, IoVector into) {
        admit();
        if (node.straight(offset, into.byteCount()) && node.aligned(into)) {
            queue.tryRead(slot(cookie, 0, 0), offset, into);
        } else {
            aside.finish(cookie, Errno.EAGAIN);
        }
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        admit();
        long bytes = from.byteCount();
        if (handle.writesStraight() && node.straight(offset, bytes) && node.aligned(from)) {
            queue.write(slot(cookie, offset, bytes), offset, from, handle.flags(flags));
        } else {
            writeOtherwise(cookie, offset, from, flags);
        }
    }

    private void writeOtherwise(long cookie, long offset, IoVector from, int flags) {
        long bytes = from.byteCount();
        if (!handle.writable()) {
            aside.finish(cookie, Errno.EPERM);
        } else if (!node.straight(offset, bytes) || !node.aligned(from)) {
            aside.write(cookie, offset, from, flags);
        } else if (node.detectsZeroes() && Zeroes.only(from)) {
            int all = handle.flags(flags) | node.zeroFlags;
            queue.writeZeroes(slot(cookie, offset, bytes), offset, bytes, all);
        } else {
            queue.write(slot(cookie, offset, bytes), offset, from, handle.flags(flags));
        }
    }

    @Override
    public void flush(long cookie) {
        admit();
        if (node.options.noFlush()) {
            aside.finish(cookie, Errno.OK);
        } else {
            queue.flush(slot(cookie, 0, 0));
        }
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        admit();
        if (!mayChange(cookie, offset, length)) {
            return;
        }
        if (!node.options.discard()) {
            aside.finish(cookie, Errno.OK);
        } else if (node.inside(offset, length)) {
            int slot = slot(cookie, offset, length);
            discards[slot] = true;
            queue.discard(slot, offset, length);
        } else {
            aside.discard(cookie, offset, length);
        }
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        admit();
        if (!mayChange(cookie, offset, length)) {
            return;
        }
        if (node.inside(offset, length)) {
            int all = handle.flags(flags);
            queue.writeZeroes(slot(cookie, offset, length), offset, length, all);
        } else {
            aside.writeZeroes(cookie, offset, length, flags);
        }
    }

    /** Whether a range may be changed by this user; if not, the request is finished. */
    private boolean mayChange(long cookie, long offset, long length) {
        if (!handle.writable()) {
            aside.finish(cookie, Errno.EPERM);
            return false;
        }
        try {
            node.check(offset, length);
            return true;
        } catch (BlockIoException e) {
            aside.finish(cookie, e.errno());
            return false;
        }
    }

    private void admit() {
        if (inFlight() >= cookies.length) {
            throw new IllegalStateException("more requests than the queue is deep");
        }
    }

    private int slot(long cookie, long offset, long changed) {
        int slot = free[--freeCount];
        cookies[slot] = cookie;
        offsets[slot] = offset;
        lengths[slot] = changed;
        discards[slot] = false;
        return slot;
    }

    @Override
    public void submit() {
        queue.submit();
        aside.submit();
    }

    // --- Reporting ---------------------------------------------------------------------------

    @Override
    public int reap(Completion completion) {
        target = completion;
        return queue.reap(onCompletion) + aside.reap(completion);
    }

    private void completed(long slot, Errno result) {
        int index = (int) slot;
        tell(index);
        free[freeCount++] = index;
        target.completed(cookies[index], result);
    }

    /** Tells the node that a request is finished which may have changed something. */
    private void tell(int slot) {
        long length = lengths[slot];
        lengths[slot] = 0;
        if (length > 0 && discards[slot]) {
            node.discarded(offsets[slot], length);
        } else if (length > 0) {
            node.changed(offsets[slot], length);
        }
    }

    @Override
    public int inFlight() {
        return cookies.length - freeCount + aside.inFlight();
    }

    @Override
    public int fd() {
        return both.fd();
    }

    @Override
    public void close() {
        both.close();
        queue.close();
        aside.close();
        // Their results are dropped, but observers have to know
        for (int slot = 0; slot < lengths.length; slot++) {
            tell(slot);
        }
    }
}

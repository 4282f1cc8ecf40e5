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

    /** Null on an edge inside the graph. */
    private final Gate gate;

    private final WorkerQueue aside;
    private final Epoll both;

    /**
     * The driver's; null if it has none. Changed while the gate is closed: the serving thread
     * touches it only with requests inside.
     */
    private BlockQueue queue;

    /** Of the queue; whoever sees an old answer is told {@link Errno#EAGAIN}. */
    private volatile boolean batchesReads;

    // Of a request in the driver's queue, by slot
    private final long[] cookies;
    private final long[] offsets;

    /** Bytes that it changes, 0 if it does not, or is not there. */
    private final long[] lengths;

    private final boolean[] discards;

    private final int[] free;
    private int freeCount;

    private final Completion onCompletion = this::completed;
    private Completion target;

    HandleQueue(NodeHandle handle, Gate gate, int depth) throws LinuxException {
        this.handle = handle;
        this.gate = gate;
        cookies = new long[depth];
        offsets = new long[depth];
        lengths = new long[depth];
        discards = new boolean[depth];
        free = new int[depth];
        for (int i = 0; i < depth; i++) {
            free[i] = depth - 1 - i;
        }
        freeCount = depth;
        aside = new WorkerQueue(handle, gate, handle.workers(), depth);
        try {
            both = new Epoll(1);
        } catch (LinuxException e) {
            aside.close();
            throw e;
        }
        try {
            both.add(aside.fd(), Epoll.IN, 1);
            bind();
        } catch (LinuxException | RuntimeException e) {
            both.close();
            aside.close();
            throw e;
        }
    }

    /** Takes a queue of the driver, if it has one. Nothing is in flight. */
    void bind() throws LinuxException {
        BlockQueue own = handle.node.image().openQueue(cookies.length).orElse(null);
        if (own != null) {
            try {
                both.add(own.fd(), Epoll.IN, 0);
            } catch (LinuxException e) {
                own.close();
                throw e;
            }
        }
        queue = own;
        batchesReads = own != null && own.batchesReads();
    }

    /** Gives the driver's queue back; without one all requests go aside. Nothing is in flight. */
    void unbind() {
        if (queue != null) {
            batchesReads = false;
            queue.close();
            queue = null;
        }
    }

    /**
     * Whether a request may go to the driver's queue. If so it is inside the gate, and {@link
     * #completed} or {@link #leave} lets it out again.
     *
     * <p>The requests of the driver's queue are inside together, counted once: that keeps the gate
     * from closing as well as each of them would.
     */
    private boolean enter() {
        if (gate != null && !(freeCount < cookies.length ? gate.isOpen() : gate.tryEnter())) {
            return false;
        }
        if (queue != null) {
            return true;
        }
        leave();
        return false;
    }

    /** A request is not inside any more; the last one of the driver's queue opens the way. */
    private void leave() {
        if (gate != null && freeCount == cookies.length) {
            gate.exit();
        }
    }

    // --- Starting ----------------------------------------------------------------------------

    @Override
    public boolean batchesReads() {
        return batchesReads;
    }

    @Override
    public void read(long cookie, long offset, IoVector into) {
        admit();
        if (enter()) {
            if (goesStraight(offset, into)) {
                queue.read(slot(cookie, 0, 0), offset, into);
                return;
            }
            leave();
        }
        aside.read(cookie, offset, into);
    }

    @Override
    public void tryRead(long cookie, long offset, IoVector into) {
        admit();
        if (enter()) {
            if (queue.batchesReads() && goesStraight(offset, into)) {
                queue.tryRead(slot(cookie, 0, 0), offset, into);
                return;
            }
            leave();
        }
        aside.finish(cookie, Errno.EAGAIN);
    }

    private boolean goesStraight(long offset, IoVector vector) {
        Node node = handle.node;
        return node.straight(offset, vector.byteCount()) && node.aligned(vector);
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        admit();
        if (enter()) {
            if (handle.writable() && goesStraight(offset, from)) {
                Node node = handle.node;
                int all = handle.flags(flags);
                long bytes = from.byteCount();
                if (handle.writesStraight() || !node.detectsZeroes() || !Zeroes.only(from)) {
                    queue.write(slot(cookie, offset, bytes), offset, from, all);
                } else {
                    int zero = all | node.zeroFlags();
                    queue.writeZeroes(slot(cookie, offset, bytes), offset, bytes, zero);
                }
                return;
            }
            leave();
        }
        aside.write(cookie, offset, from, flags);
    }

    @Override
    public void flush(long cookie) {
        admit();
        if (!enter()) {
            aside.flush(cookie);
        } else if (handle.node.options().noFlush()) {
            leave();
            aside.finish(cookie, Errno.OK);
        } else {
            queue.flush(slot(cookie, 0, 0));
        }
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        admit();
        if (!enter()) {
            aside.discard(cookie, offset, length);
            return;
        }
        Errno refused = refused(offset, length);
        if (refused != Errno.OK || !handle.node.options().discard()) {
            leave();
            aside.finish(cookie, refused);
        } else if (handle.node.inside(offset, length)) {
            int slot = slot(cookie, offset, length);
            discards[slot] = true;
            queue.discard(slot, offset, length);
        } else {
            leave();
            aside.discard(cookie, offset, length);
        }
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        admit();
        if (!enter()) {
            aside.writeZeroes(cookie, offset, length, flags);
        } else if (handle.writable() && handle.node.inside(offset, length)) {
            int all = handle.flags(flags);
            queue.writeZeroes(slot(cookie, offset, length), offset, length, all);
        } else {
            leave();
            aside.writeZeroes(cookie, offset, length, flags);
        }
    }

    /** Why this user may not change a range; {@link Errno#OK} if he may. */
    private Errno refused(long offset, long length) {
        if (!handle.writable()) {
            return Errno.EPERM;
        }
        try {
            handle.node.check(offset, length);
            return Errno.OK;
        } catch (BlockIoException e) {
            return e.errno();
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
        if (changed != 0) {
            offsets[slot] = offset;
            lengths[slot] = changed;
            discards[slot] = false;
        }
        return slot;
    }

    @Override
    public void submit() {
        if (freeCount < cookies.length) {
            queue.submit();
        }
        aside.submit();
    }

    // --- Reporting ---------------------------------------------------------------------------

    @Override
    public int reap(Completion completion) {
        int count = 0;
        if (freeCount < cookies.length) {
            target = completion;
            count = queue.reap(onCompletion);
        }
        return count + aside.reap(completion);
    }

    private void completed(long slot, Errno result) {
        int index = (int) slot;
        tell(index);
        free[freeCount++] = index;
        leave();
        target.completed(cookies[index], result);
    }

    /** Tells the node that a request is finished which may have changed something. */
    private void tell(int slot) {
        long length = lengths[slot];
        if (length == 0) {
            return;
        }
        lengths[slot] = 0;
        if (discards[slot]) {
            handle.node.discarded(offsets[slot], length);
        } else {
            handle.node.changed(offsets[slot], length);
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
        if (gate != null) {
            gate.enter(); // who closes this one is not unbound at the same time
        }
        try {
            handle.queueClosed(this);
            both.close();
            unbind();
        } finally {
            if (gate != null) {
                gate.exit();
            }
        }
        aside.close();
        // Their results are dropped, but observers have to know
        for (int slot = 0; slot < lengths.length; slot++) {
            tell(slot);
        }
        if (freeCount < cookies.length) {
            freeCount = cookies.length;
            leave();
        }
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIo;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * A queue for drivers without one of their own: threads of a pool call the synchronous methods.
 *
 * <p>Requests are made once per slot. A worker pushes what it has finished on a stack; whoever
 * makes the stack non-empty signals the eventfd, once. The serving thread clears the eventfd first
 * and takes the whole stack then: what is pushed in between leaves at worst a signal without a
 * request, never a request without a signal.
 */
final class WorkerQueue implements BlockQueue {
    private static final VarHandle DONE;

    static {
        try {
            DONE = MethodHandles.lookup().findVarHandle(WorkerQueue.class, "done", Request.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private enum Operation {
        NOTHING,
        READ,
        WRITE,
        FLUSH,
        DISCARD,
        WRITE_ZEROES
    }

    /** One request; belongs to the serving thread, then to a worker, then to the serving thread. */
    static final class Request {
        private final WorkerQueue queue;
        private Operation operation;
        private long cookie;
        private long offset;
        private long length;
        private int flags;
        private IoVector vector;
        private Errno result;

        /** The link of whatever list the request is in. */
        Request next;

        private Request(WorkerQueue queue) {
            this.queue = queue;
        }

        /** Carries it out and reports it. Never throws. */
        void run() {
            result = queue.carryOut(this);
            queue.push(this);
        }
    }

    private final BlockIo target;
    private final Gate gate;
    private final WorkerPool pool;
    private final EventFd signal;

    // The serving thread's
    private final Request[] free;
    private int freeCount;
    private Request firstStarted;
    private Request lastStarted;
    private int started;

    /** Signals that were or will be given for stacks taken so far, less those cleared. */
    private long owed;

    /**
     * Finished requests that were taken from the stack, oldest first. None are left by {@link
     * #reap} unless somebody to whom one was reported has thrown something: then they are its next
     * ones.
     */
    private Request unreported;

    /** The stack of finished requests, newest first. */
    @SuppressWarnings("unused") // through DONE
    private volatile Request done;

    /**
     * A queue.
     *
     * @param gate where requests wait until it is open; null for none
     */
    WorkerQueue(BlockIo target, Gate gate, WorkerPool pool, int depth) throws LinuxException {
        this.target = target;
        this.gate = gate;
        this.pool = pool;
        free = new Request[depth];
        for (int i = 0; i < depth; i++) {
            free[i] = new Request(this);
        }
        freeCount = depth;
        signal = EventFd.open();
    }

    // --- Starting ----------------------------------------------------------------------------

    @Override
    public void read(long cookie, long offset, IoVector into) {
        start(Operation.READ, cookie, offset, 0, into, 0);
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        start(Operation.WRITE, cookie, offset, 0, from, flags);
    }

    @Override
    public void flush(long cookie) {
        start(Operation.FLUSH, cookie, 0, 0, null, 0);
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        start(Operation.DISCARD, cookie, offset, length, null, 0);
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        start(Operation.WRITE_ZEROES, cookie, offset, length, null, flags);
    }

    /** Reports a request as finished that needed nothing to be done. */
    void finish(long cookie, Errno result) {
        Request request = take(Operation.NOTHING, cookie);
        request.result = result;
        push(request);
    }

    private void start(
            Operation operation,
            long cookie,
            long offset,
            long length,
            IoVector vector,
            int flags) {
        Request request = take(operation, cookie);
        request.offset = offset;
        request.length = length;
        request.vector = vector;
        request.flags = flags;
        if (lastStarted == null) {
            firstStarted = request;
        } else {
            lastStarted.next = request;
        }
        lastStarted = request;
        started++;
    }

    private Request take(Operation operation, long cookie) {
        if (freeCount == 0) {
            throw new IllegalStateException("more requests than the queue is deep");
        }
        Request request = free[--freeCount];
        request.operation = operation;
        request.cookie = cookie;
        return request;
    }

    @Override
    public void submit() {
        if (started > 0) {
            Request first = firstStarted;
            Request last = lastStarted;
            int count = started;
            firstStarted = null;
            lastStarted = null;
            started = 0;
            pool.submit(first, last, count);
        }
    }

    // --- On a worker -------------------------------------------------------------------------

    private Errno carryOut(Request request) {
        if (gate != null) {
            gate.awaitOpen();
        }
        try {
            switch (request.operation) {
                case READ -> target.read(request.offset, request.vector);
                case WRITE -> target.write(request.offset, request.vector, request.flags);
                case FLUSH -> target.flush();
                case DISCARD -> target.discard(request.offset, request.length);
                case WRITE_ZEROES ->
                        target.writeZeroes(request.offset, request.length, request.flags);
                case NOTHING -> {}
            }
            return Errno.OK;
        } catch (BlockIoException e) {
            return e.errno();
        } catch (RuntimeException | Error bug) {
            // The driver's mistake costs the request, not the thread and whoever waits for it.
            pool.failed(bug);
            return Errno.EIO;
        }
    }

    private void push(Request request) {
        Request top;
        do {
            top = (Request) DONE.getVolatile(this);
            request.next = top;
        } while (!DONE.compareAndSet(this, top, request));
        if (top == null) {
            try {
                signal.signal();
            } catch (LinuxException e) {
                // An eventfd that is open can be written
                throw new UncheckedIOException(e);
            }
        }
    }

    // --- Reporting ---------------------------------------------------------------------------

    @Override
    public int reap(Completion completion) {
        if (unreported == null) {
            if (owed == 0 && done == null) {
                return 0;
            }
            unreported = takeDone();
        }
        int count = 0;
        while (unreported != null) {
            Request request = unreported;
            unreported = request.next;
            long cookie = request.cookie;
            Errno result = request.result;
            // Free before it is reported: the callback may start the next one
            request.next = null;
            request.vector = null;
            free[freeCount++] = request;
            completion.completed(cookie, result);
            count++;
        }
        return count;
    }

    /** Takes everything that is finished, oldest first. */
    private Request takeDone() {
        try {
            owed -= signal.clear();
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
        Request newest = (Request) DONE.getAndSet(this, null);
        if (newest != null) {
            owed++;
        }
        Request oldest = null;
        while (newest != null) {
            Request next = newest.next;
            newest.next = oldest;
            oldest = newest;
            newest = next;
        }
        return oldest;
    }

    @Override
    public int inFlight() {
        return free.length - freeCount;
    }

    @Override
    public int fd() {
        return signal.fd();
    }

    @Override
    public void close() {
        if (signal.fd() < 0) {
            return;
        }
        submit();
        for (; unreported != null; unreported = unreported.next) {
            freeCount++;
        }
        try {
            // Also for the signals that are still to come: a worker must not write to a closed fd
            while (inFlight() > 0 || owed > 0) {
                owed -= signal.await();
                Request request = (Request) DONE.getAndSet(this, null);
                owed += request == null ? 0 : 1;
                for (; request != null; request = request.next) {
                    freeCount++;
                }
            }
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
        signal.close();
    }
}

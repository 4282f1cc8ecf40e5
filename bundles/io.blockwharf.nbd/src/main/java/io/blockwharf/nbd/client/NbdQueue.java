package io.blockwharf.nbd.client;

import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.nbd.wire.RequestHeader;

import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Requests that are submitted together go to the socket with one call; completions come from the
 * connection's thread, which signals once for those that nobody has looked at.
 */
final class NbdQueue implements BlockQueue {
    private final Remote remote;
    private final EventFd signal;

    // The serving thread's
    private final Request[] free;
    private int freeCount;

    /**
     * Done, taken, and left by {@link #reap} only if somebody to whom one was reported has thrown
     * something: then they are its next ones.
     */
    private Request unreported;

    private Request started;
    private Request lastStarted;

    // Guarded by this
    private Request done;
    private Request lastDone;

    NbdQueue(Remote remote, int depth) throws LinuxException {
        this.remote = remote;
        MemorySegment headers =
                Arena.ofAuto().allocate((long) depth * RequestHeader.EXTENDED_BYTES, 8);
        free = new Request[depth];
        for (int i = 0; i < depth; i++) {
            free[i] =
                    new Request(
                            this::finished,
                            headers.asSlice(
                                    (long) i * RequestHeader.EXTENDED_BYTES,
                                    RequestHeader.EXTENDED_BYTES));
        }
        freeCount = depth;
        signal = EventFd.open();
    }

    // --- Starting ----------------------------------------------------------------------------

    @Override
    public void read(long cookie, long offset, IoVector into) {
        start(cookie, Request.Kind.READ, offset, into.byteCount(), into, 0);
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        start(cookie, Request.Kind.WRITE, offset, from.byteCount(), from, flags);
    }

    @Override
    public void flush(long cookie) {
        start(cookie, Request.Kind.FLUSH, 0, 0, null, 0);
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        start(cookie, Request.Kind.DISCARD, offset, length, null, 0);
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        start(cookie, Request.Kind.WRITE_ZEROES, offset, length, null, flags);
    }

    private void start(
            long cookie, Request.Kind kind, long offset, long length, IoVector vector, int flags) {
        if (freeCount == 0) {
            throw new IllegalStateException("more requests in flight than the queue is deep");
        }
        Request request = free[--freeCount].set(kind, offset, length, vector, flags);
        request.tag = cookie;
        if (started == null) {
            started = request;
        } else {
            lastStarted.next = request;
        }
        lastStarted = request;
    }

    @Override
    public void submit() {
        Request chain = started;
        if (chain != null) {
            started = null;
            remote.submit(chain);
        }
    }

    // --- Reporting ---------------------------------------------------------------------------

    private synchronized void finished(Request request) {
        if (done == null) {
            done = request;
            try {
                signal.signal();
            } catch (LinuxException e) {
                throw new UncheckedIOException(e); // an eventfd that is open can be written
            }
        } else {
            lastDone.next = request;
        }
        lastDone = request;
    }

    private synchronized Request takeDone() {
        Request chain = done;
        if (chain != null) {
            done = null;
            try {
                signal.clear();
            } catch (LinuxException e) {
                throw new UncheckedIOException(e);
            }
        }
        return chain;
    }

    @Override
    public int reap(Completion completion) {
        int count = 0;
        if (unreported == null) {
            unreported = takeDone();
        }
        for (; unreported != null; count++) {
            Request request = unreported;
            unreported = request.next;
            long cookie = request.tag;
            Errno result = request.result();
            // Free before it is reported: the callback may start the next one
            request.clear();
            free[freeCount++] = request;
            completion.completed(cookie, result);
        }
        return count;
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
        submit();
        try {
            while (inFlight() > 0) {
                if (reap((_, _) -> {}) == 0) {
                    signal.await();
                }
            }
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
        signal.close();
    }
}

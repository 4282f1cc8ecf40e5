package io.blockwharf.nbd.client;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.nbd.wire.RequestHeader;
import io.blockwharf.nbd.wire.TransmissionFlags;

import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Map;
import java.util.Optional;

/** A node that is an export of an NBD server. */
final class NbdImage implements BlockImage {
    /** How much further than asked the server is asked: most of it is one answer for a file. */
    private static final long STATUS_BYTES = 1L << 30;

    /** A request of a thread that waits for it. */
    private static final class Waiting implements Request.Owner {
        final Request request =
                new Request(this, Arena.ofAuto().allocate(RequestHeader.EXTENDED_BYTES, 8));
        private boolean finished;

        @Override
        public synchronized void finished(Request same) {
            finished = true;
            notifyAll();
        }

        synchronized void await() {
            boolean interrupted = false;
            while (!finished) {
                try {
                    wait();
                } catch (InterruptedException e) {
                    interrupted = true; // the buffer is the server's until it answers
                }
            }
            finished = false;
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    private final Remote remote;
    private final Terms terms;
    private final String filename;
    private final BlockLimits limits;

    /** What there is to tell about the allocation if the server does not. */
    private final Extent all;

    private final Deque<Waiting> unused = new ArrayDeque<>();

    NbdImage(Remote remote, String filename) {
        this.remote = remote;
        this.filename = filename;
        terms = remote.terms();
        limits =
                new BlockLimits(
                        terms.minimum(), 1, terms.preferred(), terms.maximum(), terms.minimum());
        all = Extent.data(0, Math.max(1, terms.size()));
    }

    @Override
    public long length() {
        return terms.size();
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    @Override
    public boolean readOnly() {
        return terms.has(TransmissionFlags.READ_ONLY);
    }

    /** See {@link NbdDriver#reconfigure}. */
    void reopened(boolean readOnly) {
        remote.writes(!readOnly && !readOnly());
    }

    @Override
    public Optional<BlockQueue> openQueue(int depth) {
        try {
            return Optional.of(new NbdQueue(remote, depth));
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    // --- Requests that are waited for -----------------------------------------------------------

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        carryOut(Request.Kind.READ, offset, into.byteCount(), into, 0);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        carryOut(Request.Kind.WRITE, offset, from.byteCount(), from, flags);
    }

    @Override
    public void flush() throws BlockIoException {
        carryOut(Request.Kind.FLUSH, 0, 0, null, 0);
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        carryOut(Request.Kind.DISCARD, offset, length, null, 0);
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        carryOut(Request.Kind.WRITE_ZEROES, offset, length, null, flags);
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        if (terms.context().isEmpty()) {
            return all;
        }
        long asked = Math.min(Math.max(length, STATUS_BYTES), terms.size() - offset);
        return carryOut(Request.Kind.STATUS, offset, asked, null, 0).orElse(all);
    }

    private Optional<Extent> carryOut(
            Request.Kind kind, long offset, long length, IoVector vector, int flags)
            throws BlockIoException {
        Waiting waiting;
        synchronized (unused) {
            waiting = unused.poll();
        }
        if (waiting == null) {
            waiting = new Waiting();
        }
        Request request = waiting.request.set(kind, offset, length, vector, flags);
        remote.submit(request);
        waiting.await();
        request.clear();
        Errno result = request.result();
        Extent extent = request.extent();
        synchronized (unused) {
            unused.push(waiting);
        }
        if (result != Errno.OK) {
            throw new BlockIoException(result, "%s: %s".formatted(filename, result));
        }
        return Optional.ofNullable(extent);
    }

    @Override
    public void resize(long length) throws BlockIoException {
        throw new BlockIoException(Errno.ENOTSUP, "Cannot resize NBD nodes");
    }

    // --- Description -------------------------------------------------------------------------

    @Override
    public String filename() {
        return filename;
    }

    @Override
    public Map<String, Object> details() {
        return Map.of(
                "connected", remote.connected(), "replies", terms.style().name().toLowerCase());
    }

    @Override
    public void close() {
        remote.close();
    }
}

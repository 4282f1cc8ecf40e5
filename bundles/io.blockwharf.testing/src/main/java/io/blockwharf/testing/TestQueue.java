package io.blockwharf.testing;

import io.blockwharf.api.block.BlockIo;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Executor;
import java.util.concurrent.Phaser;

/**
 * A queue of a disk in a test. What was started runs when it is submitted, wherever the test's
 * executor runs it: on the spot ({@code Runnable::run}), on threads, or once the test lets it.
 */
public final class TestQueue implements BlockQueue {
    private record Done(long cookie, Errno result) {}

    private interface Request {
        void run() throws BlockIoException;
    }

    private final BlockIo disk;
    private final int depth;
    private final Executor executor;
    private final boolean batchesReads;
    private final EventFd ready;
    private final List<Runnable> started = new ArrayList<>();
    private final List<Runnable> tried = new ArrayList<>();
    private final List<Done> done = new ArrayList<>();
    private final Phaser running = new Phaser(1);
    private int inFlight;
    private volatile boolean closed;

    /**
     * An empty queue.
     *
     * @param disk what requests are carried out on
     * @param depth one more request in flight is refused, as the contract says
     * @param executor is given each request when it is submitted
     * @throws UncheckedIOException if the host has no descriptors left
     */
    public TestQueue(BlockIo disk, int depth, Executor executor) {
        this(disk, depth, executor, false);
    }

    /** The same, with its answer to {@link BlockQueue#batchesReads}. */
    public TestQueue(BlockIo disk, int depth, Executor executor, boolean batchesReads) {
        this.disk = disk;
        this.depth = depth;
        this.executor = executor;
        this.batchesReads = batchesReads;
        try {
            ready = EventFd.open();
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void start(long cookie, Request request) {
        if (inFlight == depth) {
            throw new IllegalStateException("too many in flight");
        }
        inFlight++;
        running.register();
        started.add(() -> finish(cookie, request));
    }

    private void finish(long cookie, Request request) {
        Errno result = Errno.OK;
        try {
            request.run();
        } catch (BlockIoException e) {
            result = e.errno();
        }
        synchronized (done) {
            done.add(new Done(cookie, result));
        }
        try {
            ready.signal();
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        } finally {
            running.arriveAndDeregister();
        }
    }

    @Override
    public boolean batchesReads() {
        return batchesReads;
    }

    @Override
    public void read(long cookie, long offset, IoVector into) {
        start(cookie, () -> disk.read(offset, into));
    }

    /** On the spot, wherever the test's executor runs other requests. */
    @Override
    public void tryRead(long cookie, long offset, IoVector into) {
        if (inFlight == depth) {
            throw new IllegalStateException("too many in flight");
        }
        inFlight++;
        running.register();
        tried.add(
                () ->
                        finish(
                                cookie,
                                () -> {
                                    if (!disk.tryRead(offset, into)) {
                                        throw new BlockIoException(Errno.EAGAIN, "would wait");
                                    }
                                }));
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        start(cookie, () -> disk.write(offset, from, flags));
    }

    @Override
    public void flush(long cookie) {
        start(cookie, disk::flush);
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        start(cookie, () -> disk.discard(offset, length));
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        start(cookie, () -> disk.writeZeroes(offset, length, flags));
    }

    @Override
    public void submit() {
        for (int i = 0; i < tried.size(); i++) { // allocates nothing, for tests that measure that
            tried.get(i).run();
        }
        tried.clear();
        for (int i = 0; i < started.size(); i++) {
            executor.execute(started.get(i));
        }
        started.clear();
    }

    @Override
    public int reap(Completion completion) {
        if (inFlight == 0) {
            return 0;
        }
        List<Done> finished;
        synchronized (done) {
            try {
                ready.clear();
            } catch (LinuxException e) {
                throw new UncheckedIOException(e);
            }
            finished = List.copyOf(done);
            done.clear();
        }
        inFlight -= finished.size();
        finished.forEach(request -> completion.completed(request.cookie(), request.result()));
        return finished.size();
    }

    @Override
    public int inFlight() {
        return inFlight;
    }

    @Override
    public int fd() {
        return ready.fd();
    }

    @Override
    public void close() {
        started.forEach(Runnable::run); // the executor might keep them for ever
        running.arriveAndAwaitAdvance();
        ready.close();
        closed = true;
    }

    /** Whether its user gave it back. */
    public boolean closed() {
        return closed;
    }
}

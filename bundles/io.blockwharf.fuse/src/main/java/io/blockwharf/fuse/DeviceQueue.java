package io.blockwharf.fuse;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.fuse.wire.Reply;
import io.blockwharf.fuse.wire.Request;
import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.Poll;

import org.osgi.service.log.Logger;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.concurrent.Executor;

/**
 * One descriptor of {@code /dev/fuse}: reads requests, answers them, one thread. What can be done
 * without waiting for a disk is done on the spot; the rest goes through a block queue, and the next
 * request is read meanwhile.
 *
 * <p>The thread is one of its own ({@link #run}), which sleeps in read(2) as long as nothing is at
 * the disk: one system call for a request and one for its answer, and the kernel wakes one thread
 * per request. Or it is an I/O thread's ({@link #attach}). Nothing is allocated per request.
 */
final class DeviceQueue implements Queue, Slot.Later {
    /** Requests under way at once. */
    private static final int DEPTH = 64;

    /** Data begins on a page: the buffer is good for O_DIRECT. */
    private static final int DATA_AT = 4096;

    private static final int REQUEST_AT = DATA_AT - Request.WRITE_HEADER_BYTES;
    private static final int REPLY_AT = DATA_AT - Reply.HEADER_BYTES;

    /** After a request that had to wait: how many to ask for without sleeping in read(2). */
    private static final int PATIENCE = 64;

    /** An I/O thread serves others, too. */
    private static final int TURN = 64;

    private final CharDevice device;
    private final FuseFile file;
    private final BlockNode node;
    private final int maxTransfer;
    private final Logger log;
    private final Runnable ended;
    private final Arena arena = Arena.ofShared();
    private final MappedRegion[] regions = new MappedRegion[DEPTH];
    private final Slot[] slots = new Slot[DEPTH];
    private final int[] free = new int[DEPTH];
    private final BlockQueue.Completion completion = this::completed;

    /** Where a thread of its own can be woken other than by the end of the connection, or -1. */
    private final int wakeFd;

    private volatile boolean stop;

    /** Requests that were read and not yet answered. Written by the queue's thread. */
    private volatile int busy;

    private int made;
    private int freeCount;
    private BlockQueue blockQueue;
    private boolean started;
    private boolean blocking = true;
    private int patience;

    private IoThread ioThread;
    private Executor slowly;
    private IoThread.Watch deviceWatch;
    private IoThread.Watch blockWatch;
    private boolean watchingDevice;
    private boolean over;

    /**
     * A queue that does not run yet.
     *
     * @param device stays the caller's, to be closed after {@code ended} was called
     * @param wakeFd polls readable when the queue shall look whether it is to stop; -1 if the end
     *     of the connection is sure to tell it
     * @param ended called once, when the connection has ended or the queue was stopped, and nothing
     *     is under way any more
     */
    DeviceQueue(
            CharDevice device,
            FuseFile file,
            BlockNode node,
            int maxTransfer,
            int wakeFd,
            Logger log,
            Runnable ended) {
        this.device = device;
        this.file = file;
        this.node = node;
        this.maxTransfer = maxTransfer;
        this.log = log;
        this.wakeFd = wakeFd;
        this.ended = ended;
    }

    @Override
    public boolean busy() {
        return busy > 0;
    }

    /** The caller makes the wake descriptor readable. */
    @Override
    public void stop() {
        stop = true;
    }

    @Override
    public BlockQueue blockQueue() {
        if (blockQueue == null) {
            blockQueue = node.openQueue(DEPTH);
            if (ioThread != null) {
                blockWatch = ioThread.watch(blockQueue.fd(), this::reapable);
            }
        }
        started = true;
        return blockQueue;
    }

    // A thread of its own

    /** Serves until the connection ends. */
    void run() {
        try {
            Poll poll = new Poll(3);
            while (!stop) {
                if (patience == 0 && inFlight() == 0 && wakeFd < 0) {
                    blocking(true);
                    serveOne();
                } else {
                    blocking(false);
                    await(poll);
                    serveSome(DEPTH);
                }
                submit();
            }
        } catch (LinuxException e) {
            connectionEnded(e);
        } catch (RuntimeException | Error e) {
            log.error("A FUSE queue fails", e);
        } finally {
            free();
        }
    }

    private void await(Poll poll) throws LinuxException {
        poll.set(0, freeSlot() ? device.fd() : -1, Poll.IN);
        poll.set(1, inFlight() > 0 ? blockQueue.fd() : -1, Poll.IN);
        poll.set(2, wakeFd, Poll.IN);
        poll.await(-1);
        reap();
    }

    private void blocking(boolean on) throws LinuxException {
        if (blocking != on) {
            device.blocking(on);
            blocking = on;
        }
    }

    // An I/O thread

    /**
     * Lets an I/O thread serve it until the connection ends.
     *
     * @param executor for what may take long and must not hold up the thread
     */
    void attach(IoThread thread, Executor executor) throws LinuxException {
        blocking(false);
        thread.execute(
                () -> {
                    ioThread = thread;
                    slowly = executor;
                    watchingDevice = true;
                    deviceWatch = thread.watch(device.fd(), this::readable);
                });
    }

    private void readable() {
        if (over) {
            return;
        }
        try {
            serveSome(TURN);
            submit();
            pace();
        } catch (LinuxException e) {
            connectionEnded(e);
            over = true;
            deviceWatch.close();
            freeWhenIdle();
        }
    }

    private void reapable() {
        reap();
        if (over) {
            freeWhenIdle();
        } else {
            readable();
        }
    }

    /** A client that sends faster than the disk takes it has to wait. */
    private void pace() {
        boolean room = freeSlot();
        if (room != watchingDevice) {
            watchingDevice = room;
            deviceWatch.readable(room);
        }
    }

    private void freeWhenIdle() {
        if (busy > 0) {
            return;
        }
        if (blockWatch != null) {
            blockWatch.close();
        }
        free();
    }

    private void serveSlowly(Slot slot) {
        slowly.execute(
                () -> {
                    int answer = file.begin(slot);
                    ioThread.execute(
                            () -> {
                                finish(slot, answer);
                                reapable();
                            });
                });
    }

    // Both

    private void connectionEnded(LinuxException e) {
        // ENODEV: unmounted; ECONNABORTED: aborted.
        if (!e.is(Errnos.ENODEV) && !e.is(Errnos.ECONNABORTED)) {
            log.error("A FUSE connection fails: {}", e.getMessage());
        }
    }

    private void free() {
        if (blockQueue != null) {
            blockQueue.close();
        }
        for (int i = 0; i < made; i++) {
            regions[i].close();
        }
        arena.close();
        busy = 0;
        ended.run();
    }

    private int inFlight() {
        return blockQueue == null ? 0 : blockQueue.inFlight();
    }

    private boolean freeSlot() {
        return freeCount > 0 || made < DEPTH;
    }

    private void serveSome(int limit) throws LinuxException {
        for (int i = 0; i < limit && freeSlot() && serveOne(); i++) {
            // until the device has no more
        }
    }

    /** Reads a request and begins it; false if there is none. */
    private boolean serveOne() throws LinuxException {
        Slot slot = take();
        long length;
        try {
            length = device.read(slot.data, REQUEST_AT, Request.WRITE_HEADER_BYTES + maxTransfer);
        } catch (LinuxException e) {
            free[freeCount++] = slot.number;
            if (e.is(Errnos.ENOENT)) { // it was interrupted before it was read
                return true;
            }
            throw e;
        }
        if (length == CharDevice.WOULD_BLOCK) {
            free[freeCount++] = slot.number;
            return false;
        }
        if (patience > 0) {
            patience--;
        }
        busy = busy + 1;
        if (!slot.request.onDevice(slot.data, REQUEST_AT, length)) {
            log.warn("The kernel sent a FUSE request of {} bytes", length);
            release(slot);
            return true;
        }
        slot.accept();
        if (slowly != null && FuseFile.isSlow(slot.request)) {
            serveSlowly(slot);
        } else {
            finish(slot, file.begin(slot));
        }
        return true;
    }

    private Slot take() {
        if (freeCount > 0) {
            return slots[free[--freeCount]];
        }
        MemorySegment memory;
        try {
            regions[made] = MappedRegion.anonymous(DATA_AT + (long) maxTransfer);
            memory = regions[made].segment();
        } catch (LinuxException e) {
            throw new OutOfMemoryError(e.getMessage());
        }
        Slot slot = new Slot(made, memory, DATA_AT, this, arena);
        slots[made++] = slot;
        return slot;
    }

    private void release(Slot slot) {
        free[freeCount++] = slot.number;
        busy = busy - 1;
    }

    private void finish(Slot slot, int answer) {
        switch (answer) {
            case FuseFile.LATER -> patience = PATIENCE;
            case FuseFile.NONE -> release(slot);
            default -> reply(slot, answer);
        }
    }

    private void reply(Slot slot, int answer) {
        int body = Math.max(answer, 0);
        Reply.header(slot.data, REPLY_AT, body, Math.max(-answer, 0), slot.unique);
        try {
            device.write(slot.data, REPLY_AT, Reply.HEADER_BYTES + body);
        } catch (LinuxException e) {
            // ENOENT: nobody waits for it any more.
            file.undo(slot);
            if (!e.is(Errnos.ENOENT) && !e.is(Errnos.ENODEV)) {
                log.warn("The kernel refuses the answer to {}: {}", slot.opcode, e.getMessage());
            }
        }
        release(slot);
    }

    private void submit() {
        if (started) {
            started = false;
            blockQueue.submit();
        }
    }

    private void reap() {
        if (blockQueue != null) {
            blockQueue.reap(completion);
        }
    }

    private void completed(long cookie, Errno result) {
        Slot slot = slots[(int) cookie];
        reply(slot, file.end(slot, result));
    }
}

package io.blockwharf.virtio.blk;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.virtio.queue.DescriptorChain;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.ArrayDeque;
import java.util.Optional;

/**
 * Executes the requests of one virtqueue. Owned by the thread that serves the queue: it calls
 * {@link #poll} when the driver has kicked the queue and when {@link #fd} is readable, {@link
 * #spin} whenever else it likes, and {@link #arm} before it sleeps.
 *
 * <p>A read or write is tried inline first, unless there are many reads and the node's queue takes
 * them better together; what would block, and everything that is slow by nature, goes through a
 * {@link BlockQueue} and completes later and out of order. What was finished in one call is given
 * back together, with one notification; where the driver wants it {@link Virtqueue#F_IN_ORDER in
 * order}, what is finished waits for what was taken before it. Nothing is allocated for a request
 * once as many have been in flight as ever are.
 */
public final class BlkQueueServer implements AutoCloseable {
    private static final int TYPE_IN = 0;
    private static final int TYPE_OUT = 1;
    private static final int TYPE_FLUSH = 4;
    private static final int TYPE_GET_ID = 8;
    private static final int TYPE_DISCARD = 11;
    private static final int TYPE_WRITE_ZEROES = 13;

    /** From so many requests at a time on, reads are submitted together. */
    private static final int BATCH = 4;

    /**
     * Looks in vain after which the thread has nothing else to do either: with other queues to
     * serve it finds one of them empty now and then.
     */
    static final int IDLE = 8;

    /** Rounds after which to look again how much the driver keeps in flight. */
    private static final int HALVES = 64;

    /** Requests that a queue has in any case, see {@link RequestBudget}. */
    static final int FEW = 8;

    /** The most bytes of a read or write, as QEMU has it: its memory can be the same many times. */
    private static final long TRANSFER_MAX = VirtioBlk.SIZE_MAX;

    private static final int HEADER_BYTES = 16;
    private static final int RANGE_BYTES = 16;
    private static final int RANGE_FLAG_UNMAP = 1;

    private static final ValueLayout.OfInt U32 =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong U64 =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    /** A request that was taken: its buffer and, for ranges, how far it has come. */
    private static final class Request {
        final int cookie;
        final DescriptorChain chain;
        final MemorySegment scratch;
        int type;

        /** Bytes of the answer, without the status byte, that the driver has room for. */
        long room;

        /** Those of them that were written. */
        long written;

        /** Where the status byte goes. */
        MemorySegment statusBase;

        long statusAt;

        /** See {@link DescriptorChain#touched}. */
        long touched;

        int range;
        int ranges;

        /** Whether it waits for others that the driver wants back first. */
        boolean finished;

        Request(int cookie, Arena arena) {
            this.cookie = cookie;
            // Header and status besides the data, and a few more where regions meet.
            chain = new DescriptorChain(arena, VirtioBlk.SEG_MAX + 34);
            scratch = arena.allocate((long) RANGE_BYTES * VirtioBlk.RANGE_SEGMENTS, 8);
        }
    }

    private final VirtioBlk device;
    private final Virtqueue queue;
    private final Runnable notification;

    private final BlockQueue blocking;
    private final Arena arena = Arena.ofShared();
    private final Request[] requests;
    private final ArrayDeque<Request> free;

    /** If the driver wants its buffers in order: those it has not got back, oldest first. */
    private final Optional<ArrayDeque<Request>> order;

    private final BlockQueue.Completion completion = this::completed;

    /** A header that lies in more than one piece. */
    private final IoVector pieces;

    private int made;
    private long served;
    private boolean armed;

    /** Requests taken by the last round since the driver was waited for. */
    private int last;

    /** By the last two of these rounds: about what the driver keeps in flight. */
    private int burst;

    /** Requests that {@link #spin} takes at a time, the ring's size or less. */
    private int turn;

    /** Times that it has found nothing, one after the other. */
    private int vain;

    /** Rounds until it takes all that is there again. */
    private int halves;

    /** Whether the reads of this round go to a queue that is good at it; as many as last time. */
    private boolean together;

    /**
     * Takes a queue into service.
     *
     * @param notification tells the driver that buffers were given back; called on this thread
     */
    public BlkQueueServer(VirtioBlk device, Virtqueue queue, Runnable notification) {
        this.device = device;
        this.queue = queue;
        this.turn = queue.size();
        this.notification = notification;
        int depth = Math.min(queue.size(), 1024);
        this.requests = new Request[depth];
        this.free = new ArrayDeque<>(depth);
        this.order =
                queue.negotiated(Virtqueue.F_IN_ORDER)
                        ? Optional.of(new ArrayDeque<>(depth))
                        : Optional.empty();
        this.pieces = new IoVector(arena, HEADER_BYTES);
        this.blocking = device.node().openQueue(depth);
    }

    /**
     * Executes what is available, at most a ring's worth, and gives back what is finished. If there
     * was anything the driver need not notify from then on: the caller looks again, or calls {@link
     * #arm}.
     *
     * @return whether there was anything
     * @throws VirtqueueException if the driver broke the rules; the queue cannot go on
     */
    public boolean poll() throws VirtqueueException {
        turn = queue.size();
        return poll(turn);
    }

    /**
     * As {@link #poll}, for a thread that looks without having been told that there is something.
     * When it has found nothing for some time, driver and device have a processor each, and the
     * driver has nothing to do but to wait for what it has sent. So for some rounds half as much as
     * it keeps in flight is given back at a time: it makes the next requests ready while the other
     * half is executed.
     *
     * @return whether there was anything
     * @throws VirtqueueException if the driver broke the rules; the queue cannot go on
     */
    public boolean spin() throws VirtqueueException {
        if (!poll(turn)) {
            if (++vain == IDLE && burst > 0) {
                turn = Math.max(BATCH, (burst + 1) / 2);
                halves = HALVES;
                burst = 0;
                last = 0;
            }
            return false;
        }
        vain = 0;
        if (turn < queue.size() && --halves == 0) {
            turn = queue.size();
        }
        return true;
    }

    private boolean poll(int most) throws VirtqueueException {
        boolean worked = blocking.reap(completion) > 0;
        // Never more than a ring's worth, so that a busy driver does not keep completions waiting.
        int taken = 0;
        for (; taken < most && !exhausted() && queue.hasNext(); taken++) {
            if (armed) {
                armed = false;
                queue.disableNotifications();
            }
            Request request = take();
            queue.next(request.chain);
            if (order.isPresent()) {
                order.get().addLast(request);
            }
            execute(request);
        }
        if (taken > 0) {
            served += taken;
            burst = last + taken;
            last = taken;
            worked = true;
            together = taken >= BATCH && blocking.batchesReads();
        }
        if (worked) {
            finishBatch();
        }
        return worked;
    }

    /**
     * Asks the driver for a notification of the next buffer; {@link #fd} tells of completions.
     *
     * @return whether it is safe to wait: false if a buffer is there already, for {@link #poll}
     */
    public boolean arm() throws VirtqueueException {
        // With every request in flight a kick could not be answered: wait for completions instead.
        if (armed || exhausted()) {
            return true;
        }
        armed = true;
        return queue.enableNotifications();
    }

    private boolean exhausted() {
        return free.isEmpty()
                && (made == requests.length || made >= FEW && !device.requests.hasMore());
    }

    private Request take() {
        Request request = free.pollLast();
        if (request == null) {
            request = new Request(made, arena);
            requests[made++] = request;
            if (made > FEW) {
                device.requests.take();
            }
        }
        return request;
    }

    private void finishBatch() {
        blocking.submit();
        // What was in the cache is finished already, and may have started its next range.
        while (blocking.inFlight() > 0 && blocking.reap(completion) > 0) {
            blocking.submit();
        }
        if (queue.publish()) {
            notification.run();
        }
    }

    /** Section 5.2.6: reads the header, checks the request, starts it. */
    private void execute(Request request) throws VirtqueueException {
        IoVector readable = request.chain.readable();
        IoVector writable = request.chain.writable();
        if (readable.byteCount() < HEADER_BYTES || writable.byteCount() < 1) {
            throw new VirtqueueException("request without a header or a status byte (5.2.6)");
        }
        MemorySegment header = readable.base(0);
        long at = readable.offset(0);
        if (readable.length(0) < HEADER_BYTES) {
            pieces.slice(readable, 0, HEADER_BYTES).copyTo(request.scratch, 0);
            header = request.scratch;
            at = 0;
        }
        request.type = header.get(U32, at);
        long sector = header.get(U64, at + 8);
        placeStatus(request, writable);
        request.written = 0;
        request.touched = 0;
        if (device.refusing()) {
            finish(request, BlkStatus.of(Errno.ESHUTDOWN));
            return;
        }
        try {
            switch (request.type) {
                case TYPE_IN -> {
                    IoVector data = writable.narrow(0, request.room);
                    long offset = offset(sector, request.room);
                    request.written = request.room;
                    request.touched = request.room;
                    if (!together && device.node().tryRead(offset, data)) {
                        finish(request, BlkStatus.OK);
                    } else {
                        blocking.read(request.cookie, offset, data);
                    }
                }
                case TYPE_OUT -> {
                    long length = readable.byteCount() - HEADER_BYTES;
                    IoVector data = readable.narrow(HEADER_BYTES, length);
                    long offset = offset(sector, length);
                    checkWritable();
                    if (device.node().tryWrite(offset, data, 0)) {
                        finish(request, BlkStatus.OK);
                    } else {
                        blocking.write(request.cookie, offset, data, 0);
                    }
                }
                case TYPE_FLUSH -> blocking.flush(request.cookie);
                case TYPE_GET_ID -> {
                    long length = Math.min(request.room, VirtioBlk.ID_BYTES);
                    writable.narrow(0, length).copyFrom(device.id(), 0);
                    request.written = length;
                    request.touched = length;
                    finish(request, BlkStatus.OK);
                }
                case TYPE_DISCARD, TYPE_WRITE_ZEROES -> {
                    long length = readable.byteCount() - HEADER_BYTES;
                    checkWritable();
                    if (length == 0
                            || length % RANGE_BYTES != 0
                            || length / RANGE_BYTES > VirtioBlk.RANGE_SEGMENTS) {
                        finish(request, BlkStatus.UNSUPP);
                        return;
                    }
                    // Copied before it is checked: the driver could change it in between.
                    readable.narrow(HEADER_BYTES, length).copyTo(request.scratch, 0);
                    request.range = 0;
                    request.ranges = (int) (length / RANGE_BYTES);
                    for (int i = 0; i < request.ranges; i++) {
                        if (!rangeFlagsKnown(request, i)) {
                            finish(request, BlkStatus.UNSUPP);
                            return;
                        }
                        rangeOffset(request, i);
                    }
                    startRange(request);
                }
                default -> finish(request, BlkStatus.UNSUPP);
            }
        } catch (BlockIoException e) {
            request.written = 0;
            finish(request, BlkStatus.of(e.errno()));
        }
    }

    /** The last byte that the device may write, section 5.2.6; what is before it is the data. */
    private static void placeStatus(Request request, IoVector writable) {
        int last = writable.count() - 1;
        MemorySegment base = writable.base(last);
        if (request.statusBase != base) { // mostly it is; a store costs more than a look
            request.statusBase = base;
        }
        request.statusAt = writable.offset(last) + writable.length(last) - 1;
        request.room = writable.byteCount() - 1;
    }

    /** Section 5.2.6.1: whole blocks inside the device. */
    private long offset(long sector, long length) throws BlockIoException {
        long capacity = device.capacity();
        long inBlock = device.blockSize() - 1; // a power of two
        if (length > TRANSFER_MAX
                || (length & inBlock) != 0
                || (sector & inBlock / VirtioBlk.SECTOR_BYTES) != 0
                || Long.compareUnsigned(sector, capacity) > 0
                || length / VirtioBlk.SECTOR_BYTES > capacity - sector) {
            throw OUT_OF_RANGE;
        }
        return sector * VirtioBlk.SECTOR_BYTES;
    }

    private void checkWritable() throws BlockIoException {
        if (!device.writable()) {
            throw READ_ONLY;
        }
    }

    // Preallocated: a hostile driver shall not make us fill in stack traces.
    private static final BlockIoException OUT_OF_RANGE =
            new BlockIoException(Errno.EINVAL, "request outside the device or misaligned");
    private static final BlockIoException READ_ONLY =
            new BlockIoException(Errno.EROFS, "the device is read-only");

    private static boolean rangeFlagsKnown(Request request, int i) {
        int flags = request.scratch.get(U32, (long) RANGE_BYTES * i + 12);
        // unmap is for write-zeroes only, the other bits are reserved: section 5.2.6.2.
        return (flags & ~(request.type == TYPE_WRITE_ZEROES ? RANGE_FLAG_UNMAP : 0)) == 0;
    }

    private long rangeLength(Request request, int i) {
        return Integer.toUnsignedLong(request.scratch.get(U32, (long) RANGE_BYTES * i + 8))
                * VirtioBlk.SECTOR_BYTES;
    }

    private long rangeOffset(Request request, int i) throws BlockIoException {
        long length = rangeLength(request, i);
        if (length > (long) VirtioBlk.RANGE_SECTORS * VirtioBlk.SECTOR_BYTES) {
            throw OUT_OF_RANGE;
        }
        return offset(request.scratch.get(U64, (long) RANGE_BYTES * i), length);
    }

    private void startRange(Request request) throws BlockIoException {
        int i = request.range;
        long offset = rangeOffset(request, i);
        long length = rangeLength(request, i);
        if (request.type == TYPE_DISCARD) {
            blocking.discard(request.cookie, offset, length);
        } else {
            int flags = request.scratch.get(U32, (long) RANGE_BYTES * i + 12);
            blocking.writeZeroes(
                    request.cookie,
                    offset,
                    length,
                    (flags & RANGE_FLAG_UNMAP) != 0 ? RequestFlags.MAY_UNMAP : 0);
        }
    }

    private void completed(long cookie, Errno result) {
        Request request = requests[(int) cookie];
        boolean ranges = request.type == TYPE_DISCARD || request.type == TYPE_WRITE_ZEROES;
        if (result == Errno.OK && ranges && ++request.range < request.ranges) {
            try {
                startRange(request);
                return;
            } catch (BlockIoException e) {
                finish(request, BlkStatus.of(e.errno())); // shrunk in the meantime
                return;
            }
        }
        if (result != Errno.OK) {
            request.written = 0;
        }
        finish(request, BlkStatus.of(result));
    }

    private void finish(Request request, byte status) {
        request.statusBase.set(ValueLayout.JAVA_BYTE, request.statusAt, status);
        // The used length counts from the beginning, so the status byte at the end is in it only
        // if everything before it was written (2.7.8).
        if (request.written == request.room) {
            request.written++;
        }
        if (order.isPresent()) {
            request.finished = true;
            giveBackOldest(order.get());
        } else {
            giveBack(request);
        }
    }

    private void giveBackOldest(ArrayDeque<Request> oldestFirst) {
        while (!oldestFirst.isEmpty() && oldestFirst.peekFirst().finished) {
            Request request = oldestFirst.removeFirst();
            request.finished = false;
            giveBack(request);
        }
    }

    private void giveBack(Request request) {
        request.chain.touched(request.touched);
        queue.complete(request.chain, request.written);
        free.addLast(request);
    }

    /** Requests that were taken and not given back. */
    public int inFlight() {
        return made - free.size();
    }

    /** Requests taken since the queue is served; read by any thread, approximately. */
    public long served() {
        return served;
    }

    /** Polls readable when requests in flight have finished and {@link #poll} should be called. */
    public int fd() {
        return blocking.fd();
    }

    /**
     * Gives back what is finished without taking anything new. When nothing is in flight the ring
     * is at rest at {@link Virtqueue#position}; until then call it again when {@link #fd} is
     * readable.
     *
     * @return whether nothing is in flight
     */
    public boolean settle() {
        blocking.reap(completion);
        finishBatch();
        return inFlight() == 0;
    }

    /** Frees the queue's memory; {@link #settle} until it is at rest first. */
    @Override
    public void close() {
        blocking.close();
        device.requests.giveBack(Math.max(0, made - FEW));
        arena.close();
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.testing.TestQueue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.LongPredicate;

/**
 * A disk in memory that can be told to be slow, to fail, and to lie in a file. Blocks of 4 KiB are
 * holes until they are written.
 */
final class FakeNode implements BlockNode {
    static final int BLOCK = 4096;

    /** What disks are filled with; its length is prime, so that no two blocks are alike. */
    private static final byte[] PATTERN = new byte[999_983];

    static {
        new Random(1).nextBytes(PATTERN);
    }

    final MemorySegment memory;
    final List<String> calls = new ArrayList<>();
    private final BitSet stored = new BitSet();
    private final BlockLimits limits;
    private volatile long length;

    /** Whether nothing can be done without waiting. */
    volatile boolean cold;

    /** Where that is so although it is not {@link #cold} as a whole. */
    volatile LongPredicate coldAt = _ -> false;

    /** Whether its queues try several reads together. */
    volatile boolean batchesReads = true;

    /** Whether the queue finishes the newest request first, once {@link #release} is called. */
    volatile boolean held;

    /** Whether the queue does everything on the thread that submits it. */
    volatile boolean direct;

    /** Reads and writes of the byte there fail with {@link #failure}. */
    volatile long badOffset = -1;

    volatile Errno failure = Errno.EIO;
    volatile Optional<HostExtent> host = Optional.empty();

    /** Whether nothing can be pinned. */
    volatile boolean changing;

    /** Whether only reads may come. */
    volatile boolean inactive;

    private int pins;
    private int pinned;
    private final List<TestQueue> queues = new CopyOnWriteArrayList<>();
    private final List<Runnable> heldRequests = new ArrayList<>();

    FakeNode(long length) {
        this(length, BlockLimits.NONE);
    }

    FakeNode(long length, BlockLimits limits) {
        this.length = length;
        this.limits = limits;
        memory = Arena.ofAuto().allocate(length, 4096);
    }

    synchronized void call(String call) {
        calls.add(call);
    }

    synchronized List<String> calls() {
        return List.copyOf(calls);
    }

    /** Lets held requests go, the newest first. */
    void release(int expected) throws InterruptedException {
        synchronized (heldRequests) {
            while (heldRequests.size() < expected) {
                heldRequests.wait();
            }
            for (Runnable request : heldRequests.reversed()) {
                request.run();
            }
            heldRequests.clear();
        }
    }

    void fill(long offset, long bytes, int seed) {
        for (long done = 0; done < bytes; ) {
            int from = (int) ((offset + done) * seed % PATTERN.length);
            long n = Math.min(bytes - done, PATTERN.length - from);
            MemorySegment.copy(
                    PATTERN, from, memory, ValueLayout.JAVA_BYTE, offset + done, (int) n);
            done += n;
        }
        mark(offset, bytes, true);
    }

    private synchronized void mark(long offset, long bytes, boolean data) {
        stored.set((int) (offset / BLOCK), (int) ((offset + bytes + BLOCK - 1) / BLOCK), data);
    }

    @Override
    public String name() {
        return "fake";
    }

    @Override
    public String driver() {
        return "fake";
    }

    @Override
    public boolean readOnly() {
        return false;
    }

    @Override
    public boolean active() {
        return !inactive;
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {}

    @Override
    public void writeCache(boolean enabled) {}

    @Override
    public boolean writeCache() {
        return true;
    }

    @Override
    public void resize(long size) {
        length = size;
    }

    @Override
    public void onResize(Runnable listener) {}

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    private void check(long offset, long bytes) throws BlockIoException {
        if (offset <= badOffset && badOffset < offset + bytes) {
            throw new BlockIoException(failure, "bad block");
        }
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        check(offset, into.byteCount());
        into.copyFrom(memory, offset);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        call("write %d+%d/%d".formatted(offset, from.byteCount(), flags));
        check(offset, from.byteCount());
        from.copyTo(memory, offset);
        mark(offset, from.byteCount(), true);
    }

    @Override
    public void flush() {
        call("flush");
    }

    @Override
    public void discard(long offset, long bytes) {
        call("discard %d+%d".formatted(offset, bytes));
        mark(offset, bytes, false);
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        call("zero %d+%d/%d".formatted(offset, bytes, flags));
        if ((flags & RequestFlags.NO_FALLBACK) != 0 && offset == badOffset) {
            throw new BlockIoException(Errno.ENOTSUP, "not fast");
        }
        memory.asSlice(offset, bytes).fill((byte) 0);
        mark(offset, bytes, (flags & RequestFlags.MAY_UNMAP) == 0);
    }

    @Override
    public synchronized Extent extentAt(long offset, long bytes) throws BlockIoException {
        check(offset, 1);
        int block = (int) (offset / BLOCK);
        boolean data = stored.get(block);
        int from = data ? stored.previousClearBit(block) + 1 : stored.previousSetBit(block) + 1;
        int to = data ? stored.nextClearBit(block) : stored.nextSetBit(block);
        long end = to < 0 ? length : Math.min(length, (long) to * BLOCK);
        long start = (long) from * BLOCK;
        return data
                ? Extent.data(start, end - start)
                : new Extent(start, end - start, false, true, 0);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        if (cold || coldAt.test(offset)) {
            return false;
        }
        read(offset, into);
        return true;
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        if (cold) {
            return false;
        }
        write(offset, from, flags);
        return true;
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long bytes) {
        return host;
    }

    @Override
    public synchronized boolean pin() {
        if (changing) {
            return false;
        }
        pins++;
        pinned++;
        notifyAll();
        return true;
    }

    @Override
    public synchronized void unpin() {
        pins--;
        notifyAll();
    }

    /** Pins that are held. */
    synchronized int pins() {
        return pins;
    }

    /** How often the node was pinned. */
    synchronized int pinned() {
        return pinned;
    }

    /** Waits until so many pins are held. */
    synchronized void awaitPins(int wanted) throws InterruptedException {
        while (pins != wanted) {
            wait();
        }
    }

    @Override
    public void close() {}

    long openQueues() {
        return queues.stream().filter(queue -> !queue.closed()).count();
    }

    @Override
    public BlockQueue openQueue(int depth) {
        TestQueue queue = new TestQueue(this, depth, this::execute, batchesReads);
        queues.add(queue);
        return queue;
    }

    private void execute(Runnable request) {
        if (direct) {
            request.run();
        } else if (held) {
            synchronized (heldRequests) {
                heldRequests.add(request);
                heldRequests.notifyAll();
            }
        } else {
            Thread.startVirtualThread(request);
        }
    }
}

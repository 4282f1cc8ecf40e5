package io.blockwharf.virtio.blk;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.testing.TestQueue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;

/** A disk in memory that can be told to be slow, to hold requests back, and to fail. */
public final class MemoryNode implements BlockNode {
    /** The content. */
    public final MemorySegment bytes;

    /** What changed the disk, in order. */
    public final List<String> calls = new ArrayList<>();

    /** Whether nothing can be done without waiting. */
    public volatile boolean cold;

    /** Whether requests of queues wait for {@link #release}. */
    public volatile boolean held;

    /** What its queues say of {@link BlockQueue#batchesReads}. */
    public volatile boolean batchesReads;

    /** How many reads were asked for inline. */
    public int triedReads;

    /** What it says of itself. */
    public BlockLimits limits = BlockLimits.NONE;

    /** What every request fails with. */
    public volatile Errno failure = Errno.OK;

    /** How often the write cache was set. */
    public volatile int cacheSwitches;

    private final List<Runnable> heldBack = new ArrayList<>();
    private volatile long length;
    private volatile boolean writeCache = true;
    private Runnable resized = () -> {};

    /** A disk full of zeroes that can grow to twice its size. */
    public MemoryNode(long length) {
        this.length = length;
        bytes = Arena.ofAuto().allocate(2 * length, 4096);
    }

    private synchronized void call(String call) throws BlockIoException {
        if (failure != Errno.OK) {
            throw new BlockIoException(failure, "as told");
        }
        calls.add(call);
    }

    /** How many requests are held back. */
    public synchronized int heldBack() {
        return heldBack.size();
    }

    /** Lets the request go that was held back as the {@code i}th of those that still are. */
    public synchronized void release(int i) {
        heldBack.remove(i).run();
    }

    @Override
    public String name() {
        return "memory";
    }

    @Override
    public String driver() {
        return "memory";
    }

    @Override
    public boolean readOnly() {
        return false;
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {}

    @Override
    public void writeCache(boolean enabled) {
        writeCache = enabled;
        cacheSwitches++;
    }

    @Override
    public boolean writeCache() {
        return writeCache;
    }

    @Override
    public void resize(long size) {
        length = size;
        resized.run();
    }

    @Override
    public void onResize(Runnable listener) {
        resized = listener;
    }

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        if (failure != Errno.OK) {
            throw new BlockIoException(failure, "as told");
        }
        into.copyFrom(bytes, offset);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        call((flags & RequestFlags.FUA) != 0 ? "durable write" : "write");
        from.copyTo(bytes, offset);
    }

    @Override
    public void flush() throws BlockIoException {
        call("flush");
    }

    @Override
    public void discard(long offset, long count) throws BlockIoException {
        call("discard %d+%d".formatted(offset, count));
    }

    @Override
    public void writeZeroes(long offset, long count, int flags) throws BlockIoException {
        call("zero %d+%d/%d".formatted(offset, count, flags));
        bytes.asSlice(offset, count).fill((byte) 0);
    }

    @Override
    public Extent extentAt(long offset, long count) {
        return Extent.data(0, length);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        triedReads++;
        if (cold) {
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
    public void close() {}

    @Override
    public BlockQueue openQueue(int depth) {
        return new TestQueue(this, depth, this::execute, batchesReads);
    }

    private void execute(Runnable request) {
        if (!held) {
            request.run();
            return;
        }
        synchronized (this) {
            heldBack.add(request);
        }
    }
}

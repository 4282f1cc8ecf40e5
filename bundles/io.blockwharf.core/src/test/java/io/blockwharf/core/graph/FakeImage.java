package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * An image in memory that notes what it is asked, and fails the test's request when it is asked for
 * something that the contract says it never is.
 */
public class FakeImage implements BlockImage {
    private static final long CAPACITY = 8 << 20;

    /** What was asked, in order, for example {@code write 0+512 fua}. */
    public final List<String> calls = Collections.synchronizedList(new ArrayList<>());

    /** The permissions that were told, in order. */
    public final List<String> permissions = new ArrayList<>();

    /** If present, permissions that include this one are refused. */
    public Optional<Permission> refused = Optional.empty();

    /** If present, requests fail with it. */
    public Optional<Errno> failure = Optional.empty();

    public boolean closed;
    public boolean resizable = true;
    private final MemorySegment memory;
    private final BlockLimits limits;
    private volatile long length;

    public FakeImage(long length) {
        this(length, BlockLimits.NONE);
    }

    public FakeImage(long length, BlockLimits limits) {
        this(length, limits, Arena.ofAuto().allocate(CAPACITY, 4096));
    }

    private FakeImage(long length, BlockLimits limits, MemorySegment memory) {
        this.length = length;
        this.limits = limits;
        this.memory = memory;
    }

    /** The same bytes in an image that is opened anew. */
    public static FakeImage again(FakeImage before) {
        return new FakeImage(before.length, before.limits, before.memory);
    }

    /** An image of a device that wants everything in units of this many bytes. */
    public static FakeImage aligned(long length, int alignment) {
        return new FakeImage(length, new BlockLimits(alignment, alignment, 0, 1 << 20, alignment));
    }

    /** The bytes, wherever the image ends. */
    public MemorySegment memory() {
        return memory;
    }

    private void note(String call) throws BlockIoException {
        if (closed) {
            throw new IllegalStateException("closed");
        }
        calls.add(call);
        if (failure.isPresent()) {
            throw new BlockIoException(failure.get(), "as the test wants it");
        }
    }

    private void contract(boolean kept) {
        if (!kept) {
            throw new IllegalStateException("contract of BlockIo violated");
        }
    }

    private void check(long offset, long bytes, long end) {
        int mask = limits.requestAlignment() - 1;
        contract(offset >= 0 && bytes > 0 && offset <= end - bytes);
        contract(((offset | bytes) & mask) == 0);
    }

    private void check(IoVector vector) {
        int mask = limits.memoryAlignment() - 1;
        contract(vector.byteCount() <= limits.maxTransfer());
        for (int i = 0; i < vector.count(); i++) {
            contract(((vector.base(i).address() + vector.offset(i)) & mask) == 0);
            contract((vector.length(i) & mask) == 0);
        }
    }

    private static String flags(int flags) {
        return ((flags & RequestFlags.FUA) != 0 ? " fua" : "")
                + ((flags & RequestFlags.MAY_UNMAP) != 0 ? " unmap" : "")
                + ((flags & RequestFlags.NO_FALLBACK) != 0 ? " fast" : "");
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
        note("read " + offset + "+" + into.byteCount());
        check(into);
        // The last block may be read whole
        int block = limits.requestAlignment();
        check(offset, into.byteCount(), (length + block - 1) / block * block);
        into.copyFrom(memory, offset);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        note("write " + offset + "+" + from.byteCount() + flags(flags));
        check(from);
        check(offset, from.byteCount(), length);
        from.copyTo(memory, offset);
    }

    @Override
    public void flush() throws BlockIoException {
        note("flush");
    }

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        note("discard " + offset + "+" + bytes);
        check(offset, bytes, length);
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        note("zero " + offset + "+" + bytes + flags(flags));
        check(offset, bytes, length);
        memory.asSlice(offset, bytes).fill((byte) 0);
    }

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        note("extent " + offset + "+" + bytes);
        return Extent.data(0, length);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        read(offset, into);
        return true;
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        write(offset, from, flags);
        return true;
    }

    @Override
    public void resize(long bytes) throws BlockIoException {
        note("resize " + bytes);
        if (!resizable) {
            BlockImage.super.resize(bytes);
        }
        if (bytes < length) {
            memory.asSlice(bytes, length - bytes).fill((byte) 0);
        }
        length = bytes;
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {
        if (refused.filter(taken::contains).isPresent()) {
            throw QmpException.generic("Failed to get \"%s\" lock", refused.get());
        }
        permissions.add(taken + " " + shared);
    }

    @Override
    public String filename() {
        return "fake://";
    }

    @Override
    public Optional<Long> allocatedSize() {
        return Optional.of(0L);
    }

    @Override
    public void close() {
        contract(!closed);
        closed = true;
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

/**
 * The node that an image lies in. What is read behind its end is zero, as QEMU has it; it grows in
 * large steps before it is written to. May be used by any thread.
 */
final class ImageFile {
    private static final long STEP = 16 << 20;
    private static final long LARGEST_STEP = 256 << 20;

    final BlockNode node;

    /** The node cannot grow: a device. */
    private volatile boolean fixed;

    ImageFile(BlockNode node) {
        this.node = node;
    }

    long length() {
        return node.length();
    }

    /** What may be allocated ends here. */
    long limit() {
        return fixed ? length() : Long.MAX_VALUE;
    }

    /** Whether nothing has to be done before everything up to there can be written. */
    boolean reaches(long end) {
        return end <= length() || fixed;
    }

    /** Memory for metadata, big-endian. */
    static ByteBuffer buffer(int bytes) {
        return Arena.ofAuto().allocate(bytes, 4096).asByteBuffer();
    }

    /** Reads metadata. */
    ByteBuffer read(long offset, int bytes) throws BlockIoException {
        ByteBuffer buffer = buffer(bytes);
        read(offset, buffer, true);
        return buffer;
    }

    /**
     * Fills a direct buffer, all of it.
     *
     * @param wait whether it may block
     * @return false if it would have
     */
    boolean read(long offset, ByteBuffer into, boolean wait) throws BlockIoException {
        int stored = Math.clamp(length() - offset, 0, into.capacity());
        MemorySegment memory = MemorySegment.ofBuffer(into.clear());
        if (stored > 0) {
            IoVector vector = new IoVector(Arena.ofAuto(), 1).set(memory, 0, stored);
            if (wait) {
                node.read(offset, vector);
            } else if (!node.tryRead(offset, vector)) {
                return false;
            }
        }
        memory.asSlice(stored).fill((byte) 0);
        return true;
    }

    /** Writes metadata. */
    void write(long offset, byte[] data, int from, int to) throws BlockIoException {
        write(offset, buffer(to - from).put(data, from, to - from));
    }

    /** Writes all of a direct buffer. */
    void write(long offset, ByteBuffer data) throws BlockIoException {
        MemorySegment memory = MemorySegment.ofBuffer(data.clear());
        node.write(offset, new IoVector(Arena.ofAuto(), 1).set(memory, 0, memory.byteSize()), 0);
    }

    /**
     * Makes the file at least that long, and some more. Takes core's lock of sizes, so none of ours
     * may be held. A device stays as it is, and is the {@link #limit}.
     */
    void reserve(long end) throws BlockIoException {
        if (end <= length()) {
            return;
        }
        if (!fixed) {
            long now = length();
            long step = Math.clamp(now / 8 & -STEP, STEP, LARGEST_STEP);
            try {
                node.grow(Math.max(end, now + step));
            } catch (BlockIoException e) {
                if (e.errno() != Errno.ENOTSUP && e.errno() != Errno.EINVAL) {
                    throw e;
                }
                fixed = true;
            }
        }
    }
}

package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.block.JsonFilename;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * An image all of whose writes are compressed. Only whole clusters can be, so its alignment is one,
 * and core reads what is missing; as in QEMU's block/filter-compress.c. Nothing is written inline.
 */
final class CompressImage implements BlockImage {
    private final BlockNode child;
    private final BlockLimits limits;

    CompressImage(BlockNode child) {
        this.child = child;
        BlockLimits below = child.limits();
        int cluster = Math.max(below.requestAlignment(), below.discardAlignment());
        limits =
                new BlockLimits(
                        cluster,
                        below.memoryAlignment(),
                        below.optimalTransfer(),
                        Math.max(cluster, below.maxTransfer()),
                        cluster);
    }

    @Override
    public long length() {
        return child.length();
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        child.read(offset, into);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return child.tryRead(offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        child.write(offset, from, flags | RequestFlags.COMPRESSED);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) {
        return false;
    }

    @Override
    public void flush() throws BlockIoException {
        child.flush();
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        child.discard(offset, length);
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        child.writeZeroes(offset, length, flags);
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        return child.extentAt(offset, length);
    }

    @Override
    public void resize(long length) throws BlockIoException {
        child.resize(length);
    }

    @Override
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"compress\""));
        members.put("file", Optional.of(JsonFilename.child(child)));
        return JsonFilename.of(members);
    }

    @Override
    public Optional<Boolean> dirty() {
        return child.dirty();
    }

    @Override
    public Optional<Long> allocatedSize() {
        return child.allocatedSize();
    }

    @Override
    public Optional<Long> clusterSize() {
        return Optional.of((long) limits.requestAlignment());
    }

    @Override
    public void close() {}
}

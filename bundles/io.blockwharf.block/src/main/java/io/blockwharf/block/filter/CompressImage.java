package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
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
final class CompressImage extends FilterImage {
    private final BlockLimits limits;

    CompressImage(BlockNode child) {
        super(child);
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
    public BlockLimits limits() {
        return limits;
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
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"compress\""));
        members.put("file", Optional.of(JsonFilename.child(child)));
        return JsonFilename.of(members);
    }

    @Override
    public Optional<Long> clusterSize() {
        return Optional.of((long) limits.requestAlignment());
    }
}

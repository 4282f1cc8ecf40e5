package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;
import io.blockwharf.api.block.RequestFlags;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;

/**
 * An image all of whose writes are compressed. Only whole clusters can be, so its alignment is one,
 * and core reads what is missing; as in QEMU's block/filter-compress.c. Nothing is written inline.
 */
final class CompressImage extends FilterImage {
    CompressImage(BlockNode child) {
        super(child);
    }

    private static int cluster(BlockLimits below) {
        return Math.max(below.requestAlignment(), below.discardAlignment());
    }

    @Override
    public BlockLimits limits() {
        BlockLimits below = child.limits();
        int cluster = cluster(below);
        return new BlockLimits(
                cluster,
                below.memoryAlignment(),
                below.optimalTransfer(),
                Math.max(cluster, below.maxTransfer()),
                cluster);
    }

    /**
     * A snapshot may have put an image with larger clusters below since core has asked for the
     * limits: parts of those are stored as they are.
     */
    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        long inCluster = cluster(child.limits()) - 1;
        long end = offset + from.byteCount();
        boolean whole =
                (offset & inCluster) == 0 && ((end & inCluster) == 0 || end == child.length());
        child.write(offset, from, whole ? flags | RequestFlags.COMPRESSED : flags);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) {
        return false;
    }

    @Override
    public String filename() {
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of("\"compress\""));
        members.put("file", Optional.of(child.jsonOptions()));
        return JsonFilename.of(members);
    }

    @Override
    public Optional<Long> clusterSize() {
        return Optional.of((long) cluster(child.limits()));
    }
}

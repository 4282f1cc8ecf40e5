package io.blockwharf.block;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Set;

/** Driver {@code raw}: the bytes of another node, or a part of them. Texts: block/raw-format.c. */
@Component
@BlockDriverName("raw")
public final class RawDriver implements BlockDriver<RawOptions> {
    private static final long SECTOR = 512;

    @Override
    public BlockImage open(NodeSpec<RawOptions> spec) {
        RawOptions options = spec.options();
        long available = spec.child("file").length();
        long offset = options.offset().orElse(0L);
        if (offset > available) {
            throw QmpException.generic(
                    "Offset (%d) cannot be greater than size of the containing file (%d)",
                    offset, available);
        }
        options.size().ifPresent(size -> check(size, offset, available));
        return new RawImage(spec.child("file"), options);
    }

    private static void check(long size, long offset, long available) {
        if (size > available - offset) {
            throw QmpException.generic(
                    "The sum of offset (%d) and size (%d) has to be smaller or equal to the "
                            + " actual size of the containing file (%d)",
                    offset, size, available);
        }
        if (size % SECTOR != 0) {
            throw QmpException.generic("Specified size is not multiple of %d", SECTOR);
        }
    }

    @Override
    public Set<String> changeableOptions() {
        return Set.of("offset", "size");
    }
}

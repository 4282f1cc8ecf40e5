package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;
import java.util.Set;

/** Driver {@code compress}: whatever is written through it is stored compressed. */
@Component
@BlockDriverName("compress")
public final class CompressDriver implements BlockDriver<CompressDriver.Options> {
    /** Formats whose images take {@code RequestFlags.COMPRESSED}. */
    private static final Set<String> FORMATS = Set.of("qcow2");

    /**
     * QAPI {@code BlockdevOptionsGenericFormat}.
     *
     * @param file the image
     */
    public record Options(BlockdevRef file) {}

    @Override
    public BlockImage open(NodeSpec<Options> spec) {
        BlockNode child = spec.child("file");
        if (!FORMATS.contains(child.driver())) {
            throw QmpException.generic(
                    "Compression is not supported for underlying format: %s", child.driver());
        }
        return new CompressImage(child);
    }

    @Override
    public boolean reconfigure(BlockImage image, NodeSpec<Options> spec) {
        throw QmpException.generic(
                "Block format 'compress' used by node '%s' does not support reopening files",
                spec.nodeName());
    }

    @Override
    public Optional<String> filteredChild() {
        return Optional.of("file");
    }
}

package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;
import java.util.Set;

/** Driver {@code copy-on-read}: another node, which gets what is read from its backing nodes. */
@Component
@BlockDriverName("copy-on-read")
public final class CopyOnReadDriver implements BlockDriver<CopyOnReadDriver.Options> {
    /**
     * QAPI {@code BlockdevOptionsCor}.
     *
     * @param file the node
     * @param bottom the deepest node in its backing chain that is copied from (default: all)
     */
    public record Options(BlockdevRef file, Optional<String> bottom) {}

    @Override
    public BlockImage open(NodeSpec<Options> spec) {
        BlockNode child = spec.child("file");
        Optional<String> bottom = spec.options().bottom();
        int deepest = bottom.map(child::depthOf).orElse(Integer.MAX_VALUE);
        if (deepest == 0) {
            throw QmpException.generic("Bottom node '%s' not found", bottom.orElseThrow());
        }
        return new CopyOnReadImage(child, bottom, deepest, !spec.flags().inactive());
    }

    /** All, so that it is {@link #reconfigure} that refuses: QEMU does not look at them. */
    @Override
    public Set<String> changeableOptions() {
        return Set.of("bottom");
    }

    @Override
    public boolean reconfigure(BlockImage image, NodeSpec<Options> spec) {
        throw QmpException.generic(
                "Block format 'copy-on-read' used by node '%s' does not support reopening files",
                spec.nodeName());
    }

    @Override
    public ChildRole childRole(String child, Options options) {
        return ChildRole.FILLED;
    }

    @Override
    public Optional<String> filteredChild() {
        return Optional.of("file");
    }
}

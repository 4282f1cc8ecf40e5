package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Optional;

/** Driver {@code blkdebug}: another node whose requests fail on demand. */
@Component
@BlockDriverName("blkdebug")
public final class BlkdebugDriver implements BlockDriver<BlkdebugOptions> {
    static final String CHILD = "image";

    @Override
    public BlockImage open(NodeSpec<BlkdebugOptions> spec) {
        BlkdebugOptions options = spec.options();
        return new BlkdebugImage(
                spec.child(CHILD),
                options,
                limits(spec.child(CHILD).limits(), options),
                new BlkdebugRules(
                        options.injectError().orElse(List.of()),
                        options.setState().orElse(List.of())));
    }

    private static BlockLimits limits(BlockLimits below, BlkdebugOptions options) {
        long align = options.align().orElse(0L);
        if (align < 0) {
            throw QmpException.generic(
                    "Parameter 'align' expects a non-negative number below 2^64");
        } else if (align >= Integer.MAX_VALUE || align > 0 && Long.bitCount(align) != 1) {
            throw QmpException.generic("Cannot meet constraints with align %d", align);
        }
        int alignment = Math.max((int) align, below.requestAlignment());
        int most = options.maxTransfer().orElse(0);
        if (most < 0 || most % alignment != 0) {
            throw QmpException.generic("Cannot meet constraints with max-transfer %d", most);
        }
        return new BlockLimits(
                alignment,
                below.memoryAlignment(),
                below.optimalTransfer(),
                most == 0 ? below.maxTransfer() : Math.min(most, below.maxTransfer()),
                Math.max(alignment, below.discardAlignment()));
    }

    /** The state machine goes on; the node below may have other limits. */
    @Override
    public boolean reconfigure(BlockImage image, NodeSpec<BlkdebugOptions> spec) {
        BlkdebugImage open = (BlkdebugImage) image;
        if (spec.child(CHILD) != open.child) {
            return false;
        }
        open.limits(limits(open.child.limits(), spec.options()));
        return true;
    }

    @Override
    public Optional<String> filteredChild() {
        return Optional.of(CHILD);
    }
}

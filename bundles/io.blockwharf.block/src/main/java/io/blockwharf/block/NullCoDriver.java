package io.blockwharf.block;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockDriverName;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.NodeSpec;

import org.osgi.service.component.annotations.Component;

/** Driver {@code null-co}: a device without a medium. */
@Component
@BlockDriverName("null-co")
public final class NullCoDriver implements BlockDriver<NullOptions> {
    @Override
    public BlockImage open(NodeSpec<NullOptions> spec) {
        return new NullImage("null-co", spec.options());
    }
}

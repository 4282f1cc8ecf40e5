package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Unsigned;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** QMP {@code block-dirty-bitmap-add}. */
@Component(service = QmpCommand.class)
@QmpName("block-dirty-bitmap-add")
public final class BlockDirtyBitmapAdd
        implements QmpCommand<BlockDirtyBitmapAdd.Arguments, Nothing> {
    /**
     * QAPI {@code BlockDirtyBitmapAdd}.
     *
     * @param node the node's name
     * @param name the bitmap's, new among those of the node
     * @param granularity bytes that one bit stands for (default 65536)
     * @param persistent whether the image keeps it (default false)
     * @param disabled whether it does not record writes yet (default false)
     */
    public record Arguments(
            String node,
            String name,
            @Unsigned(32) Optional<Long> granularity,
            Optional<Boolean> persistent,
            Optional<Boolean> disabled) {}

    private final Bitmaps bitmaps;

    /** Works on these. */
    @Activate
    public BlockDirtyBitmapAdd(@Reference Bitmaps bitmaps) {
        this.bitmaps = bitmaps;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        bitmaps.add(
                arguments.node(),
                arguments.name(),
                arguments.granularity(),
                arguments.persistent().orElse(false),
                arguments.disabled().orElse(false));
        return Nothing.NOTHING;
    }
}

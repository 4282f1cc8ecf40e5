package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code block-dirty-bitmap-remove}. */
@Component(service = QmpCommand.class)
@QmpName("block-dirty-bitmap-remove")
public final class BlockDirtyBitmapRemove
        implements QmpCommand<BlockDirtyBitmapRemove.Arguments, Nothing> {
    /**
     * QAPI {@code BlockDirtyBitmap}.
     *
     * @param node the node's name
     * @param name the bitmap's
     */
    public record Arguments(String node, String name) {}

    private final Bitmaps bitmaps;

    /** Works on these. */
    @Activate
    public BlockDirtyBitmapRemove(@Reference Bitmaps bitmaps) {
        this.bitmaps = bitmaps;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        bitmaps.remove(arguments.node(), arguments.name());
        return Nothing.NOTHING;
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code block-dirty-bitmap-merge}. */
@Component(service = QmpCommand.class)
@QmpName("block-dirty-bitmap-merge")
public final class BlockDirtyBitmapMerge
        implements QmpCommand<BlockDirtyBitmapMerge.Arguments, Nothing> {
    /**
     * QAPI {@code BlockDirtyBitmapMerge}.
     *
     * @param node the node of the target
     * @param target the bitmap that gets what is dirty in the others
     * @param bitmaps the others: names of bitmaps of the same node, or node and name
     */
    public record Arguments(String node, String target, List<Bitmaps.Source> bitmaps) {}

    private final Bitmaps bitmaps;

    /** Works on these. */
    @Activate
    public BlockDirtyBitmapMerge(@Reference Bitmaps bitmaps) {
        this.bitmaps = bitmaps;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        bitmaps.merge(arguments.node(), arguments.target(), arguments.bitmaps());
        return Nothing.NOTHING;
    }
}

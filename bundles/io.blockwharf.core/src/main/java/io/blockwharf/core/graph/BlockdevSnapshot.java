package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code blockdev-snapshot}: a node becomes the backing node of another one. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-snapshot")
@Feature("allow-write-only-overlay")
public final class BlockdevSnapshot implements QmpCommand<BlockdevSnapshot.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param node whose users go on with the overlay
     * @param overlay a node without a backing node
     */
    public record Arguments(String node, String overlay) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockdevSnapshot(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        graph.snapshot(arguments.node(), arguments.overlay());
        return Nothing.NOTHING;
    }
}

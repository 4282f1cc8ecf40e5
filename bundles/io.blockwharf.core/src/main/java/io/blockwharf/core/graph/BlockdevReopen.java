package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code blockdev-reopen}: other options and children for open nodes. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-reopen")
public final class BlockdevReopen implements QmpCommand<BlockdevReopen.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param options of each node all options, as for {@code blockdev-add}
     */
    public record Arguments(List<BlockdevOptions> options) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockdevReopen(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        graph.reopen(arguments.options());
        return Nothing.NOTHING;
    }
}

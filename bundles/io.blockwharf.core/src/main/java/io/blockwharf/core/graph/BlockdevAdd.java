package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code blockdev-add}, option {@code --blockdev}. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-add")
@CommandLineOption(
        name = "blockdev",
        implied = "driver",
        help = "[driver=]DRIVER,node-name=NAME[,OPTION=VALUE...]  open a block node")
public final class BlockdevAdd implements QmpCommand<BlockdevOptions, Nothing> {
    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockdevAdd(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(BlockdevOptions options) {
        graph.add(options);
        return Nothing.NOTHING;
    }
}

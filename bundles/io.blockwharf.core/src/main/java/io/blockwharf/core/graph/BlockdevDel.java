package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code blockdev-del}. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-del")
public final class BlockdevDel implements QmpCommand<BlockdevDel.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param nodeName the node
     */
    public record Arguments(String nodeName) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockdevDel(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        graph.remove(arguments.nodeName());
        return Nothing.NOTHING;
    }
}

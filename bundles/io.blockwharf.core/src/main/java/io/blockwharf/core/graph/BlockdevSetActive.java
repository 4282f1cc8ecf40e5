package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** QMP {@code blockdev-set-active}: leaves images to another process, or takes them back. */
@Component(service = QmpCommand.class)
@QmpName("blockdev-set-active")
public final class BlockdevSetActive implements QmpCommand<BlockdevSetActive.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param nodeName the node, with those below it; all if it is missing
     * @param active whether they are to be active
     */
    public record Arguments(Optional<String> nodeName, boolean active) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockdevSetActive(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        graph.setActive(arguments.nodeName(), arguments.active());
        return Nothing.NOTHING;
    }
}

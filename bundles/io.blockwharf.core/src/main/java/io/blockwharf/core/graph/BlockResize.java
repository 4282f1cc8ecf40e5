package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/**
 * QMP {@code block_resize}. There are no named devices here, so {@code device} can only fail,
 * unless {@code node-name} finds a node, as in qemu-storage-daemon.
 */
@Component(service = QmpCommand.class)
@QmpName("block_resize")
public final class BlockResize implements QmpCommand<BlockResize.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param device a device's name
     * @param nodeName the node
     * @param size the new size in bytes
     */
    public record Arguments(Optional<String> device, Optional<String> nodeName, long size) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public BlockResize(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        Node node =
                arguments
                        .nodeName()
                        .flatMap(graph::find)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='%s' nor node-name='%s'",
                                                arguments.device().orElse(""),
                                                arguments.nodeName().orElse("")));
        if (arguments.size() < 0) {
            throw QmpException.generic("Parameter 'size' expects a >0 size");
        }
        graph.resize(node, arguments.size());
        return Nothing.NOTHING;
    }
}

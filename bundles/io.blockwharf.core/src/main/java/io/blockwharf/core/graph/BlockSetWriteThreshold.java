package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpEventSource;
import io.blockwharf.api.qmp.QmpEvents;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Unsigned;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Set;

/** QMP {@code block-set-write-threshold}: one event when a write goes beyond. */
@Component(service = {QmpCommand.class, QmpEventSource.class})
@QmpName("block-set-write-threshold")
public final class BlockSetWriteThreshold
        implements QmpCommand<BlockSetWriteThreshold.Arguments, Nothing>, QmpEventSource {
    /**
     * The arguments.
     *
     * @param nodeName the node
     * @param writeThreshold the end of writes in bytes; 0 for no event
     */
    public record Arguments(String nodeName, @Unsigned(64) long writeThreshold) {}

    private final BlockGraph graph;
    private final QmpEvents events;

    /** Works on that graph. */
    @Activate
    public BlockSetWriteThreshold(@Reference BlockGraph graph, @Reference QmpEvents events) {
        this.graph = graph;
        this.events = events;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        String name = arguments.nodeName();
        long bytes = arguments.writeThreshold();
        Node node =
                graph.find(name)
                        .orElseThrow(() -> QmpException.generic("Device '%s' not found", name));
        node.writeThreshold(
                bytes, exceeded -> events.emit(new BlockWriteThreshold(name, exceeded, bytes)));
        return Nothing.NOTHING;
    }

    @Override
    public Set<Class<? extends Record>> eventTypes() {
        return Set.of(BlockWriteThreshold.class);
    }
}

package io.blockwharf.shell;

import io.blockwharf.api.qmp.QmpDispatcher;

import org.apache.felix.service.command.Descriptor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** {@code node:*}. */
@Component(
        service = NodeCommands.class,
        property = {
            "osgi.command.scope=node",
            "osgi.command.function=add",
            "osgi.command.function=list",
            "osgi.command.function=del"
        })
public final class NodeCommands {
    /**
     * A block node.
     *
     * @param name its name
     * @param driver its driver
     * @param readOnly whether it refuses writes
     * @param size its length in bytes
     * @param file what it shows, as a file name
     */
    public record Node(String name, String driver, boolean readOnly, long size, String file) {}

    private final QmpDispatcher dispatcher;

    /** Commands on the daemon's nodes. */
    @Activate
    public NodeCommands(@Reference QmpDispatcher dispatcher) {
        this.dispatcher = dispatcher;
    }

    /** Adds a node; all nodes that there are now. */
    @Descriptor("add a block node: node:add file node-name=disk filename=/srv/disk.img")
    public List<Node> add(@Descriptor("DRIVER [KEY=VALUE...]") String... words) {
        dispatcher.option("blockdev", Words.arguments("driver", List.of(words)), true);
        return list();
    }

    /** All nodes. */
    @Descriptor("list the block nodes")
    public List<Node> list() {
        List<?> nodes = (List<?>) dispatcher.execute("query-named-block-nodes", Map.of());
        return nodes.stream()
                .map(node -> node((Map<?, ?>) node))
                .collect(Collectors.toCollection(ArrayList::new));
    }

    private static Node node(Map<?, ?> info) {
        long size =
                info.get("image") instanceof Map<?, ?> image
                                && image.get("virtual-size") instanceof Number bytes
                        ? bytes.longValue()
                        : 0;
        return new Node(
                String.valueOf(info.get("node-name")),
                String.valueOf(info.get("drv")),
                Boolean.TRUE.equals(info.get("ro")),
                size,
                String.valueOf(info.get("file")));
    }

    /** Removes a node. */
    @Descriptor("remove a block node that nothing uses")
    public void del(@Descriptor("NAME") String name) {
        dispatcher.execute("blockdev-del", Map.of("node-name", name));
    }
}

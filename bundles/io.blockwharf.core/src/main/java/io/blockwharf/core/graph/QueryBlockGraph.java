package io.blockwharf.core.graph;

import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/** QMP {@code x-debug-query-block-graph}: nodes, their users, and the permissions between them. */
@Component
@QmpName("x-debug-query-block-graph")
@Feature("unstable")
public final class QueryBlockGraph implements QmpCommand<Nothing, QueryBlockGraph.XDbgBlockGraph> {
    /** QAPI {@code XDbgBlockGraphNodeType}. */
    public enum NodeType {
        /** A user outside the graph. */
        BLOCK_BACKEND,
        /** A job. */
        BLOCK_JOB,
        /** A node. */
        BLOCK_DRIVER
    }

    /** QAPI {@code BlockPermission}. */
    public enum BlockPermission {
        /** {@link Permission#CONSISTENT_READ}. */
        CONSISTENT_READ,
        /** {@link Permission#WRITE}. */
        WRITE,
        /** {@link Permission#WRITE_UNCHANGED}. */
        WRITE_UNCHANGED,
        /** {@link Permission#RESIZE}. */
        RESIZE;

        private static List<BlockPermission> of(int bits) {
            return Perms.set(bits).stream().map(one -> valueOf(one.name())).toList();
        }
    }

    /**
     * QAPI {@code XDbgBlockGraphNode}.
     *
     * @param id a number, for this answer only
     * @param type what it is
     * @param name the node's name; empty for users outside the graph
     */
    public record XDbgBlockGraphNode(long id, NodeType type, String name) {}

    /**
     * QAPI {@code XDbgBlockGraphEdge}.
     *
     * @param parent the user's number
     * @param child the node's number
     * @param name what the user calls the node
     * @param perm what it may do
     * @param sharedPerm what others may do
     */
    public record XDbgBlockGraphEdge(
            long parent,
            long child,
            String name,
            List<BlockPermission> perm,
            List<BlockPermission> sharedPerm) {}

    /**
     * QAPI {@code XDbgBlockGraph}.
     *
     * @param nodes the nodes and their users
     * @param edges between them
     */
    public record XDbgBlockGraph(List<XDbgBlockGraphNode> nodes, List<XDbgBlockGraphEdge> edges) {}

    private final BlockGraph graph;

    /** Shows that graph. */
    @Activate
    public QueryBlockGraph(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public XDbgBlockGraph execute(Nothing none) {
        List<XDbgBlockGraphNode> nodes = new ArrayList<>();
        List<XDbgBlockGraphEdge> edges = new ArrayList<>();
        Map<Node, Long> ids = new IdentityHashMap<>();
        for (Node node : graph.nodes()) {
            long id = nodes.size() + 1L;
            ids.put(node, id);
            nodes.add(new XDbgBlockGraphNode(id, NodeType.BLOCK_DRIVER, node.name));
        }
        for (Node node : graph.nodes()) {
            for (NodeHandle user : node.users) {
                long parent;
                if (user.parent == null) {
                    parent = nodes.size() + 1L;
                    nodes.add(new XDbgBlockGraphNode(parent, NodeType.BLOCK_BACKEND, ""));
                } else {
                    parent = ids.get(user.parent);
                }
                edges.add(
                        new XDbgBlockGraphEdge(
                                parent,
                                ids.get(node),
                                user.childName,
                                BlockPermission.of(user.perms().taken()),
                                BlockPermission.of(user.perms().shared())));
            }
        }
        return new XDbgBlockGraph(nodes, edges);
    }
}

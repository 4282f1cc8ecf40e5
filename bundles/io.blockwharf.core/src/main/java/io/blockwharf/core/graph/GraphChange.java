package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.Set;

/**
 * A change of nodes that are in use: other options, other children, edges that lead elsewhere. It
 * is put together first and carried out as a whole, or not at all: the requests of all users above
 * are kept waiting at their gates, what they have written is flushed, the permissions of the graph
 * as it shall be are checked, and the images are exchanged, parents closed before children and
 * opened after them. If an image cannot be opened the way back is the same. With the control lock
 * held.
 *
 * <p>How a single node changes is in {@link BlockDriver#reconfigure}.
 */
final class GraphChange {
    /** How long the requests under way may take, unless a test says. Everybody above waits. */
    static final long PATIENCE_NANOS = 10_000_000_000L;

    private static final long PAUSE_MILLIS = 1;

    /** What a node is opened with. */
    private record Setup(
            BlockdevOptions given, NodeOptions generic, Map<String, NodeHandle> children) {
        Setup {
            children = new LinkedHashMap<>(children);
        }

        static Setup of(Node node) {
            return new Setup(node.given, node.options(), node.children);
        }
    }

    private final BlockGraph graph;
    private final Map<Node, Setup> before = new LinkedHashMap<>();
    private final Map<Node, Setup> after = new LinkedHashMap<>();

    /** Where edges led, and where they shall lead. */
    private final Map<NodeHandle, Node> from = new LinkedHashMap<>();

    private final Map<NodeHandle, Node> to = new LinkedHashMap<>();

    /** Edges of the nodes' new children, and those that are no longer needed. */
    private final List<NodeHandle> joining = new ArrayList<>();

    private final List<NodeHandle> leaving = new ArrayList<>();

    /** The nodes whose image is told other options, or closed and opened again. */
    private final Set<Node> exchanged = new HashSet<>();

    /** The nodes that become inactive, or active, whose image stays and hears of it. */
    private final Set<Node> switched = new HashSet<>();

    /** The sizes that the change was made for. */
    private final Map<Node, Long> lengths = new HashMap<>();

    // How far that is
    private final Set<Node> told = new HashSet<>();
    private final Set<Node> closed = new HashSet<>();
    private final Set<Node> opened = new HashSet<>();

    GraphChange(BlockGraph graph) {
        this.graph = graph;
    }

    // --- Putting together --------------------------------------------------------------------

    /**
     * A node goes on with other options.
     *
     * @param children all of its children; a node that is a child now keeps its edge
     */
    void reopen(Node node, BlockdevOptions given, NodeOptions generic, Map<String, Node> children) {
        Map<String, NodeHandle> edges = new LinkedHashMap<>();
        children.forEach((name, child) -> edges.put(name, edge(node, given, name, child)));
        boolean sameEdges = edges.equals(node.children);
        if (!sameEdges
                || !generic.flags().equals(node.options().flags())
                || !BlockdevRefs.others(given.options())
                        .equals(BlockdevRefs.others(node.given.options()))) {
            exchanged.add(node);
        }
        before.put(node, Setup.of(node));
        after.put(node, new Setup(given, generic, edges));
        for (NodeHandle old : node.children.values()) {
            if (!edges.containsValue(old)) {
                leaving.add(old);
            }
        }
    }

    private NodeHandle edge(Node node, BlockdevOptions given, String name, Node child) {
        NodeHandle now = node.children.get(name);
        if (now != null && now.node == child) {
            return now;
        }
        Activation.checkEdge(child, name, node.name, node.active());
        ChildRole role = driver(node).childRole(name, given.options());
        NodeHandle edge = new NodeHandle(graph, child, name, Node.described(node.name), null, role);
        edge.parent = node;
        joining.add(edge);
        return edge;
    }

    /** A node becomes active or inactive. Not together with other changes of it. */
    void activate(Node node, boolean active) {
        before.put(node, Setup.of(node));
        after.put(node, new Setup(node.given, node.options().active(active), node.children));
        (node.image().closedForOthers() ? exchanged : switched).add(node);
    }

    /** A node has this size when its requests have ended, or the change is refused. */
    void requireLength(Node node, long bytes) {
        lengths.put(node, bytes);
    }

    /** A user goes on with another node. */
    void move(NodeHandle user, Node node) {
        from.put(user, user.node);
        to.put(user, node);
    }

    // --- Carrying out ------------------------------------------------------------------------

    /**
     * Does it.
     *
     * @throws QmpException with everything as it was
     */
    void carryOut() {
        SequencedSet<Node> above = new LinkedHashSet<>();
        before.keySet().forEach(node -> addAbove(node, above));
        from.values().forEach(node -> addAbove(node, above));
        List<UserHandle> users =
                above.stream()
                        .flatMap(node -> node.users.stream())
                        .filter(UserHandle.class::isInstance)
                        .map(UserHandle.class::cast)
                        .toList();
        flush(above); // most of it, while requests still run
        Map<Node, Long> known = new HashMap<>();
        try {
            closeGates(users);
            checkNobodyPassesBy(users);
            checkLengths();
            flush(above);
            above.forEach(node -> known.put(node, node.length()));
            users.forEach(UserHandle::closeQueues);
            try {
                change();
            } finally {
                users.forEach(UserHandle::openQueues);
            }
        } finally {
            users.forEach(user -> user.gate.open());
        }
        before.keySet().stream().filter(this::leaves).forEach(Node::dropStoredBitmaps);
        leaving.forEach(graph::detach);
        above.reversed().forEach(node -> node.refreshLength(known.get(node)));
        to.forEach(
                (user, node) -> {
                    node.refreshLength();
                    if (node.length() != from.get(user).length()) {
                        user.resized();
                    }
                });
    }

    /** Adds a node after all that are above it. */
    private static void addAbove(Node node, Set<Node> found) {
        if (!found.contains(node)) {
            for (NodeHandle user : node.users) {
                if (user.parent != null) {
                    addAbove(user.parent, found);
                }
            }
            found.add(node);
        }
    }

    private void closeGates(List<UserHandle> users) {
        users.forEach(user -> user.gate.drain());
        long begin = System.nanoTime();
        boolean interrupted = false;
        for (int tries = 0; !tryCloseGates(users); tries++) {
            if (System.nanoTime() - begin > graph.patienceNanos) {
                throw QmpException.generic(
                        "Requests to node '%s' do not end",
                        users.stream()
                                .filter(user -> !user.gate.tryClose())
                                .findFirst()
                                .orElse(users.getFirst())
                                .name());
            }
            try {
                Thread.sleep(Math.min(PAUSE_MILLIS << tries, 20));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Closes all gates or none. */
    private static boolean tryCloseGates(List<UserHandle> users) {
        for (int i = 0; i < users.size(); i++) {
            if (!users.get(i).gate.tryClose()) {
                users.subList(0, i).forEach(user -> user.gate.drain());
                return false;
            }
        }
        return true;
    }

    private void checkNobodyPassesBy(List<UserHandle> users) {
        Set<Node> nodes = new LinkedHashSet<>(exchanged);
        nodes.addAll(switched);
        nodes.addAll(from.values());
        for (Node node : nodes) {
            if (node.inDirectUse()) {
                throw QmpException.generic("Node '%s' is in direct use by an export", node.name);
            }
        }
        for (UserHandle user : users) {
            if (!leaving.isEmpty() && user.pinned()) {
                throw QmpException.generic("Node '%s' is being sent to a client", user.name());
            }
        }
    }

    private void checkLengths() {
        lengths.forEach(
                (node, bytes) -> {
                    if (node.length() != bytes) {
                        throw QmpException.generic(
                                "Node '%s' has got another size meanwhile", node.name);
                    }
                });
    }

    /** From the top down: what a node writes late goes to those below. */
    private static void flush(SequencedSet<Node> above) {
        above.forEach(GraphChange::flush);
    }

    private static void flush(Node node) {
        if (node.readOnly() || !node.active() || node.image() instanceof LostImage) {
            return;
        }
        try {
            node.image().flush();
        } catch (BlockIoException e) {
            throw new QmpException("Error flushing node '" + node.name + "': " + e.getMessage(), e);
        }
    }

    private void change() {
        edit(after, to, joining, leaving);
        PermissionChange permissions;
        try {
            Set<Node> starts = new LinkedHashSet<>(to.values());
            starts.addAll(after.keySet());
            starts.addAll(from.values());
            leaving.forEach(edge -> starts.add(edge.node));
            permissions = new PermissionChange(starts, this::readOnlyAfter, this::activeAfter);
            permissions.check();
        } catch (RuntimeException e) {
            edit(before, from, leaving, joining);
            throw e;
        }
        try {
            close(permissions.topDown());
            open(permissions.topDown().reversed(), permissions);
        } catch (RuntimeException | Error e) {
            edit(before, from, leaving, joining);
            permissions.takeBack();
            goBack(permissions);
            throw e;
        }
    }

    /** Changes the graph, but no image yet. */
    private static void edit(
            Map<Node, Setup> setups,
            Map<NodeHandle, Node> targets,
            List<NodeHandle> joining,
            List<NodeHandle> leaving) {
        leaving.forEach(edge -> edge.node.users.remove(edge));
        joining.forEach(edge -> edge.node.users.addFirst(edge));
        targets.forEach(
                (user, node) -> {
                    user.node.users.remove(user);
                    user.node = node;
                    user.optionsChanged();
                    node.users.addFirst(user);
                });
        setups.forEach(
                (node, setup) -> {
                    node.given = setup.given;
                    node.children.clear();
                    node.children.putAll(setup.children);
                });
    }

    private boolean readOnlyAfter(Node node) {
        Setup setup = after.get(node);
        return setup == null || changesActivity(node) ? node.readOnly() : setup.generic.readOnly();
    }

    private boolean activeAfter(Node node) {
        Setup setup = after.get(node);
        return setup == null ? node.active() : setup.generic.active();
    }

    private boolean changesActivity(Node node) {
        return after.containsKey(node)
                && after.get(node).generic.active() != before.get(node).generic.active();
    }

    /** Whether a node is left to somebody else. */
    private boolean leaves(Node node) {
        return changesActivity(node) && !activeAfter(node);
    }

    // --- Images ------------------------------------------------------------------------------

    /** Tells images their new options, or closes them: those above first. */
    private void close(List<Node> topDown) {
        for (Node node : topDown) {
            if (exchanged.contains(node)) {
                Setup setup = after.get(node);
                if (leaves(node)) {
                    node.storeBitmapsOrFail();
                } else if (setup.generic.readOnly() && !node.readOnly()) {
                    node.storeBitmaps();
                }
                if (!changesActivity(node) && reconfigure(node, setup)) {
                    told.add(node);
                } else {
                    closed.add(node);
                    node.image().close();
                }
            }
        }
        if (before.keySet().stream().anyMatch(this::leaves)) {
            // What images have written when they were closed has to be there for others
            topDown.stream().filter(node -> !closed.contains(node)).forEach(GraphChange::flush);
        }
    }

    /** Opens what was closed, and lets nodes and users have what is theirs: those below first. */
    private void open(List<Node> bottomUp, PermissionChange permissions) {
        for (Node node : bottomUp) {
            Setup setup = after.get(node);
            if (closed.contains(node)) {
                node.adopt(open(node, setup), setup.generic);
                closed.remove(node);
                opened.add(node);
            } else if (setup != null) {
                node.adopt(node.image(), setup.generic);
            }
            if (!leaves(node)) {
                permissions.tell(node);
            }
            if (changesActivity(node) && activeAfter(node)) {
                takeBack(node);
            }
        }
        // Images are kept from others until all have been opened the way they stay
        for (Node node : bottomUp) {
            if (leaves(node)) {
                permissions.tell(node);
                if (switched.contains(node)) {
                    node.image().active(false);
                }
            }
        }
    }

    /** A node is ours again: sees what others have made of it. */
    private void takeBack(Node node) {
        if (switched.contains(node)) {
            node.image().active(true);
        }
        node.measure();
        node.loadBitmaps();
    }

    /** As {@link #close} and {@link #open}, but with what was before, and nobody to refuse it. */
    private void goBack(PermissionChange permissions) {
        for (Node node : permissions.topDown()) {
            if (changesActivity(node) && activeAfter(node)) {
                node.dropStoredBitmaps();
            }
            if (opened.contains(node)) {
                node.image().close();
                closed.add(node);
            } else if (told.contains(node)) {
                try {
                    reconfigure(node, before.get(node));
                } catch (RuntimeException e) {
                    graph.logger().error("Node {} did not take its options back", node.name, e);
                }
            }
        }
        for (Node node : permissions.topDown().reversed()) {
            Setup setup = before.get(node);
            if (closed.contains(node)) {
                node.adopt(reopened(node, setup), setup.generic);
            } else if (setup != null) {
                node.adopt(node.image(), setup.generic);
            }
            try {
                permissions.tellBefore(node);
                if (switched.contains(node)) {
                    node.image().active(setup.generic.active());
                }
            } catch (RuntimeException e) {
                graph.logger().error("Node {} did not take permissions back", node.name, e);
            }
        }
    }

    private BlockImage reopened(Node node, Setup setup) {
        try {
            return open(node, setup);
        } catch (RuntimeException e) {
            graph.logger().error("Node {} is lost: {}", node.name, e.getMessage(), e);
            return new LostImage(node);
        }
    }

    private static boolean reconfigure(Node node, Setup setup) {
        return driver(node).reconfigure(node.image(), spec(node, setup));
    }

    private static BlockImage open(Node node, Setup setup) {
        return driver(node).open(spec(node, setup));
    }

    private static NodeSpec<Record> spec(Node node, Setup setup) {
        return BlockGraph.spec(node.name, setup.given.options(), setup.generic, setup.children);
    }

    @SuppressWarnings("unchecked") // its options have been bound by its class
    private static BlockDriver<Record> driver(Node node) {
        return (BlockDriver<Record>) node.driver;
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Which nodes are active. An inactive one can be read, and is left to somebody else who may write
 * its image: nothing of what we have to write is kept back, and nothing that we know of the image
 * is relied on later. Below an active node all are active, and an inactive node takes those below
 * with it unless an active one needs them, too. QEMU's bdrv_activate and bdrv_inactivate are what
 * texts and sets of nodes follow, but all nodes change or none. With the control lock held.
 */
final class Activation {
    private Activation() {}

    /** Refuses an inactive child of an active node. */
    static void checkEdge(Node child, String childName, String parent, boolean parentActive) {
        if (parentActive && !child.active()) {
            throw QmpException.generic(
                    "Inactive '%s' can't be a %s child of active '%s'",
                    child.name, childName, parent);
        }
    }

    /**
     * Makes a node and all below it active.
     *
     * @throws QmpException with everything as it was
     */
    static void activate(BlockGraph graph, Node node) {
        Set<Node> below = new LinkedHashSet<>();
        addBelow(node, below);
        below.removeIf(Node::active);
        change(graph, below, true);
    }

    /**
     * Makes a node inactive, and those below that no active node needs.
     *
     * @throws QmpException with everything as it was
     */
    static void inactivate(BlockGraph graph, Node node) {
        if (!needless(node, Set.of())) {
            throw QmpException.generic("Node has active parent node");
        }
        if (node.active()) {
            Set<Node> leaving = new LinkedHashSet<>();
            addLeaving(node, leaving);
            checkUsers(leaving, "Failed to inactivate node");
            change(graph, leaving, false);
        }
    }

    /**
     * Makes all nodes active or inactive.
     *
     * @throws QmpException with everything as it was
     */
    static void all(BlockGraph graph, boolean active) {
        Set<Node> nodes = new LinkedHashSet<>(graph.nodes());
        nodes.removeIf(node -> node.active() == active);
        if (!active) {
            checkUsers(nodes, "Failed to inactivate all nodes");
        }
        change(graph, nodes, active);
    }

    private static void addBelow(Node node, Set<Node> found) {
        if (found.add(node)) {
            node.children.values().forEach(child -> addBelow(child.node, found));
        }
    }

    private static void addLeaving(Node node, Set<Node> leaving) {
        leaving.add(node);
        for (NodeHandle child : node.children.values()) {
            if (child.node.active() && needless(child.node, leaving)) {
                addLeaving(child.node, leaving);
            }
        }
    }

    /** Whether no active node needs it but those that leave. */
    private static boolean needless(Node node, Set<Node> leaving) {
        return node.users.stream()
                .map(user -> user.parent)
                .allMatch(parent -> parent == null || !parent.active() || leaving.contains(parent));
    }

    private static void checkUsers(Set<Node> leaving, String complaint) {
        for (Node node : leaving) {
            if (!node.users.stream().allMatch(user -> user.toleratesInactive(user.wanted()))) {
                throw QmpException.generic("%s: Operation not permitted", complaint);
            }
            if (node.image().closedForOthers()) {
                node.bitmaps.values().stream()
                        .filter(Bitmap::persistent)
                        .forEach(Bitmap::checkFree);
            }
        }
    }

    private static void change(BlockGraph graph, Set<Node> nodes, boolean active) {
        if (!nodes.isEmpty()) {
            GraphChange change = new GraphChange(graph);
            List.copyOf(nodes).forEach(node -> change.activate(node, active));
            change.carryOut();
        }
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.ImageDescription;
import io.blockwharf.api.qmp.QmpException;

import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/**
 * What {@code blockdev-reopen} asks for: works out which nodes get which options and children. All
 * options have to be given as for {@code blockdev-add}; what is left out goes back to its default.
 * Nodes that were made as children of a node inherit from it again. With the control lock held.
 */
final class Reopening {
    private static final String BACKING = "backing";

    private final BlockGraph graph;
    private final GraphChange change;

    /** The nodes that are named, which then do not inherit. */
    private final Map<Node, BlockdevOptions> asked = new LinkedHashMap<>();

    /** The children that nodes shall have, so far. */
    private final Map<Node, Map<String, Node>> planned = new HashMap<>();

    private Reopening(BlockGraph graph) {
        this.graph = graph;
        change = new GraphChange(graph);
    }

    /**
     * Reopens nodes, all or none.
     *
     * @throws QmpException with everything as it was
     */
    static void carryOut(BlockGraph graph, List<BlockdevOptions> options) {
        Reopening reopening = new Reopening(graph);
        for (BlockdevOptions each : options) {
            String name =
                    each.nodeName()
                            .orElseThrow(() -> QmpException.generic("node-name not specified"));
            reopening.asked.put(
                    graph.find(name)
                            .orElseThrow(
                                    () ->
                                            QmpException.generic(
                                                    "Failed to find node with node-name='%s'",
                                                    name)),
                    each);
        }
        reopening.asked.forEach((node, given) -> reopening.plan(node, given, NodeOptions.DEFAULTS));
        reopening.change.carryOut();
    }

    /** Makes a node read-only or writable, and those that inherit from it. */
    static void readOnly(BlockGraph graph, Node node, boolean readOnly) {
        Reopening reopening = new Reopening(graph);
        BlockdevOptions now = node.given;
        reopening.plan(
                node,
                new BlockdevOptions(
                        now.driver(),
                        now.nodeName(),
                        now.discard(),
                        now.cache(),
                        Optional.empty(),
                        Optional.of(readOnly),
                        now.autoReadOnly(),
                        now.forceShare(),
                        now.detectZeroes(),
                        now.options()),
                node.options(),
                true);
        reopening.change.carryOut();
    }

    private void plan(Node node, BlockdevOptions given, NodeOptions defaults) {
        plan(node, given, defaults, false);
    }

    /**
     * Plans one node and those that inherit from it.
     *
     * @param keepsChildren whether the children are not looked at: they are those of now
     */
    private void plan(
            Node node, BlockdevOptions given, NodeOptions defaults, boolean keepsChildren) {
        if (planned.containsKey(node)) {
            return;
        }
        boolean sameDriver = given.driver().equals(node.driverName);
        if (sameDriver) {
            checkForceShare(node, given);
        }
        if (given != node.given && given.active().orElse(node.active()) != node.active()) {
            throw unchangeable("active");
        }
        NodeOptions generic = NodeOptions.of(given, defaults).active(node.active());
        generic.check();
        if (sameDriver) {
            checkResets(node, given);
        }
        Map<String, Node> children = new LinkedHashMap<>();
        node.children.forEach((name, edge) -> children.put(name, edge.node));
        planned.put(node, children);
        Map<String, Optional<BlockdevRef>> refs =
                keepsChildren ? Map.of() : BlockdevRefs.of(given.options());
        if (!keepsChildren && !refs.containsKey(BACKING) && missesBacking(node)) {
            throw QmpException.generic("backing is missing for '%s'", node.name);
        }
        Map<Node, BlockdevOptions> defined = new HashMap<>();
        refs.forEach(
                (name, ref) -> {
                    switch (ref.orElse(null)) {
                        case null -> children.remove(name);
                        case BlockdevRef.Reference(String to) -> exchange(node, name, to, children);
                        case BlockdevRef.Definition(BlockdevOptions options) ->
                                defined.put(madeChild(node, name), options);
                    }
                });
        checkUnchanged(node, given, sameDriver);
        change.reopen(node, given, generic, children);
        node.children.forEach(
                (name, edge) -> {
                    Node child = edge.node;
                    if (edge.made && children.get(name) == child && !asked.containsKey(child)) {
                        NodeOptions inherited = generic.inherited(edge.role);
                        BlockdevOptions own = defined.getOrDefault(child, child.given);
                        plan(child, own, inherited, !defined.containsKey(child));
                    }
                });
    }

    private static boolean missesBacking(Node node) {
        return BlockdevRefs.has(node.given.options().getClass(), BACKING)
                && (node.children.containsKey(BACKING)
                        || node.image()
                                .description()
                                .flatMap(ImageDescription::backing)
                                .isPresent());
    }

    private void exchange(Node node, String child, String to, Map<String, Node> children) {
        Node target =
                graph.find(to)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='' nor node-name='%s'", to));
        Node now = children.get(child);
        if (now == target) {
            return;
        }
        if (!child.equals(BACKING) && !child.equals("file")) {
            throw QmpException.generic("Cannot change the option '%s'", child);
        }
        if (willReach(target, node)) {
            throw QmpException.generic(
                    "Making '%s' a %s child of '%s' would create a cycle", to, child, node.name);
        }
        children.put(child, target);
    }

    private boolean willReach(Node from, Node node) {
        Map<String, Node> children = planned.get(from);
        return from == node
                || (children == null
                        ? from.children.values().stream()
                                .anyMatch(edge -> willReach(edge.node, node))
                        : children.values().stream().anyMatch(child -> willReach(child, node)));
    }

    /** Whether a node is another or lies above it. */
    static boolean reaches(Node from, Node node) {
        return from == node
                || from.children.values().stream().anyMatch(edge -> reaches(edge.node, node));
    }

    private static Node madeChild(Node node, String name) {
        NodeHandle edge = node.children.get(name);
        if (edge == null || !edge.made) {
            throw QmpException.generic("Cannot change the option '%s.driver'", name);
        }
        return edge.node;
    }

    /** Options without a default that can be gone back to have to be given again. */
    private static void checkResets(Node node, BlockdevOptions given) {
        Set<String> now = BlockdevRefs.others(given.options()).keySet();
        for (String name : BlockdevRefs.others(node.given.options()).keySet()) {
            if (!now.contains(name) && !node.driver.changeableOptions().contains(name)) {
                throw QmpException.generic(
                        "Option '%s' cannot be reset to its default value", name);
            }
        }
    }

    private static void checkForceShare(Node node, BlockdevOptions given) {
        if (given.forceShare().isPresent() && !given.forceShare().equals(node.given.forceShare())) {
            throw unchangeable("force-share");
        }
    }

    private static void checkUnchanged(Node node, BlockdevOptions given, boolean sameDriver) {
        if (!sameDriver) {
            throw unchangeable("driver");
        }
        if (!given.nodeName().orElse(node.name).equals(node.name)) {
            throw unchangeable("node-name"); // of a child
        }
        Map<String, Object> before = BlockdevRefs.others(node.given.options());
        BlockdevRefs.others(given.options())
                .forEach(
                        (name, value) -> {
                            if (!node.driver.changeableOptions().contains(name)) {
                                compare(name, before.get(name), value);
                            }
                        });
    }

    /** Compares options as they stand; those of structs by themselves, as {@code server.path}. */
    private static void compare(String name, Object before, Object value) {
        if (value instanceof Map<?, ?> struct) {
            struct.forEach(
                    (member, part) ->
                            compare(
                                    name + "." + member,
                                    before instanceof Map<?, ?> old ? old.get(member) : null,
                                    part));
        } else if (!Objects.equals(before, value)) {
            throw unchangeable(name);
        }
    }

    private static QmpException unchangeable(String option) {
        return QmpException.generic("Cannot change the option '%s'", option);
    }
}

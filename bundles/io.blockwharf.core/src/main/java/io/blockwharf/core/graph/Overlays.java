package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * External snapshots: a node's content stays as it is, and its users go on with an overlay. With
 * the control lock held.
 */
final class Overlays {
    private Overlays() {}

    /** Refuses a node that is not the top of its chain, because its overlay would not be one. */
    static void checkBase(Node base) {
        for (NodeHandle user : base.users) {
            if (user.role == ChildRole.BACKING && user.parent != null) {
                throw QmpException.generic(
                        "Node '%s' is busy: node is used as backing hd of '%s'",
                        base.name, user.parent.name);
            }
        }
    }

    /**
     * Puts an overlay on a node: all users of the node are users of the overlay then. The node
     * becomes read-only if it can.
     *
     * @throws QmpException with everything as it was
     */
    static void put(BlockGraph graph, Node base, Node overlay) {
        checkBase(base);
        checkOverlay(base, overlay);
        GraphChange change = new GraphChange(graph);
        Map<String, Node> children = new LinkedHashMap<>();
        overlay.children.forEach((name, edge) -> children.put(name, edge.node));
        children.put("backing", base);
        BlockdevOptions given = overlay.given;
        change.reopen(overlay, given, overlay.options(), children);
        for (NodeHandle user : base.users) {
            if (user.parent == null || !Reopening.reaches(overlay, user.parent)) {
                change.move(user, overlay);
            }
        }
        change.carryOut();
        if (!base.readOnly()) {
            try {
                Reopening.readOnly(graph, base);
            } catch (QmpException e) {
                graph.logger().info("Node {} stays writable: {}", base.name, e.getMessage());
            }
        }
    }

    private static void checkOverlay(Node base, Node overlay) {
        if (overlay.users.stream().anyMatch(u -> u.perms().takes(Perms.CONSISTENT_READ))) {
            throw QmpException.generic("The overlay is already in use");
        }
        if (overlay.driver.filteredChild().isPresent()) {
            throw QmpException.generic("Filters cannot be used as overlays");
        }
        if (overlay.children.containsKey("backing")) {
            throw QmpException.generic("The overlay already has a backing image");
        }
        if (!BlockdevRefs.has(overlay.given.options().getClass(), "backing")) {
            throw QmpException.generic("The overlay does not support backing images");
        }
        if (Reopening.reaches(base, overlay)) {
            throw QmpException.generic(
                    "Making '%s' a backing child of '%s' would create a cycle",
                    base.name, overlay.name);
        }
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;

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
     * becomes read-only if it can, the overlay inactive if the node is.
     *
     * @param made the size that the overlay was made for: it would cut off what has come since
     * @throws QmpException with everything as it was
     */
    static void put(BlockGraph graph, Node base, Node overlay, OptionalLong made) {
        checkBase(base);
        checkOverlay(base, overlay);
        if (!base.active() && overlay.active()) {
            Activation.inactivate(graph, overlay);
        }
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
        made.ifPresent(bytes -> change.requireLength(base, bytes));
        change.carryOut();
        if (!base.readOnly() && base.active()) {
            try {
                Reopening.readOnly(graph, base, true);
            } catch (QmpException e) {
                graph.logger().info("Node {} stays writable: {}", base.name, e.getMessage());
            }
        }
    }

    private static void checkOverlay(Node base, Node overlay) {
        if (overlay.users.stream().anyMatch(u -> u.asked().takes(Perms.CONSISTENT_READ))) {
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

    /**
     * Changes how an image calls its backing file. The format that it notes is the backing node's;
     * QEMU notes the image's own.
     *
     * @throws QmpException with the name as it was
     */
    static void rename(BlockGraph graph, Node top, String imageName, String name) {
        if (top.users.stream().anyMatch(user -> user.parent != null)) {
            throw QmpException.generic("Need a root block node");
        }
        Node image =
                graph.find(imageName)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='' nor node-name='%s'",
                                                imageName));
        NodeHandle backing = image.children.get("backing");
        if (backing == null) {
            throw QmpException.generic(
                    "not allowing backing file change on an image without a backing file");
        }
        if (graph.depthOf(top, imageName) == 0) {
            throw QmpException.generic("'%s' and image file are not in the same chain", top.name);
        }
        if (!image.active()) {
            throw QmpException.generic("Node '%s' is inactive", imageName);
        }
        boolean readOnly = image.readOnly();
        if (readOnly) {
            Reopening.readOnly(graph, image, false);
        }
        try {
            image.image()
                    .changeBackingName(
                            Optional.of(name)
                                    .filter(text -> !text.isEmpty())
                                    .map(text -> new ImageName(text, format(backing.node))));
            backing.named = false;
        } catch (BlockIoException e) {
            throw new QmpException(
                    "Could not change backing file to '%s': %s"
                            .formatted(
                                    name,
                                    e.errno() == Errno.ENOSPC
                                            ? "Invalid argument"
                                            : e.getMessage()),
                    e);
        } finally {
            if (readOnly) {
                Reopening.readOnly(graph, image, true);
            }
        }
    }

    /** What somebody needs to open a node's content, whatever filters it. */
    private static Optional<String> format(Node node) {
        Node found = node;
        while (found.driver.filteredChild().isPresent()) {
            found = found.children.get(found.driver.filteredChild().get()).node;
        }
        return Optional.of(found.driverName);
    }
}

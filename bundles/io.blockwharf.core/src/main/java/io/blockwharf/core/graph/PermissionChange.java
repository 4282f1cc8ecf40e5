package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;

/**
 * Changes the permissions of one handle and, through the roles of children, those of everything
 * below it. All of it is checked first, then handed to the images from the bottom up, so that a
 * parent that is told may already use its children. If an image refuses, those told before it are
 * told the old permissions again. With the control lock held.
 */
final class PermissionChange {
    private final Map<NodeHandle, Perms> next = new IdentityHashMap<>();
    private final Map<Node, Perms> together = new IdentityHashMap<>();
    private final List<Node> order;

    private PermissionChange(NodeHandle handle, Perms perms) {
        next.put(handle, perms);
        SequencedSet<Node> below = new LinkedHashSet<>();
        addBelow(handle.node, below);
        // Children were added first
        order = new ArrayList<>(below).reversed();
    }

    /**
     * Carries it out.
     *
     * @throws QmpException with nothing changed
     */
    static void apply(NodeHandle handle, Perms perms) {
        PermissionChange change = new PermissionChange(handle, perms);
        change.order.forEach(change::check);
        change.commit();
    }

    private static void addBelow(Node node, SequencedSet<Node> found) {
        if (!found.contains(node)) {
            node.children.values().forEach(child -> addBelow(child.node, found));
            found.add(node);
        }
    }

    private Perms perms(NodeHandle handle) {
        return next.getOrDefault(handle, handle.perms());
    }

    private void check(Node node) {
        Perms all = Perms.NONE;
        for (NodeHandle a : node.users) {
            for (NodeHandle b : node.users) {
                if (a != b) {
                    check(node, a, b);
                }
            }
            all = all.and(perms(a));
        }
        if (node.readOnly() && all.takes(Perms.WRITE | Perms.WRITE_UNCHANGED)) {
            throw QmpException.generic("Block node is read-only");
        }
        // Without it, the rest of the last block could not be written.
        if (all.takes(Perms.WRITE)
                && !all.takes(Perms.RESIZE)
                && node.length() % node.alignment() != 0) {
            throw QmpException.generic(
                    "Cannot get 'write' permission without 'resize': Image size is not a multiple"
                            + " of request alignment");
        }
        together.put(node, all);
        for (NodeHandle child : node.children.values()) {
            next.put(child, all.onChild(child.role, !node.readOnly()));
        }
    }

    /** Refuses what user b takes and user a does not share. */
    private void check(Node node, NodeHandle a, NodeHandle b) {
        int conflict = perms(b).taken() & ~perms(a).shared();
        if (conflict != 0) {
            throw QmpException.generic(
                    "Permission conflict on node '%s': permissions '%s' are both required by %s"
                            + " (uses node '%s' as '%s' child) and unshared by %s (uses node '%s'"
                            + " as '%s' child).",
                    node.name,
                    Perms.names(conflict),
                    b.description,
                    node.name,
                    b.childName,
                    a.description,
                    node.name,
                    a.childName);
        }
    }

    private void commit() {
        Map<NodeHandle, Perms> before = new IdentityHashMap<>();
        List<Node> told = new ArrayList<>();
        try {
            for (Node node : order.reversed()) {
                Perms all = together.get(node);
                if (!all.equals(node.committed)) {
                    node.image().permissions(Perms.set(all.taken()), Perms.set(all.shared()));
                    told.add(node);
                }
                for (NodeHandle user : node.users) {
                    if (next.containsKey(user)) {
                        before.put(user, user.perms());
                        user.perms(next.get(user));
                    }
                }
            }
            told.forEach(node -> node.committed = together.get(node));
        } catch (RuntimeException refused) {
            before.forEach(NodeHandle::perms);
            for (Node node : told.reversed()) {
                try {
                    node.image()
                            .permissions(
                                    Perms.set(node.committed.taken()),
                                    Perms.set(node.committed.shared()));
                } catch (RuntimeException e) {
                    refused.addSuppressed(e);
                }
            }
            throw refused;
        }
    }
}

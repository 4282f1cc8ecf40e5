package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.Collection;
import java.util.IdentityHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.SequencedSet;
import java.util.function.Predicate;

/**
 * Changes the permissions of one handle, or those that follow from a graph that has been changed,
 * and, through the roles of children, those of everything below. All of it is checked first, then
 * handed to the images from the bottom up, so that a parent that is told may already use its
 * children. If an image refuses, those told before it are told the old permissions again. With the
 * control lock held.
 */
final class PermissionChange {
    private final Map<NodeHandle, Perms> next = new IdentityHashMap<>();
    private final Map<Node, Perms> together = new IdentityHashMap<>();
    private final Map<NodeHandle, Perms> handlesBefore = new IdentityHashMap<>();
    private final Map<Node, Perms> nodesBefore = new IdentityHashMap<>();
    private final List<Node> topDown;

    /** Whether a node will be read-only, and active. */
    private final Predicate<Node> readOnly;

    private final Predicate<Node> active;

    /**
     * The permissions that follow from the graph as it is now.
     *
     * @param changed the nodes whose users, children or options have been changed
     * @param readOnly whether a node is read-only from now on
     * @param active whether it is active
     */
    PermissionChange(Collection<Node> changed, Predicate<Node> readOnly, Predicate<Node> active) {
        this.readOnly = readOnly;
        this.active = active;
        SequencedSet<Node> below = new LinkedHashSet<>();
        changed.forEach(node -> addBelow(node, below));
        // Children were added first
        topDown = new ArrayList<>(below).reversed();
        topDown.forEach(node -> nodesBefore.put(node, node.committed));
    }

    /**
     * Carries out a change of one handle.
     *
     * @throws QmpException with nothing changed
     */
    static void apply(NodeHandle handle, Perms perms) {
        PermissionChange change =
                new PermissionChange(List.of(handle.node), Node::readOnly, Node::active);
        Perms before = handle.wanted();
        if (handle.user == null) {
            change.next.put(handle, perms);
        } else {
            handle.wanted(perms);
        }
        try {
            change.check();
            change.commit();
        } catch (RuntimeException e) {
            handle.wanted(before);
            throw e;
        }
    }

    /** The nodes concerned, each before its children. */
    List<Node> topDown() {
        return topDown;
    }

    /**
     * Checks all of it.
     *
     * @throws QmpException if some users are in conflict
     */
    void check() {
        topDown.forEach(this::check);
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
        boolean isActive = active.test(node);
        for (NodeHandle user : node.users) {
            if (user.user != null) {
                next.put(user, user.granted(user.wanted(), isActive));
            }
        }
        Perms all = Perms.NONE;
        for (NodeHandle a : node.users) {
            for (NodeHandle b : node.users) {
                if (a != b) {
                    check(node, a, b);
                }
            }
            all = all.and(perms(a));
        }
        if (readOnly.test(node) && all.takes(Perms.WRITE | Perms.WRITE_UNCHANGED)) {
            throw node.readOnly()
                    ? QmpException.generic("Block node is read-only")
                    : QmpException.generic(
                            "Read-only block node '%s' cannot support read-write users", node.name);
        }
        if (!isActive && all.takes(Perms.CHANGES)) {
            throw QmpException.generic(
                    "Permission '%s' unavailable on inactive node",
                    Perms.names(all.taken() & Perms.CHANGES));
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
            next.put(child, all.onChild(child.role, !readOnly.test(node), isActive));
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
        try {
            topDown.reversed().forEach(this::tell);
        } catch (RuntimeException refused) {
            takeBack();
            for (Node node : topDown) {
                try {
                    tellBefore(node);
                } catch (RuntimeException e) {
                    refused.addSuppressed(e);
                }
            }
            throw refused;
        }
    }

    /**
     * Lets a node and its users have what they shall have; the nodes below have it.
     *
     * @throws QmpException if the image refuses it
     */
    void tell(Node node) {
        Perms all = together.get(node);
        if (node.readOnly() && all.takes(Perms.WRITE | Perms.WRITE_UNCHANGED)) {
            throw QmpException.generic("Block node is read-only"); // as it turned out
        }
        tell(node, all);
        for (NodeHandle user : node.users) {
            if (next.containsKey(user)) {
                handlesBefore.put(user, user.perms());
                user.perms(next.get(user));
            }
        }
    }

    private static void tell(Node node, Perms all) {
        if (!all.equals(node.committed)) {
            node.image().permissions(Perms.set(all.taken()), Perms.set(all.shared()));
            node.committed = all;
        }
    }

    /** Takes back what users have been given. */
    void takeBack() {
        handlesBefore.forEach(NodeHandle::perms);
    }

    /** Tells an image what it was told before. */
    void tellBefore(Node node) {
        tell(node, nodesBefore.get(node));
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.Permission;

import java.util.EnumSet;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Permissions taken on a node, and those left to others, as sets of bits.
 *
 * @param taken bit n is the permission of ordinal n
 * @param shared the same
 */
record Perms(int taken, int shared) {
    static final int CONSISTENT_READ = bit(Permission.CONSISTENT_READ);
    static final int WRITE = bit(Permission.WRITE);
    static final int WRITE_UNCHANGED = bit(Permission.WRITE_UNCHANGED);
    static final int RESIZE = bit(Permission.RESIZE);

    /** What nobody can have on an inactive node. */
    static final int CHANGES = WRITE | WRITE_UNCHANGED | RESIZE;

    static final int ALL = CONSISTENT_READ | WRITE | WRITE_UNCHANGED | RESIZE;

    /** Nothing taken, everything shared: in conflict with nobody. */
    static final Perms NONE = new Perms(0, ALL);

    private static int bit(Permission permission) {
        return 1 << permission.ordinal();
    }

    static Perms of(Set<Permission> taken, Set<Permission> shared) {
        return new Perms(bits(taken), bits(shared));
    }

    private static int bits(Set<Permission> permissions) {
        int bits = 0;
        for (Permission permission : permissions) {
            bits |= bit(permission);
        }
        return bits;
    }

    static Set<Permission> set(int bits) {
        EnumSet<Permission> set = EnumSet.noneOf(Permission.class);
        for (Permission permission : Permission.values()) {
            if ((bits & bit(permission)) != 0) {
                set.add(permission);
            }
        }
        return set;
    }

    /** The names, as they stand in messages. */
    static String names(int bits) {
        return set(bits).stream().map(Permission::toString).collect(Collectors.joining(", "));
    }

    boolean takes(int bits) {
        return (taken & bits) != 0;
    }

    /** What two users take together, and what both of them leave to others. */
    Perms and(Perms other) {
        return new Perms(taken | other.taken, shared & other.shared);
    }

    /**
     * What a parent needs on a child when these are the permissions of the parent's own users.
     *
     * @param writable whether the parent is
     * @param active whether the parent is; if not, it leaves the child to whoever wants to write it
     */
    Perms onChild(ChildRole role, boolean writable, boolean active) {
        Perms perms = onChild(role, writable && active);
        return active || role == ChildRole.FILTERED
                ? perms
                : new Perms(perms.taken & ~WRITE_UNCHANGED, perms.shared | WRITE | RESIZE);
    }

    private Perms onChild(ChildRole role, boolean writable) {
        return switch (role) {
            case FILTERED -> this;
            case FILLED -> new Perms(taken | WRITE_UNCHANGED, (shared | WRITE_UNCHANGED) & ~WRITE);
            case DATA -> new Perms(taken, shared & ~RESIZE);
            // A format may touch its metadata even if its users do not write, and cannot bear that
            // somebody else does.
            case STORAGE ->
                    new Perms(
                            taken | CONSISTENT_READ | (writable ? WRITE | RESIZE : 0),
                            shared & ~(WRITE | RESIZE));
            // Nothing but reads go to a backing file. It may change only if the users of the parent
            // can bear that the parent changes.
            case BACKING ->
                    new Perms(
                            taken & CONSISTENT_READ,
                            CONSISTENT_READ
                                    | WRITE_UNCHANGED
                                    | ((shared & WRITE) != 0 ? WRITE | RESIZE : 0));
        };
    }
}

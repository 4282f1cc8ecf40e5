package io.blockwharf.api.block;

import java.util.EnumSet;
import java.util.Set;

/**
 * What a user of a node may do with it, and lets others do. The order is that of QEMU's bits, on
 * which the byte ranges of image locks depend.
 */
public enum Permission {
    /** Reads see what was written last. */
    CONSISTENT_READ("consistent read"),
    /** The content may be changed. */
    WRITE("write"),
    /** Writes that do not change what a reader sees. */
    WRITE_UNCHANGED("write unchanged"),
    /** The size may be changed. */
    RESIZE("resize");

    private final String text;

    Permission(String text) {
        this.text = text;
    }

    /** The name in messages. */
    @Override
    public String toString() {
        return text;
    }

    /** A new set with every permission. */
    public static Set<Permission> all() {
        return EnumSet.allOf(Permission.class);
    }
}

package io.blockwharf.nbd;

import java.util.Optional;
import java.util.function.Predicate;

/**
 * Who may do what with an export, each asked with who the client has proved to be.
 *
 * @param list see it in the list of exports
 * @param read use it
 * @param write change it, if it is writable at all; others are served read-only
 */
record Access(
        Predicate<Optional<String>> list,
        Predicate<Optional<String>> read,
        Predicate<Optional<String>> write) {
    /** Everybody may do everything. */
    static final Access OPEN = new Access(_ -> true, _ -> true, _ -> true);
}

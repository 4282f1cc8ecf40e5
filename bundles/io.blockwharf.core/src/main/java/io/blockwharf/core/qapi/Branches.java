package io.blockwharf.core.qapi;

import java.util.Collections;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * The branches of the open unions, which are the option types of the services that are there now.
 * May be called from any thread.
 */
@FunctionalInterface
public interface Branches {
    /** For types that have no open unions in them. */
    Branches NONE = _ -> Collections.emptySortedMap();

    /**
     * All branches of a union by the discriminator's value, in order.
     *
     * @param union the record with the {@link io.blockwharf.api.qmp.Branch} component
     */
    SequencedMap<String, Class<? extends Record>> of(Class<? extends Record> union);

    /**
     * Looks a branch up.
     *
     * @param union the record with the {@link io.blockwharf.api.qmp.Branch} component
     * @param value the discriminator's value
     */
    default Optional<Class<? extends Record>> find(Class<? extends Record> union, String value) {
        return Optional.ofNullable(of(union).get(value));
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.qmp.ObjectStore;

import java.util.Optional;
import java.util.function.Predicate;

/**
 * Lets those through whom an authorizer allows, by who they have proved to be. It is looked up each
 * time: one that is missing lets nobody through, and nobody in particular is not let through.
 *
 * @param authorizer the object's id
 */
record Gate(ObjectStore objects, String authorizer) implements Predicate<Optional<String>> {
    @Override
    public boolean test(Optional<String> identity) {
        return identity.isPresent()
                && objects.find(authorizer, Authorizer.class)
                        .map(found -> found.allows(identity.get()))
                        .orElse(false);
    }
}

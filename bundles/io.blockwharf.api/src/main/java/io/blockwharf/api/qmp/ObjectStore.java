package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ProviderType;

import java.util.Optional;
import java.util.SequencedMap;

/** The user-creatable objects, by id. May be called from any thread. */
@ProviderType
public interface ObjectStore {
    /** An object in use: it cannot be deleted until this is closed. */
    interface Use<T> extends AutoCloseable {
        /** The object. */
        T object();

        /** Idempotent. */
        @Override
        void close();
    }

    /** Looks an object up. Empty if there is none of that id or it is of another type. */
    <T> Optional<T> find(String id, Class<T> type);

    /** The ids of all objects with the names of their types, oldest first. */
    SequencedMap<String, String> types();

    /** Whether there is an object of that id, of whatever type. */
    boolean exists(String id);

    /** Looks an object up and keeps it from being deleted. */
    <T> Optional<Use<T>> use(String id, Class<T> type);
}

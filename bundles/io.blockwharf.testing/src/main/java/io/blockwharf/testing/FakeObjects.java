package io.blockwharf.testing;

import io.blockwharf.api.qmp.ObjectStore;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/** The object store with what a test has put there. */
public final class FakeObjects implements ObjectStore {
    private final Map<String, Object> objects = new LinkedHashMap<>();

    /** Adds or replaces an object. */
    public FakeObjects with(String id, Object object) {
        objects.put(id, object);
        return this;
    }

    @Override
    public <T> Optional<T> find(String id, Class<T> type) {
        return Optional.ofNullable(objects.get(id)).filter(type::isInstance).map(type::cast);
    }

    @Override
    public SequencedMap<String, String> types() {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean exists(String id) {
        return objects.containsKey(id);
    }

    @Override
    public <T> Optional<Use<T>> use(String id, Class<T> type) {
        throw new UnsupportedOperationException();
    }
}

package io.blockwharf.core.control;

import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.TypeArguments;

import org.osgi.framework.Constants;
import org.osgi.service.component.ComponentServiceObjects;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NavigableMap;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;

/**
 * The services of one contract by name. A service is not fetched before somebody asks for it: it
 * may itself depend on the component that holds the whiteboard, and most commands are never used.
 * Of several services of one name the highest ranking, then oldest one is taken. Thread-safe.
 *
 * @param <S> the contract
 */
public final class Whiteboard<S> {
    /** A service that may be fetched. */
    public static final class Offer<S> {
        private final ComponentServiceObjects<S> objects;
        private final Map<String, Object> properties;
        private final int ranking;
        private final long id;
        private final AtomicReference<S> service = new AtomicReference<>();

        private Offer(ComponentServiceObjects<S> objects, Map<String, Object> properties) {
            this.objects = objects;
            this.properties = Map.copyOf(properties);
            ranking = properties.get(Constants.SERVICE_RANKING) instanceof Integer rank ? rank : 0;
            id = (Long) properties.get(Constants.SERVICE_ID);
        }

        /** A property of the service, or the empty string. */
        public String property(String name) {
            return properties.getOrDefault(name, "").toString();
        }

        /** Whether these are the properties of this service. */
        public boolean has(Map<String, Object> ofService) {
            return ofService.get(Constants.SERVICE_ID).equals(id);
        }

        /** The service; empty if it is just going, or its component cannot be activated. */
        public Optional<S> service() {
            S known = service.get();
            if (known != null) {
                return Optional.of(known);
            }
            // Not under a lock: this may activate components of other bundles.
            S fetched = objects.getService();
            if (fetched == null || service.compareAndSet(null, fetched)) {
                return Optional.ofNullable(fetched);
            }
            objects.ungetService(fetched);
            return Optional.ofNullable(service.get());
        }

        /** Whatever fetched it meanwhile has it a moment longer than it is on the whiteboard. */
        private void release() {
            S fetched = service.getAndSet(null);
            if (fetched != null) {
                objects.ungetService(fetched);
            }
        }
    }

    private final Class<?> contract;
    private final String nameProperty;
    private final AtomicLong changes;

    /** Guarded by this; the first of a list is taken. */
    private final NavigableMap<String, List<Offer<S>>> offers = new TreeMap<>();

    /**
     * An empty whiteboard.
     *
     * @param nameProperty the service property with the name
     * @param changes is incremented when a service has come or gone
     */
    public Whiteboard(Class<?> contract, String nameProperty, AtomicLong changes) {
        this.contract = contract;
        this.nameProperty = nameProperty;
        this.changes = changes;
    }

    /** Takes a service up, if it has a name. */
    public void add(ComponentServiceObjects<S> objects, Map<String, Object> properties) {
        if (!properties.containsKey(nameProperty)) {
            return;
        }
        synchronized (this) {
            List<Offer<S>> named =
                    offers.computeIfAbsent(
                            properties.get(nameProperty).toString(), _ -> new ArrayList<>());
            named.add(new Offer<>(objects, properties));
            named.sort(
                    Comparator.<Offer<S>>comparingInt(offer -> offer.ranking)
                            .reversed()
                            .thenComparingLong(offer -> offer.id));
        }
        changes.incrementAndGet();
    }

    /** Takes the service with these properties off, if it was taken up. */
    public void remove(Map<String, Object> properties) {
        if (!properties.containsKey(nameProperty)) {
            return;
        }
        String name = properties.get(nameProperty).toString();
        List<Offer<S>> going;
        synchronized (this) {
            List<Offer<S>> named = offers.getOrDefault(name, new ArrayList<>());
            going = named.stream().filter(offer -> offer.has(properties)).toList();
            named.removeAll(going);
            if (named.isEmpty()) {
                offers.remove(name);
            }
        }
        changes.incrementAndGet();
        going.forEach(Offer::release);
    }

    /** The names that are there now, in order. */
    public synchronized List<String> names() {
        return List.copyOf(offers.keySet());
    }

    /** The service of that name that goes first. */
    public synchronized Optional<Offer<S>> find(String name) {
        return offers.getOrDefault(name, List.of()).stream().findFirst();
    }

    /** The record that the service of that name takes: the contract's first type argument. */
    public Optional<Class<? extends Record>> recordType(String name) {
        return find(name)
                .flatMap(Offer::service)
                .map(service -> TypeArguments.record(service.getClass(), contract));
    }

    /** The records that the services take, as the branches of {@code union}. */
    public Branches branches(Class<? extends Record> union) {
        return new Branches() {
            @Override
            public SequencedMap<String, Class<? extends Record>> of(
                    Class<? extends Record> ofUnion) {
                SequencedMap<String, Class<? extends Record>> all = new LinkedHashMap<>();
                if (ofUnion == union) {
                    names().forEach(
                                    name ->
                                            recordType(name)
                                                    .ifPresent(record -> all.put(name, record)));
                }
                return all;
            }

            @Override
            public Optional<Class<? extends Record>> find(
                    Class<? extends Record> ofUnion, String name) {
                return ofUnion == union ? recordType(name) : Optional.empty();
            }
        };
    }
}

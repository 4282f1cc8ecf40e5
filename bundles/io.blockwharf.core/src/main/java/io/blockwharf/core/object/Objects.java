package io.blockwharf.core.object;

import io.blockwharf.api.qmp.ObjectOptions;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.ObjectType;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Whiteboard;
import io.blockwharf.core.qapi.Binder;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.Json;
import io.blockwharf.core.qapi.OpenUnion;

import org.osgi.service.component.ComponentServiceObjects;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.Predicate;
import java.util.regex.Pattern;

/**
 * The user-creatable objects. Adding and deleting run under the control lock; looking up does not
 * need it.
 *
 * <p>When the service of a type leaves, its objects are deleted. One that is in use then is not
 * found any more and is closed when its last user lets go.
 */
@Component(service = {ObjectStore.class, Objects.class, OpenUnion.class})
public final class Objects implements ObjectStore, OpenUnion {
    /** QEMU, {@code util/id.c}. */
    private static final Pattern IDENTIFIER = Pattern.compile("[A-Za-z][A-Za-z0-9._-]*");

    private static final String TYPE = "object.type.name";

    /** An object; {@code uses} and {@code deleted} are guarded by the table. */
    private static final class Entry {
        private final Object object;
        private final String typeName;
        private final Whiteboard.Offer<ObjectType<?>> type;

        /** Complete. Guarded by the control lock. */
        private Record properties;

        private int uses;
        private boolean deleted;

        Entry(
                Object object,
                Record properties,
                String typeName,
                Whiteboard.Offer<ObjectType<?>> type) {
            this.object = object;
            this.properties = properties;
            this.typeName = typeName;
            this.type = type;
        }
    }

    private final class EntryUse<T> implements Use<T> {
        private final Entry entry;
        private final T object;
        private final AtomicBoolean closed = new AtomicBoolean();

        EntryUse(Entry entry, T object) {
            this.entry = entry;
            this.object = object;
        }

        @Override
        public T object() {
            return object;
        }

        @Override
        public void close() {
            if (closed.compareAndSet(false, true)) {
                boolean last;
                synchronized (table) {
                    entry.uses--;
                    last = entry.deleted && entry.uses == 0;
                }
                if (last) {
                    closeObject(entry);
                }
            }
        }
    }

    private final ControlLock lock;
    private final Logger logger;
    private final Whiteboard<ObjectType<?>> types =
            new Whiteboard<>(ObjectType.class, TYPE, new AtomicLong());
    private final SequencedMap<String, Entry> table = new LinkedHashMap<>();
    private final Binder binder = new Binder(Branches.NONE);

    /** An empty store. */
    @Activate
    public Objects(
            @Reference ControlLock lock, @Reference(service = LoggerFactory.class) Logger logger) {
        this.lock = lock;
        this.logger = logger;
    }

    /** Deletes all objects, newest first. */
    @Deactivate
    void close() {
        delete(_ -> true);
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addType(ComponentServiceObjects<ObjectType<?>> type, Map<String, Object> properties) {
        types.add(type, properties);
    }

    @Override
    public Branches branches() {
        return types.branches(ObjectOptions.class);
    }

    void removeType(Map<String, Object> properties) {
        String name = properties.get(TYPE).toString();
        try (var _ = lock.take()) {
            delete(entry -> entry.typeName.equals(name) && entry.type.has(properties));
            types.remove(properties);
        }
    }

    /**
     * Makes an object.
     *
     * @throws QmpException with nothing left behind
     */
    void add(ObjectOptions options) {
        if (!IDENTIFIER.matcher(options.id()).matches()) {
            throw QmpException.generic("Parameter 'id' expects an identifier")
                    .withHint(
                            "Identifiers consist of letters, digits, '-', '.', '_', starting with"
                                    + " a letter.");
        }
        Whiteboard.Offer<ObjectType<?>> offer =
                types.find(options.qomType()).orElseThrow(() -> noSuchType(options));
        ObjectType<?> type = offer.service().orElseThrow(() -> noSuchType(options));
        if (exists(options.id())) {
            throw QmpException.generic(
                    "attempt to add duplicate property '%s' to object (type 'container')",
                    options.id());
        }
        Entry entry = create(type, options, offer);
        synchronized (table) {
            table.put(options.id(), entry);
        }
    }

    /**
     * Deletes an object.
     *
     * @throws QmpException if there is none or it is in use
     */
    void delete(String id) {
        Entry entry;
        synchronized (table) {
            entry = table.get(id);
            if (entry == null) {
                throw QmpException.generic("object '%s' not found", id);
            } else if (entry.uses > 0) {
                throw QmpException.generic("object '%s' is in use, can not be deleted", id);
            }
            entry.deleted = true;
            table.remove(id);
        }
        closeObject(entry);
    }

    @Override
    public <T> Optional<T> find(String id, Class<T> type) {
        synchronized (table) {
            return Optional.ofNullable(table.get(id))
                    .map(entry -> entry.object)
                    .filter(type::isInstance)
                    .map(type::cast);
        }
    }

    @Override
    public boolean exists(String id) {
        synchronized (table) {
            return table.containsKey(id);
        }
    }

    @Override
    public SequencedMap<String, String> types() {
        SequencedMap<String, String> typeNames = new LinkedHashMap<>();
        synchronized (table) {
            table.forEach((id, entry) -> typeNames.put(id, entry.typeName));
        }
        return Collections.unmodifiableSequencedMap(typeNames);
    }

    @Override
    public <T> Optional<Use<T>> use(String id, Class<T> type) {
        synchronized (table) {
            Entry entry = table.get(id);
            if (entry == null || !type.isInstance(entry.object)) {
                return Optional.empty();
            }
            entry.uses++;
            return Optional.of(new EntryUse<>(entry, type.cast(entry.object)));
        }
    }

    private static <O extends Record> Entry create(
            ObjectType<O> type, ObjectOptions options, Whiteboard.Offer<ObjectType<?>> offer) {
        // The binder has made the properties of the record that the type's class names.
        @SuppressWarnings("unchecked")
        O properties = (O) options.properties();
        Object object = type.create(options.id(), properties);
        return new Entry(object, type.complete(properties), options.qomType(), offer);
    }

    // --- Properties: with the control lock held ------------------------------------------------

    /** The names of the types that there are. */
    List<String> typeNames() {
        return types.names();
    }

    /** The properties that objects of a type take; empty if there is no such type. */
    Optional<Class<? extends Record>> propertyType(String typeName) {
        return types.recordType(typeName);
    }

    /** The properties of an object that is there, complete. */
    Record properties(String id) {
        synchronized (table) {
            return table.get(id).properties;
        }
    }

    /**
     * Changes one property of an object that is there.
     *
     * @param value a JSON value
     * @throws QmpException with nothing changed
     */
    void change(String id, String property, Object value) {
        Entry entry;
        synchronized (table) {
            entry = table.get(id);
        }
        ObjectType<?> type =
                entry.type
                        .service()
                        .orElseThrow(
                                () -> QmpException.generic("object '%s' is being deleted", id));
        change(type, entry, property, value);
    }

    private <O extends Record> void change(
            ObjectType<O> type, Entry entry, String property, Object value) {
        Map<String, Object> all = Json.object(entry.properties);
        all.put(property, value);
        // They are of the type's own record: its create has made the entry.
        @SuppressWarnings("unchecked")
        Class<O> record = (Class<O>) entry.properties.getClass();
        O changed = binder.bind(record, all, false);
        type.change(entry.object, changed);
        entry.properties = type.complete(changed);
    }

    private static QmpException noSuchType(ObjectOptions options) {
        return QmpException.generic(
                "Parameter 'qom-type' does not accept value '%s'", options.qomType());
    }

    private void delete(Predicate<Entry> which) {
        List<Entry> unused;
        synchronized (table) {
            List<Entry> going = table.sequencedValues().reversed().stream().filter(which).toList();
            going.forEach(entry -> entry.deleted = true);
            table.values().removeAll(going);
            unused = going.stream().filter(entry -> entry.uses == 0).toList();
        }
        unused.forEach(this::closeObject);
    }

    private void closeObject(Entry entry) {
        if (entry.object instanceof AutoCloseable closeable) {
            try {
                closeable.close();
            } catch (Exception e) {
                logger.error("Closing an object of type {} failed", entry.typeName, e);
            }
        }
    }
}

package io.blockwharf.core.object;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;
import io.blockwharf.api.qmp.QomContainer;
import io.blockwharf.core.qapi.Json;
import io.blockwharf.core.qapi.PropertyTypes;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * QEMU's object model as far as a storage daemon has it: a root with a folder of the user-creatable
 * objects and one of the chardevs, each object with the properties of its type. Called with the
 * control lock held. Texts: {@code qom/object.c}, {@code qom/qom-qmp-cmds.c}.
 */
@Component(service = Qom.class)
public final class Qom {
    private static final String CONTAINER = "container";
    private static final String OBJECTS = "objects";
    private static final String TYPE = "type";
    private static final String USER_CREATABLE = "user-creatable";

    /** What types extend whose parent is not {@code object}, by how their names begin. */
    private static final SequencedMap<String, String> PARENTS = new LinkedHashMap<>();

    static {
        PARENTS.put("iothread", "event-loop-base");
        PARENTS.put("main-loop", "event-loop-base");
        PARENTS.put("authz-", "authz");
        PARENTS.put("tls-", "tls-creds");
        PARENTS.put("secret", "secret_common");
    }

    /** A place in the tree. Folders and the root have no id. */
    private record Place(List<String> path, String type) {
        String text() {
            return "/" + String.join("/", path);
        }

        boolean isObject() {
            return path.size() == 2 && path.getFirst().equals(OBJECTS);
        }

        String name() {
            return path.getLast();
        }
    }

    private final Objects objects;
    private final List<QomContainer> containers = new CopyOnWriteArrayList<>();

    /** A tree with these objects in it. */
    @Activate
    public Qom(@Reference Objects objects) {
        this.objects = objects;
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addContainer(QomContainer container) {
        containers.add(container);
    }

    void removeContainer(QomContainer container) {
        containers.remove(container);
    }

    // --- Objects -----------------------------------------------------------------------------

    /** The properties of the object at a path with their types; children are properties, too. */
    SequencedMap<String, String> properties(String path) {
        return properties(resolve(path));
    }

    private SequencedMap<String, String> properties(Place place) {
        SequencedMap<String, String> all = new LinkedHashMap<>();
        all.put(TYPE, "string");
        if (place.isObject()) {
            all.putAll(PropertyTypes.of(objects.properties(place.name()).getClass()));
        }
        children(place).forEach((name, type) -> all.put(name, "child<" + type + ">"));
        return all;
    }

    /** The value of a property, as JSON. */
    Object get(String path, String property) {
        Place place = resolve(path);
        if (!properties(place).containsKey(property)) {
            throw noProperty(place, property);
        } else if (property.equals(TYPE)) {
            return place.type();
        } else if (place.isObject()) {
            // What is not said has no default: QEMU has an empty string there
            return Json.object(objects.properties(place.name())).getOrDefault(property, "");
        }
        return child(place, property).text();
    }

    /** Changes a property. */
    void set(String path, String property, Object value) {
        Place place = resolve(path);
        if (!properties(place).containsKey(property)) {
            throw noProperty(place, property);
        } else if (!place.isObject() || property.equals(TYPE)) {
            throw QmpException.generic("Property '%s.%s' is not writable", place.type(), property);
        }
        objects.change(place.name(), property, value);
    }

    private static QmpException noProperty(Place place, String property) {
        return QmpException.generic("Property '%s.%s' not found", place.type(), property);
    }

    /** A path from the root, or the end of one that only one object has. */
    private Place resolve(String path) {
        List<String> names = new ArrayList<>(List.of(path.split("/")));
        names.removeIf(String::isEmpty);
        List<Place> found =
                all().stream()
                        .filter(
                                place ->
                                        path.startsWith("/")
                                                ? place.path().equals(names)
                                                : endsWith(place.path(), names))
                        .toList();
        if (found.isEmpty()) {
            throw new QmpException(
                    ErrorClass.DEVICE_NOT_FOUND, "Device '%s' not found".formatted(path));
        } else if (found.size() > 1) {
            throw QmpException.generic("Path '%s' is ambiguous", path);
        }
        return found.getFirst();
    }

    private static boolean endsWith(List<String> path, List<String> names) {
        return path.size() >= names.size()
                && path.subList(path.size() - names.size(), path.size()).equals(names);
    }

    private List<Place> all() {
        Place root = new Place(List.of(), CONTAINER);
        List<Place> all = new ArrayList<>(List.of(root));
        for (String folder : children(root).sequencedKeySet()) {
            Place inRoot = child(root, folder);
            all.add(inRoot);
            children(inRoot).keySet().forEach(name -> all.add(child(inRoot, name)));
        }
        return all;
    }

    private SequencedMap<String, String> children(Place place) {
        SequencedMap<String, String> children = new LinkedHashMap<>();
        if (place.path().isEmpty()) {
            children.put(OBJECTS, CONTAINER);
            containers.forEach(container -> children.put(container.name(), CONTAINER));
        } else if (place.path().equals(List.of(OBJECTS))) {
            children.putAll(objects.types());
        } else if (place.path().size() == 1) {
            containers.stream()
                    .filter(container -> container.name().equals(place.name()))
                    .forEach(container -> children.putAll(container.children()));
        }
        return children;
    }

    private Place child(Place parent, String name) {
        List<String> path = new ArrayList<>(parent.path());
        path.add(name);
        return new Place(List.copyOf(path), children(parent).get(name));
    }

    // --- Types -------------------------------------------------------------------------------

    /**
     * A type.
     *
     * @param parent what it extends; empty for the root
     * @param isAbstract whether there are no objects of it
     */
    record Type(String name, Optional<String> parent, boolean isAbstract) {}

    /** The types that there are now, in order of name. */
    List<Type> types() {
        Map<String, Type> types = new TreeMap<>();
        add(types, "object", Optional.empty(), true);
        add(types, CONTAINER, Optional.of("object"), false);
        PARENTS.values().forEach(name -> add(types, name, Optional.of("object"), true));
        objects.typeNames().forEach(name -> add(types, name, Optional.of(parentOf(name)), false));
        for (QomContainer container : containers) {
            Map<String, String> own = container.types();
            own.forEach(
                    (name, parent) ->
                            add(types, name, Optional.of(parent), own.containsValue(name)));
        }
        return types.values().stream().sorted(Comparator.comparing(Type::name)).toList();
    }

    private static void add(
            Map<String, Type> types, String name, Optional<String> parent, boolean isAbstract) {
        types.put(name, new Type(name, parent, isAbstract));
    }

    private static String parentOf(String typeName) {
        return PARENTS.entrySet().stream()
                .filter(each -> typeName.startsWith(each.getKey()))
                .map(Map.Entry::getValue)
                .findFirst()
                .orElse("object");
    }

    /** Whether a type is another one, extends it, or implements it. */
    boolean is(Type type, String other) {
        return type.name().equals(other)
                || other.equals(USER_CREATABLE) && objects.typeNames().contains(type.name())
                || type.parent()
                        .flatMap(parent -> find(parent))
                        .map(parent -> is(parent, other))
                        .orElse(false);
    }

    private Optional<Type> find(String name) {
        return types().stream().filter(type -> type.name().equals(name)).findFirst();
    }

    /** The properties of a type's objects, with their types. */
    SequencedMap<String, String> propertiesOfType(String name) {
        if (find(name).isEmpty()) {
            throw new QmpException(
                    ErrorClass.DEVICE_NOT_FOUND, "Class '%s' not found".formatted(name));
        }
        SequencedMap<String, String> all = new LinkedHashMap<>();
        all.put(TYPE, "string");
        objects.propertyType(name).ifPresent(type -> all.putAll(PropertyTypes.of(type)));
        return all;
    }
}

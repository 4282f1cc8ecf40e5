package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.QmpEventName;
import io.blockwharf.core.qapi.QapiType.Alternation;
import io.blockwharf.core.qapi.QapiType.Array;
import io.blockwharf.core.qapi.QapiType.Builtin;
import io.blockwharf.core.qapi.QapiType.Choice;
import io.blockwharf.core.qapi.QapiType.Enumeration;
import io.blockwharf.core.qapi.QapiType.Int;
import io.blockwharf.core.qapi.QapiType.Member;
import io.blockwharf.core.qapi.QapiType.Size;
import io.blockwharf.core.qapi.QapiType.Struct;
import io.blockwharf.core.qapi.QapiType.Union;
import io.blockwharf.core.qapi.QapiType.WrappedUnion;

import java.lang.reflect.Type;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Queue;
import java.util.SequencedCollection;

/**
 * Describes commands, events and their types in the form of {@code query-qmp-schema}. QEMU, {@code
 * qapi/introspect.json}: commands and events go by their names, their types by numbers, which mean
 * nothing outside of one answer; all integers are {@code int}.
 */
public final class Schema {
    /**
     * A command.
     *
     * @param arguments a record's class
     * @param result what is returned
     */
    public record Command(
            String name, Class<? extends Record> arguments, Type result, List<String> features) {}

    /** The members of a discriminator: an enum that no Java type stands for. */
    private record Tag(Object union, List<String> values) {}

    /** The {@code data} around a branch of a union in its old form. */
    private record Wrapper(QapiType branch) {}

    private final Branches branches;
    private final List<Object> entries = new ArrayList<>();
    private final Map<Object, String> names = new HashMap<>();
    private final Queue<Object> undescribed = new ArrayDeque<>();
    private int numbers;

    private Schema(Branches branches) {
        this.branches = branches;
    }

    /**
     * The schema as a JSON value.
     *
     * @param events the data types of the events
     */
    public static List<Object> of(
            Collection<Command> commands,
            Collection<Class<? extends Record>> events,
            Branches branches) {
        Schema schema = new Schema(branches);
        commands.forEach(schema::command);
        events.forEach(schema::event);
        while (!schema.undescribed.isEmpty()) {
            schema.describe(schema.undescribed.remove());
        }
        return List.copyOf(schema.entries);
    }

    /** The features of a command's class, as its author annotated it. */
    public static List<String> features(Class<?> type) {
        return QapiType.features(type);
    }

    private void command(Command command) {
        Map<String, Object> entry = entry(command.name(), "command");
        entry.put("arg-type", use(QapiType.struct(command.arguments())));
        entry.put("ret-type", use(QapiType.of(command.result(), Schema.class)));
        addFeatures(entry, command.features());
    }

    private void event(Class<? extends Record> data) {
        Map<String, Object> entry = entry(data.getAnnotation(QmpEventName.class).value(), "event");
        entry.put("arg-type", use(QapiType.struct(data)));
        addFeatures(entry, QapiType.features(data));
    }

    /** The name that others refer to a type by. */
    private String use(Object type) {
        Object key =
                switch (type) {
                    case Int _ -> "int";
                    case Size _ -> "int";
                    default -> type;
                };
        String known = names.get(key);
        if (known != null) {
            return known;
        }
        String name =
                switch (key) {
                    case String builtin -> builtin;
                    case Builtin builtin -> builtin.qapiName;
                    case Array(QapiType element) -> "[" + use(element) + "]";
                    default -> Integer.toString(numbers++);
                };
        names.put(key, name);
        // [int] may come from several types of integers.
        if (!(key instanceof Array) || names.values().stream().filter(name::equals).count() == 1) {
            undescribed.add(key);
        }
        return name;
    }

    private void describe(Object type) {
        String name = names.get(type);
        switch (type) {
            case String integer -> entry(integer, "builtin").put("json-type", integer);
            case Builtin builtin -> entry(name, "builtin").put("json-type", builtin.jsonType);
            case Array(QapiType element) -> entry(name, "array").put("element-type", use(element));
            case Enumeration enumeration -> words(name, enumeration.values().sequencedKeySet());
            case Tag tag -> words(name, tag.values());
            case Struct struct -> struct(name, struct);
            case Union union -> {
                Map<String, Object> variants = new LinkedHashMap<>();
                union.cases().forEach((word, one) -> variants.put(word, use(QapiType.struct(one))));
                union(name, union, List.copyOf(union.cases().keySet()), variants);
            }
            case WrappedUnion(Union union) -> {
                Map<String, Object> variants = new LinkedHashMap<>();
                union.cases()
                        .forEach(
                                (word, one) ->
                                        variants.put(word, use(new Wrapper(QapiType.struct(one)))));
                union(name, union, List.copyOf(union.cases().keySet()), variants);
            }
            case Wrapper(QapiType branch) ->
                    entry(name, "object")
                            .put(
                                    "members",
                                    List.of(
                                            Map.of(
                                                    "name",
                                                    WrappedUnion.DATA,
                                                    "type",
                                                    use(branch))));
            case Alternation alternation ->
                    entry(name, "alternate")
                            .put(
                                    "members",
                                    alternation.choices().stream()
                                            .map(Choice::type)
                                            .map(branch -> Map.of("type", use(branch)))
                                            .toList());
            default -> throw new IllegalStateException(type.toString());
        }
    }

    private void words(String name, SequencedCollection<String> words) {
        Map<String, Object> entry = entry(name, "enum");
        entry.put("members", words.stream().map(word -> Map.of("name", word)).toList());
        entry.put("values", List.copyOf(words));
    }

    private void struct(String name, Struct struct) {
        Map<String, Object> entry = entry(name, "object");
        List<Object> members = new ArrayList<>();
        for (Member member : struct.members()) {
            if (member.discriminator()) {
                Map<String, Object> variants = new LinkedHashMap<>();
                branches.of(struct.type())
                        .forEach((word, one) -> variants.put(word, use(QapiType.struct(one))));
                members.add(member(member, new Tag(struct, List.copyOf(variants.keySet()))));
                variants(entry, member.name(), variants);
            } else if (!member.branch()) {
                members.add(member(member, member.type()));
            }
        }
        entry.put("members", members);
        addFeatures(entry, struct.features());
    }

    private void union(String name, Union union, List<String> words, Map<String, Object> variants) {
        Map<String, Object> entry = entry(name, "object");
        entry.put(
                "members", List.of(Map.of("name", Union.TAG, "type", use(new Tag(union, words)))));
        variants(entry, Union.TAG, variants);
    }

    private Map<String, Object> member(Member member, Object type) {
        Map<String, Object> described = new LinkedHashMap<>();
        described.put("name", member.name());
        described.put("type", use(type));
        if (member.optional()) {
            described.put("default", Null.NULL);
        }
        addFeatures(described, member.features());
        return described;
    }

    private static void variants(
            Map<String, Object> entry, String tag, Map<String, Object> variants) {
        entry.put("tag", tag);
        List<Object> list = new ArrayList<>();
        variants.forEach((word, type) -> list.add(Map.of("case", word, "type", type)));
        entry.put("variants", list);
    }

    private Map<String, Object> entry(String name, String metaType) {
        Map<String, Object> entry = new LinkedHashMap<>();
        entry.put("name", name);
        entry.put("meta-type", metaType);
        entries.add(entry);
        return entry;
    }

    private static void addFeatures(Map<String, Object> entry, List<String> features) {
        if (!features.isEmpty()) {
            entry.put("features", features);
        }
    }
}

package io.blockwharf.it;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;

/**
 * Makes arguments that a command must refuse, from QEMU's schema as far as ours has it too: each
 * member, at every depth and in every branch, with values of every wrong type, alone and beside the
 * mandatory members; nothing; and a member that there is not.
 */
final class WrongArguments {
    private static final JsonNodeFactory JSON = JsonNodeFactory.instance;
    private static final int DEEPEST = 3;

    private enum Kind {
        NULL,
        BOOLEAN,
        INT,
        NUMBER,
        STRING,
        ARRAY,
        OBJECT;

        JsonNode sample() {
            return switch (this) {
                case NULL -> JSON.nullNode();
                case BOOLEAN -> JSON.booleanNode(true);
                case INT -> JSON.numberNode(5);
                case NUMBER -> JSON.numberNode(1.5);
                case STRING -> JSON.textNode("bogus!");
                case ARRAY -> JSON.arrayNode();
                case OBJECT -> JSON.objectNode();
            };
        }
    }

    private final Map<String, JsonNode> theirs;
    private final Map<String, JsonNode> ours;

    /** Members that are left out, as {@code command/member}, and commands. */
    private final Deviations except;

    WrongArguments(Map<String, JsonNode> theirs, Map<String, JsonNode> ours, Deviations except) {
        this.theirs = theirs;
        this.ours = ours;
        this.except = except;
    }

    /** All that there are for a command that both have. */
    Set<JsonNode> of(String command) {
        String type = theirs.get(command).get("arg-type").textValue();
        String our = ours.get(command).get("arg-type").textValue();
        Set<JsonNode> all = new LinkedHashSet<>();
        if (except.has(command)) {
            return all;
        }
        mutations(
                type,
                our,
                0,
                changed -> {
                    for (String member : names(changed)) {
                        if (except.has(command + "/" + member)) {
                            return;
                        }
                    }
                    all.add(changed);
                    if (!changed.isEmpty()) {
                        all.add(filled(type, changed));
                    }
                });
        return all;
    }

    private static Iterable<String> names(JsonNode object) {
        return object::fieldNames;
    }

    private void mutations(String type, String our, int depth, Consumer<ObjectNode> each) {
        JsonNode entry = theirs.get(type);
        each.accept(JSON.objectNode());
        each.accept(JSON.objectNode().put("bogus", 1));
        Map<String, String> counterparts = types(ours.get(our).path("members"), "name");
        for (JsonNode member : entry.get("members")) {
            String name = member.get("name").textValue();
            if (counterparts.containsKey(name)) {
                String memberType = member.get("type").textValue();
                values(
                        memberType,
                        counterparts.get(name),
                        depth,
                        value -> each.accept(JSON.objectNode().set(name, value)));
            }
        }
        if (entry.has("tag")) {
            Map<String, String> branches = types(ours.get(our).path("variants"), "case");
            for (JsonNode variant : entry.get("variants")) {
                String word = variant.get("case").textValue();
                if (depth < DEEPEST && branches.containsKey(word)) {
                    mutations(
                            variant.get("type").textValue(),
                            branches.get(word),
                            depth + 1,
                            branch ->
                                    each.accept(
                                            JSON.objectNode()
                                                    .put(entry.get("tag").textValue(), word)
                                                    .setAll(branch)));
                }
            }
        }
    }

    /** Wrong values of a type. */
    private void values(String type, String our, int depth, Consumer<JsonNode> each) {
        EnumSet<Kind> wrong = EnumSet.complementOf(kinds(type));
        wrong.forEach(kind -> each.accept(kind.sample()));
        String meta = theirs.get(type).get("meta-type").textValue();
        if (depth == DEEPEST || !ours.get(our).get("meta-type").textValue().equals(meta)) {
            return;
        }
        if (meta.equals("object")) {
            mutations(type, our, depth + 1, each::accept);
        } else if (meta.equals("array")) {
            values(
                    theirs.get(type).get("element-type").textValue(),
                    ours.get(our).get("element-type").textValue(),
                    depth + 1,
                    value -> each.accept(JSON.arrayNode().add(value)));
        }
    }

    private EnumSet<Kind> kinds(String type) {
        JsonNode entry = theirs.get(type);
        return switch (entry.get("meta-type").textValue()) {
            case "builtin" ->
                    switch (entry.get("json-type").textValue()) {
                        case "int" -> EnumSet.of(Kind.INT);
                        case "number" -> EnumSet.of(Kind.INT, Kind.NUMBER);
                        case "string" -> EnumSet.of(Kind.STRING);
                        case "boolean" -> EnumSet.of(Kind.BOOLEAN);
                        case "null" -> EnumSet.of(Kind.NULL);
                        default -> EnumSet.allOf(Kind.class);
                    };
            // The word that we use is not one of any enum
            case "enum" -> EnumSet.noneOf(Kind.class);
            case "array" -> EnumSet.of(Kind.ARRAY);
            case "object" -> EnumSet.of(Kind.OBJECT);
            default -> {
                EnumSet<Kind> all = EnumSet.noneOf(Kind.class);
                for (JsonNode member : entry.get("members")) {
                    EnumSet<Kind> one = kinds(member.get("type").textValue());
                    all.addAll(one.isEmpty() ? EnumSet.of(Kind.STRING) : one);
                }
                yield all;
            }
        };
    }

    /** The mandatory members, and over them those that were changed. */
    private ObjectNode filled(String type, ObjectNode changed) {
        JsonNode entry = theirs.get(type);
        ObjectNode all = (ObjectNode) sample(type);
        if (entry.has("tag")) {
            String tag = entry.get("tag").textValue();
            String word = changed.path(tag).asText(all.get(tag).textValue());
            String branch = types(entry.get("variants"), "case").get(word);
            if (branch != null) {
                all.setAll((ObjectNode) sample(branch));
            }
        }
        return all.setAll(changed);
    }

    /** A value of the right type. */
    private JsonNode sample(String type) {
        JsonNode entry = theirs.get(type);
        return switch (entry.get("meta-type").textValue()) {
            case "builtin" ->
                    switch (entry.get("json-type").textValue()) {
                        case "int", "number", "value" -> JSON.numberNode(1);
                        case "boolean" -> JSON.booleanNode(true);
                        case "null" -> JSON.nullNode();
                        default -> JSON.textNode("s");
                    };
            case "enum" -> {
                Set<String> words = new LinkedHashSet<>();
                entry.get("values").forEach(word -> words.add(word.textValue()));
                // A driver that both have everywhere, and that has no child
                yield JSON.textNode(words.contains("file") ? "file" : words.iterator().next());
            }
            case "array" -> JSON.arrayNode();
            case "alternate" -> sample(entry.get("members").get(0).get("type").textValue());
            default -> {
                ObjectNode object = JSON.objectNode();
                for (JsonNode member : entry.get("members")) {
                    if (!member.has("default")) {
                        object.set(
                                member.get("name").textValue(),
                                sample(member.get("type").textValue()));
                    }
                }
                yield object;
            }
        };
    }

    /** The types of members or variants, by their names. */
    private static Map<String, String> types(JsonNode list, String key) {
        Map<String, String> types = new HashMap<>();
        list.forEach(one -> types.put(one.get(key).textValue(), one.get("type").textValue()));
        return types;
    }
}

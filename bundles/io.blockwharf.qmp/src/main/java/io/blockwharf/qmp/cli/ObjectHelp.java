package io.blockwharf.qmp.cli;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * {@code --object help} and {@code --object TYPE,help}, from what {@code query-qmp-schema} says
 * about {@code object-add}: so the types are those that are installed now.
 */
final class ObjectHelp {
    private final Map<String, Map<?, ?>> schema = new LinkedHashMap<>();

    /** Help from an answer of {@code query-qmp-schema}. */
    ObjectHelp(Object schema) {
        for (Object each : (List<?>) schema) {
            Map<?, ?> info = (Map<?, ?>) each;
            this.schema.put((String) info.get("name"), info);
        }
    }

    /** The properties of a type; if it is missing or there is none like it, all types. */
    String text(Optional<String> type) {
        Map<String, String> types = types();
        return type.filter(types::containsKey)
                .map(name -> name + " options:\n" + properties(types.get(name)))
                .orElseGet(
                        () ->
                                types.keySet().stream()
                                        .sorted()
                                        .map(name -> "  " + name)
                                        .collect(
                                                Collectors.joining(
                                                        "\n",
                                                        "List of user creatable objects:\n",
                                                        "")));
    }

    /** The names of the object types, each with that of its schema type. */
    private Map<String, String> types() {
        Map<String, String> types = new LinkedHashMap<>();
        Map<?, ?> arguments = schema.get(schema.get("object-add").get("arg-type"));
        for (Object variant : list(arguments, "variants")) {
            Map<?, ?> branch = (Map<?, ?>) variant;
            types.put((String) branch.get("case"), (String) branch.get("type"));
        }
        return types;
    }

    private String properties(String type) {
        return list(schema.get(type), "members").stream()
                .map(member -> (Map<?, ?>) member)
                .map(
                        member ->
                                "  %s=<%s>"
                                        .formatted(
                                                member.get("name"),
                                                typeText((String) member.get("type"))))
                .sorted()
                .collect(Collectors.joining("\n"));
    }

    private String typeText(String type) {
        Map<?, ?> info = schema.get(type);
        return switch ((String) info.get("meta-type")) {
            case "builtin" -> type.equals("str") ? "string" : type;
            case "enum" ->
                    list(info, "values").stream()
                            .map(Object::toString)
                            .collect(Collectors.joining("|"));
            case "array" -> typeText((String) info.get("element-type")) + "...";
            default -> "object";
        };
    }

    private static List<?> list(Map<?, ?> info, String member) {
        return info.get(member) instanceof List<?> elements ? elements : List.of();
    }
}

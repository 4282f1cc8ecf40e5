package io.blockwharf.it;

import com.fasterxml.jackson.databind.JsonNode;

import java.util.HashMap;
import java.util.HashSet;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/**
 * Looks for members, words and types of our schema that QEMU's does not have. A path goes from a
 * command by member, {@code #case} and {@code []}.
 */
final class SchemaComparison {
    private final Map<String, JsonNode> ours;
    private final Map<String, JsonNode> theirs;
    private final Set<String> seen = new HashSet<>();
    final Set<String> differences = new TreeSet<>();

    SchemaComparison(Map<String, JsonNode> ours, Map<String, JsonNode> theirs) {
        this.ours = ours;
        this.theirs = theirs;
    }

    void commandsAndEvents() {
        for (String name : ours.keySet()) {
            JsonNode entry = ours.get(name);
            if (!theirs.containsKey(name) || !entry.has("arg-type")) {
                continue;
            }
            JsonNode other = theirs.get(name);
            types(text(entry, "arg-type"), text(other, "arg-type"), name);
            if (entry.has("ret-type") && !name.equals("query-qmp-schema")) {
                types(text(entry, "ret-type"), text(other, "ret-type"), name);
            }
            if (!entry.path("features").equals(other.path("features"))) {
                differences.add(name + " features " + entry.path("features"));
            }
        }
    }

    private void types(String our, String their, String path) {
        if (!seen.add(our + " " + their)) {
            return;
        }
        JsonNode entry = ours.get(our);
        JsonNode other = theirs.get(their);
        if (!entry.get("meta-type").equals(other.get("meta-type"))) {
            differences.add(path);
            return;
        }
        switch (text(entry, "meta-type")) {
            case "builtin" -> {
                if (!entry.equals(other)) {
                    differences.add(path + " is " + our);
                }
            }
            case "array" ->
                    types(text(entry, "element-type"), text(other, "element-type"), path + "/[]");
            case "enum" -> {
                for (JsonNode word : entry.get("values")) {
                    if (!has(other.get("values"), word)) {
                        differences.add(path + "=" + word.textValue());
                    }
                }
            }
            case "alternate" -> {
                if (entry.get("members").size() != other.get("members").size()) {
                    differences.add(path);
                }
            }
            default -> objects(entry, other, path);
        }
    }

    private void objects(JsonNode entry, JsonNode other, String path) {
        Map<String, JsonNode> members = by("name", other.get("members"));
        by("name", entry.get("members"))
                .forEach(
                        (name, member) -> {
                            JsonNode counterpart = members.get(name);
                            String there = path + "/" + name;
                            if (counterpart == null) {
                                differences.add(there);
                            } else if (member.has("default") != counterpart.has("default")) {
                                differences.add(there + " optional: " + member.has("default"));
                            } else {
                                types(text(member, "type"), text(counterpart, "type"), there);
                            }
                        });
        if (!entry.path("tag").equals(other.path("tag"))) {
            differences.add(path + " tag " + entry.path("tag"));
        }
        Map<String, JsonNode> variants = by("case", other.path("variants"));
        by("case", entry.path("variants"))
                .forEach(
                        (word, variant) -> {
                            if (variants.containsKey(word)) {
                                types(
                                        text(variant, "type"),
                                        text(variants.get(word), "type"),
                                        path + "/#" + word);
                            }
                        });
    }

    private static Map<String, JsonNode> by(String key, JsonNode list) {
        Map<String, JsonNode> map = new HashMap<>();
        list.forEach(one -> map.put(text(one, key), one));
        return map;
    }

    private static boolean has(JsonNode list, JsonNode wanted) {
        for (JsonNode one : list) {
            if (one.equals(wanted)) {
                return true;
            }
        }
        return false;
    }

    private static String text(JsonNode node, String member) {
        return node.get(member).textValue();
    }
}

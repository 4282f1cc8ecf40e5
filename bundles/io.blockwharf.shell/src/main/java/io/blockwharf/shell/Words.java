package io.blockwharf.shell;

import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * Arguments as the shell has them: {@code nbd id=e0 addr.path=/x}, one per word, where the command
 * line has commas between them.
 */
final class Words {
    private static final Pattern NAME = Pattern.compile("[a-zA-Z0-9_-]+");

    private Words() {}

    /**
     * Nested objects of strings, for the dispatcher's {@code option}.
     *
     * @param implied the key of a first word that has none
     */
    static Map<String, Object> arguments(String implied, List<String> words) {
        Map<String, Object> arguments = new LinkedHashMap<>();
        for (int i = 0; i < words.size(); i++) {
            String word = words.get(i);
            int equals = word.indexOf('=');
            if (equals >= 0) {
                put(arguments, word.substring(0, equals), word.substring(equals + 1));
            } else if (i == 0 && !implied.isEmpty()) {
                arguments.put(implied, word);
            } else {
                throw QmpException.generic("Expected '=' after parameter '%s'", word);
            }
        }
        return arguments;
    }

    private static void put(Map<String, Object> arguments, String key, String value) {
        int dot = key.indexOf('.');
        String name = dot < 0 ? key : key.substring(0, dot);
        if (!NAME.matcher(name).matches()) {
            throw QmpException.generic("Invalid parameter '%s'", key);
        } else if (dot < 0) {
            arguments.put(name, value);
            return;
        }
        Object inner = arguments.computeIfAbsent(name, _ -> new LinkedHashMap<String, Object>());
        if (!(inner instanceof Map)) {
            throw QmpException.generic("Parameters '%s.*' used inconsistently", name);
        }
        // Only maps like this one are put.
        @SuppressWarnings("unchecked")
        Map<String, Object> object = (Map<String, Object>) inner;
        put(object, key.substring(dot + 1), value);
    }
}

package io.blockwharf.qmp.cli;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.chardev.ChardevOption.Type;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * {@code key=value,...} as QEMU's older options have it, of which {@code --chardev} is the last:
 * keys are not nested, a key without a value means {@code on}, and {@code no} before it means
 * {@code off}.
 */
final class LegacyOptions {
    private static final Pattern NUMBER = Pattern.compile("[+-]?([0-9]+|0x[0-9a-fA-F]+)");
    private static final Pattern SIZE = Pattern.compile("[0-9.]+([bBkKmMgGtTpPeE]|)");

    private LegacyOptions() {}

    /**
     * Parses the parameters of an option.
     *
     * @param implied the key of a first value that has none
     * @param types the keys that there are, with what their values are
     * @param warn told about forms that are better not used
     * @return strings by key
     * @throws QmpException if a key is not known, or its value no number
     */
    static Map<String, Object> parse(
            String text, String implied, Map<String, Type> types, Consumer<String> warn) {
        Map<String, Object> members = new LinkedHashMap<>();
        int position = 0;
        while (position < text.length()) {
            int end = end(text, position);
            String parameter = text.substring(position, end);
            int equals = parameter.indexOf('=');
            String key;
            String value;
            if (equals >= 0) {
                key = parameter.substring(0, equals);
                value = parameter.substring(equals + 1).replace(",,", ",");
            } else if (position == 0) {
                key = implied;
                value = parameter.replace(",,", ",");
            } else {
                boolean negated = parameter.startsWith("no") && !types.containsKey(parameter);
                key = negated ? parameter.substring(2) : parameter;
                value = negated ? "off" : "on";
                if (!key.equals("help") && !key.equals("?")) {
                    warn.accept(
                            "short-form boolean option '%s' deprecated\nPlease use %s=%s instead"
                                    .formatted(parameter, key, value));
                }
            }
            if (!types.containsKey(key)) {
                throw QmpException.generic("Invalid parameter '%s'", key);
            }
            members.put(key, value);
            position = end + 1;
        }
        members.forEach((key, value) -> check(types.get(key), key, (String) value));
        return members;
    }

    private static void check(Type type, String key, String value) {
        switch (type) {
            case TEXT -> {} // words and switches are looked at by whoever takes them
            case NUMBER -> {
                if (!NUMBER.matcher(value).matches()) {
                    throw QmpException.generic("Parameter '%s' expects a number", key);
                }
            }
            case SIZE -> {
                if (!SIZE.matcher(value).matches()) {
                    throw QmpException.generic(
                            "Parameter '%s' expects a non-negative number below 2^64\n"
                                    + "Optional suffix k, M, G, T, P or E means kilo-, mega-,"
                                    + " giga-, tera-, peta-\nand exabytes, respectively.",
                            key);
                }
            }
        }
    }

    /** Where the parameter ends: at a comma that is not doubled and stands in no key. */
    private static int end(String text, int start) {
        int equals = text.indexOf('=', start);
        int comma = text.indexOf(',', start);
        if (equals >= 0 && comma >= 0 && comma < equals && start > 0) {
            return comma;
        }
        for (int i = start; i < text.length(); i++) {
            if (text.charAt(i) == ',') {
                if (i + 1 < text.length() && text.charAt(i + 1) == ',') {
                    i++;
                } else {
                    return i;
                }
            }
        }
        return text.length();
    }
}

package io.blockwharf.qmp.cli;

import io.blockwharf.api.qmp.QmpException;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * {@code key=value,...} as QEMU's older options have it, of which {@code --chardev} is the last:
 * keys are not nested, a key without a value means {@code on}, and {@code no} before it means
 * {@code off}.
 *
 * @param members strings
 * @param warnings about forms that are better not used
 */
record LegacyOptions(Map<String, Object> members, List<String> warnings) {
    /**
     * Parses the parameters of an option.
     *
     * @param implied the key of a first value that has none
     * @param known the keys that there are
     * @throws QmpException if a key is not known
     */
    static LegacyOptions parse(String text, String implied, Set<String> known) {
        Map<String, Object> members = new LinkedHashMap<>();
        List<String> warnings = new ArrayList<>();
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
                boolean negated = parameter.startsWith("no") && !known.contains(parameter);
                key = negated ? parameter.substring(2) : parameter;
                value = negated ? "off" : "on";
                if (!key.equals("help") && !key.equals("?")) {
                    warnings.add(
                            "short-form boolean option '%s' deprecated\nPlease use %s=%s instead"
                                    .formatted(parameter, key, value));
                }
            }
            if (!known.contains(key)) {
                throw QmpException.generic("Invalid parameter '%s'", key);
            }
            members.put(key, value);
            position = end + 1;
        }
        return new LegacyOptions(members, warnings);
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

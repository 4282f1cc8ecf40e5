package io.blockwharf.qmp.cli;

import io.blockwharf.api.qmp.QmpException;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;

/**
 * {@code key=value,...} as QEMU's newer options have it: dots in a key make nested objects, numbers
 * in it make lists, a comma in a value is doubled, and the last of several values counts. Lists are
 * left as objects whose keys are numbers: the dispatcher turns them into lists.
 */
public final class Keyval {
    private static final int MAX_FRAGMENT = 127;

    /** QAPI names: a letter first, or a vendor's prefix; an index is digits. */
    private static final Pattern FRAGMENT =
            Pattern.compile("(__[a-zA-Z0-9.-]*_)?[a-zA-Z][a-zA-Z0-9_-]*|[0-9]+");

    private final String implied;
    private final Map<String, Object> members = new LinkedHashMap<>();
    private boolean help;

    private Keyval(String implied) {
        this.implied = implied;
    }

    /**
     * What was parsed.
     *
     * @param members strings, or maps of such members
     * @param help whether {@code help} or {@code ?} stood where a parameter should
     */
    public record Parsed(Map<String, Object> members, boolean help) {}

    /**
     * Parses the parameters of an option.
     *
     * @param implied the key of a first value that has none; empty: there must be a key
     * @throws QmpException with QEMU's sentence if the text is malformed or contradicts itself
     */
    public static Parsed parse(String text, String implied) {
        Keyval keyval = new Keyval(implied);
        int position = 0;
        while (position < text.length()) {
            position = keyval.parameter(text, position, position == 0);
        }
        return new Parsed(keyval.members, keyval.help);
    }

    /** Takes the parameter at {@code start}; where the next one begins. */
    private int parameter(String text, int start, boolean first) {
        int keyEnd = start;
        while (keyEnd < text.length() && "=,".indexOf(text.charAt(keyEnd)) < 0) {
            keyEnd++;
        }
        String key = text.substring(start, keyEnd);
        boolean hasValue = keyEnd < text.length() && text.charAt(keyEnd) == '=';
        if (!hasValue && (key.equals("help") || key.equals("?"))) {
            help = true;
            return keyEnd + 1;
        }
        int valueStart = keyEnd + 1;
        if (!hasValue && first && !implied.isEmpty() && !key.isEmpty()) {
            put(implied, key); // ends at its first comma, doubled or not
            return keyEnd + 1;
        } else {
            check(key);
            if (!hasValue) {
                throw QmpException.generic("Expected '=' after parameter '%s'", key);
            }
        }
        StringBuilder value = new StringBuilder();
        int position = valueStart;
        for (; position < text.length(); position++) {
            char c = text.charAt(position);
            if (c == ',') {
                if (position + 1 == text.length() || text.charAt(position + 1) != ',') {
                    break;
                }
                position++;
            }
            value.append(c);
        }
        put(key, value.toString());
        return position + 1;
    }

    /** Names between dots, the first of which is no index. */
    private static void check(String key) {
        String rest = key;
        boolean first = true;
        while (true) {
            int dot = fragmentEnd(rest);
            String fragment = rest.substring(0, dot);
            boolean wellFormed =
                    FRAGMENT.matcher(fragment).matches()
                            && !(first && Character.isDigit(fragment.charAt(0)));
            if (!wellFormed) {
                throw QmpException.generic("Invalid parameter '%s'", key);
            }
            if (fragment.length() > MAX_FRAGMENT) {
                throw QmpException.generic(
                        "Parameter%s '%s' is too long",
                        first && dot == rest.length() ? "" : " fragment", fragment);
            }
            if (dot == rest.length()) {
                return;
            }
            rest = rest.substring(dot + 1);
            first = false;
        }
    }

    /** A vendor's prefix may have dots of its own. */
    private static int fragmentEnd(String key) {
        int from = 0;
        if (key.startsWith("__")) {
            from = Math.max(0, key.indexOf('_', 2));
        }
        int dot = key.indexOf('.', from);
        return dot < 0 ? key.length() : dot;
    }

    private void put(String key, String value) {
        Map<String, Object> object = members;
        int start = 0;
        for (; ; ) {
            int end = start + fragmentEnd(key.substring(start));
            String name = index(key.substring(start, end));
            if (end == key.length()) {
                if (object.get(name) instanceof Map) {
                    throw inconsistent(key.substring(0, end));
                }
                object.put(name, value);
                return;
            }
            Object inner = object.computeIfAbsent(name, _ -> new LinkedHashMap<String, Object>());
            if (!(inner instanceof Map)) {
                throw inconsistent(key.substring(0, end));
            }
            // Only maps like this one are put.
            @SuppressWarnings("unchecked")
            Map<String, Object> next = (Map<String, Object>) inner;
            object = next;
            start = end + 1;
        }
    }

    /** An index is the same with zeros in front. */
    private static String index(String name) {
        return Character.isDigit(name.charAt(0)) ? name.replaceFirst("^0+(?=.)", "") : name;
    }

    private static QmpException inconsistent(String key) {
        return QmpException.generic("Parameters '%s.*' used inconsistently", key);
    }
}

package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.QmpException;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads a JSON text (RFC 8259) into values as {@link io.blockwharf.api.qmp.QmpDispatcher} describes
 * them. Only for the short texts that stand in images; monitors have a parser of their own.
 */
public final class JsonText {
    private static final int DEEPEST = 64;

    private final String text;
    private int at;

    private JsonText(String text) {
        this.text = text;
    }

    /**
     * The object that a text consists of.
     *
     * @throws QmpException if it is not a JSON object
     */
    public static Map<String, Object> object(String text) {
        JsonText reader = new JsonText(text);
        Object value = reader.value(0);
        reader.space();
        if (reader.at < text.length() || !(value instanceof Map<?, ?>)) {
            throw reader.wrong();
        }
        @SuppressWarnings("unchecked") // as value() makes them
        Map<String, Object> object = (Map<String, Object>) value;
        return object;
    }

    private QmpException wrong() {
        return QmpException.generic("JSON parse error at character %d of '%s'", at, text);
    }

    private void space() {
        while (at < text.length() && " \t\r\n".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
    }

    private boolean takes(char c) {
        space();
        boolean there = at < text.length() && text.charAt(at) == c;
        at += there ? 1 : 0;
        return there;
    }

    private void expect(char c) {
        if (!takes(c)) {
            throw wrong();
        }
    }

    private Object value(int depth) {
        space();
        if (at == text.length() || depth == DEEPEST) {
            throw wrong();
        }
        return switch (text.charAt(at)) {
            case '{' -> object(depth);
            case '[' -> array(depth);
            case '"' -> string();
            case 't' -> word("true", true);
            case 'f' -> word("false", false);
            case 'n' -> word("null", Null.NULL);
            default -> number();
        };
    }

    private Map<String, Object> object(int depth) {
        Map<String, Object> members = new LinkedHashMap<>();
        expect('{');
        if (takes('}')) {
            return members;
        }
        do {
            space();
            String name = string();
            expect(':');
            if (members.put(name, value(depth + 1)) != null) {
                throw wrong(); // a duplicate is a mistake of whoever wrote it
            }
        } while (takes(','));
        expect('}');
        return members;
    }

    private List<Object> array(int depth) {
        List<Object> elements = new ArrayList<>();
        expect('[');
        if (takes(']')) {
            return elements;
        }
        do {
            elements.add(value(depth + 1));
        } while (takes(','));
        expect(']');
        return elements;
    }

    private Object word(String word, Object value) {
        if (!text.startsWith(word, at)) {
            throw wrong();
        }
        at += word.length();
        return value;
    }

    private Object number() {
        int from = at;
        while (at < text.length() && "+-.eE0123456789".indexOf(text.charAt(at)) >= 0) {
            at++;
        }
        String digits = text.substring(from, at);
        try {
            if (digits.matches("-?(0|[1-9][0-9]*)")) {
                BigInteger number = new BigInteger(digits);
                if (number.bitLength() < Long.SIZE) {
                    return number.longValue();
                }
                return number;
            }
            return Double.valueOf(digits);
        } catch (NumberFormatException e) {
            throw wrong();
        }
    }

    private String string() {
        if (at == text.length() || text.charAt(at) != '"') {
            throw wrong();
        }
        at++;
        StringBuilder string = new StringBuilder();
        while (at < text.length()) {
            char c = text.charAt(at++);
            if (c == '"') {
                return string.toString();
            } else if (c == '\\') {
                string.append(escaped());
            } else if (c < ' ') {
                throw wrong();
            } else {
                string.append(c);
            }
        }
        throw wrong();
    }

    private char escaped() {
        if (at == text.length()) {
            throw wrong();
        }
        char c = text.charAt(at++);
        return switch (c) {
            case '"', '\\', '/' -> c;
            case 'b' -> '\b';
            case 'f' -> '\f';
            case 'n' -> '\n';
            case 'r' -> '\r';
            case 't' -> '\t';
            case 'u' -> {
                if (at + 4 > text.length()) {
                    throw wrong();
                }
                try {
                    char unit = (char) Integer.parseInt(text, at, at + 4, 16);
                    at += 4;
                    yield unit;
                } catch (NumberFormatException e) {
                    throw wrong();
                }
            }
            default -> throw wrong();
        };
    }
}

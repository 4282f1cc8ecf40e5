package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.QmpException;

import java.math.BigDecimal;
import java.math.BigInteger;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What the strings of {@code key=value,...} mean. QEMU, {@code util/keyval.c}. */
final class Keyval {
    /** Longer than any number that fits 64 bits and has no thousand zeros in front. */
    private static final int MAX_DIGITS = 1000;

    /** strtol(3) with base 0. */
    private static final Pattern INTEGER =
            Pattern.compile(
                    "\\s*([+-]?)(?:0[xX](?<hex>[0-9a-fA-F]+)|(?<octal>0[0-7]*)|(?<dec>[1-9][0-9]*))");

    /** {@code qemu_strtosz}: bytes in hexadecimal, or a decimal number, perhaps with a fraction. */
    private static final Pattern SIZE =
            Pattern.compile(
                    "\\s*\\+?(?:0[xX](?<hex>[0-9a-fA-F]+)|(?<dec>[0-9]+(?:\\.[0-9]*)?|\\.[0-9]+)(?<unit>[bBkKmMgGtTpPeE]?))");

    /**
     * strtod(3) without hexadecimal, infinities and NaN, which {@code qemu_strtod_finite} refuses.
     */
    private static final Pattern NUMBER =
            Pattern.compile("\\s*[+-]?([0-9]+(\\.[0-9]*)?|\\.[0-9]+)([eE][+-]?[0-9]+)?");

    private static final String UNITS = "bkmgtpe";

    private Keyval() {}

    /**
     * Turns each map whose keys are all decimal numbers into a list.
     *
     * @throws QmpException if numbers and names are mixed, or a number is left out
     */
    static Map<String, Object> listify(Map<String, ?> object) {
        Map<String, Object> members = new LinkedHashMap<>();
        object.forEach((name, value) -> members.put(name, listify(value, name + ".", 0)));
        return members;
    }

    private static Object listify(Object value, String prefix, int depth) {
        if (!(value instanceof Map<?, ?> object)) {
            return value;
        } else if (depth == Binder.MAX_DEPTH) {
            throw QmpException.generic("Parameters are nested too deeply");
        }
        Map<String, Object> members = new LinkedHashMap<>();
        TreeMap<BigInteger, Object> elements = new TreeMap<>();
        object.forEach(
                (key, member) -> {
                    String name = key.toString();
                    Object listified = listify(member, prefix + name + ".", depth + 1);
                    if (isIndex(name)) {
                        elements.put(new BigInteger(name), listified);
                    } else {
                        members.put(name, listified);
                    }
                });
        if (elements.isEmpty()) {
            return members;
        } else if (!members.isEmpty()) {
            throw QmpException.generic("Parameters '%s*' used inconsistently", prefix);
        }
        BigInteger next = BigInteger.ZERO;
        for (BigInteger index : elements.keySet()) {
            if (!index.equals(next)) {
                throw QmpException.generic("Parameter '%s%s' missing", prefix, next);
            }
            next = next.add(BigInteger.ONE);
        }
        return List.copyOf(elements.values());
    }

    private static boolean isIndex(String name) {
        return !name.isEmpty()
                && name.length() < MAX_DIGITS
                && name.chars().allMatch(c -> c >= '0' && c <= '9');
    }

    static Optional<Boolean> bool(String text) {
        return switch (text) {
            case "on", "yes", "true", "y" -> Optional.of(true);
            case "off", "no", "false", "n" -> Optional.of(false);
            default -> Optional.empty();
        };
    }

    static Optional<BigInteger> integer(String text) {
        Matcher matcher = INTEGER.matcher(text);
        if (text.length() > MAX_DIGITS || !matcher.matches()) {
            return Optional.empty();
        }
        BigInteger number =
                matcher.group("hex") != null
                        ? new BigInteger(matcher.group("hex"), 16)
                        : matcher.group("octal") != null
                                ? new BigInteger(matcher.group("octal"), 8)
                                : new BigInteger(matcher.group("dec"));
        return Optional.of(matcher.group(1).equals("-") ? number.negate() : number);
    }

    static Optional<Double> number(String text) {
        return text.length() > MAX_DIGITS || !NUMBER.matcher(text).matches()
                ? Optional.empty()
                : Optional.of(Double.valueOf(text)).filter(Double::isFinite);
    }

    /** A number of bytes; fractions of a byte are dropped, but need a unit larger than the byte. */
    static Optional<Long> size(String text) {
        Matcher matcher = SIZE.matcher(text);
        if (text.length() > MAX_DIGITS || !matcher.matches()) {
            return Optional.empty();
        } else if (matcher.group("hex") != null) {
            return bytes(new BigInteger(matcher.group("hex"), 16));
        }
        BigDecimal number = new BigDecimal(matcher.group("dec"));
        int unit = Math.max(0, UNITS.indexOf(matcher.group("unit").toLowerCase(Locale.ROOT)));
        if (unit == 0 && matcher.group("dec").contains(".")) {
            return Optional.empty();
        }
        return bytes(
                number.multiply(new BigDecimal(BigInteger.ONE.shiftLeft(10 * unit)))
                        .toBigInteger());
    }

    private static Optional<Long> bytes(BigInteger number) {
        return number.bitLength() > 63 ? Optional.empty() : Optional.of(number.longValue());
    }
}

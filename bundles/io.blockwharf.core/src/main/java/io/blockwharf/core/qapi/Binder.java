package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.QmpException;
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

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Turns JSON values, or the strings of a {@code key=value} list, into checked QAPI records.
 *
 * <p>Visits what it is given in QEMU's order: the members of a struct in the order of the schema
 * (missing and mistyped ones are reported then), those of the selected branch of a union after the
 * others, what is left over at the end of each struct. Errors have QEMU's words, and its
 * inaccuracy: a range, an enum value and an alternate are reported by the member's own name,
 * everything else by its path. QEMU 10.2.2, {@code qapi/qobject-input-visitor.c} and {@code
 * qapi/qapi-visit-core.c}.
 *
 * <p>Stricter than QEMU in two points: a negative number for a 64-bit unsigned type is refused
 * instead of wrapping around, and nesting is limited.
 */
public final class Binder {
    /** More levels than any node graph has, few enough for any thread's stack. */
    static final int MAX_DEPTH = 128;

    private final Branches branches;

    /** A binder that finds the branches of open unions in {@code branches}. */
    public Binder(Branches branches) {
        this.branches = branches;
    }

    /**
     * Makes a record of a JSON object.
     *
     * @param keyval whether the leaves are strings out of {@code key=value,...}, to be parsed as
     *     the types demand; maps whose keys are all numbers are lists then
     * @throws QmpException if the object is not one of that type
     */
    public <R extends Record> R bind(Class<R> type, Map<String, ?> object, boolean keyval) {
        Object root = keyval ? Keyval.listify(object) : object;
        return type.cast(new Visit(keyval).struct(QapiType.struct(type), root, Path.ROOT));
    }

    /**
     * Where in the arguments something stands.
     *
     * @param name of a member; empty for the root and for elements of a list
     * @param index in a list; -1 elsewhere
     */
    private record Path(Optional<Path> parent, String name, int index, int depth) {
        static final Path ROOT = new Path(Optional.empty(), "", -1, 0);

        Path member(String member) {
            return below(member, -1);
        }

        Path element(int at) {
            return below("", at);
        }

        private Path below(String member, int at) {
            if (depth == MAX_DEPTH) {
                throw QmpException.generic("Parameters are nested too deeply");
            }
            return new Path(Optional.of(this), member, at, depth + 1);
        }

        /** The member's own name, which an element of a list does not have. */
        String plain() {
            return name.isEmpty() ? "null" : name;
        }

        String full(boolean keyval) {
            StringBuilder text = new StringBuilder();
            append(text, keyval);
            return text.toString();
        }

        private void append(StringBuilder text, boolean keyval) {
            parent.ifPresent(above -> above.append(text, keyval));
            if (index >= 0) {
                text.append(keyval ? "." : "[").append(index).append(keyval ? "" : "]");
            } else {
                text.append(text.isEmpty() ? "" : ".").append(name);
            }
        }
    }

    /**
     * The bound components of a record, which is made once leftovers have been looked for: what a
     * record has to say against its components comes last.
     */
    private record Parts(Struct struct, List<Object> components) {
        Record record() {
            return struct.create(
                    components.stream()
                            .map(each -> each instanceof Parts branch ? branch.record() : each)
                            .toArray());
        }
    }

    /** One call of {@link #bind}. */
    private final class Visit {
        private final boolean keyval;

        Visit(boolean keyval) {
            this.keyval = keyval;
        }

        Object value(QapiType type, Object value, Path path) {
            return switch (type) {
                case Builtin.STR -> string(value, path);
                case Builtin.BOOL -> bool(value, path);
                case Builtin.NUMBER -> number(value, path);
                case Builtin.NULL -> {
                    if (value != Null.NULL) {
                        throw mistyped(path, "null");
                    }
                    yield value;
                }
                case Builtin.ANY -> value;
                case Int integer -> integer(integer, value, path);
                case Size size -> size(size, value, path);
                case Enumeration enumeration -> {
                    String word = string(value, path);
                    Object constant = enumeration.values().get(word);
                    if (constant == null) {
                        throw notAccepted(path, word);
                    }
                    yield constant;
                }
                case Array array -> array(array, value, path);
                case Struct struct -> struct(struct, value, path);
                case Union union -> {
                    Members members = new Members(value, path);
                    Parts parts = parts(selected(union, members), members);
                    members.end();
                    yield parts.record();
                }
                case WrappedUnion(Union union) -> {
                    Members members = new Members(value, path);
                    Struct selected = selected(union, members);
                    Record record =
                            struct(
                                    selected,
                                    members.take(WrappedUnion.DATA),
                                    path.member(WrappedUnion.DATA));
                    members.end();
                    yield record;
                }
                case Alternation alternation -> alternate(alternation, value, path);
            };
        }

        Record struct(Struct struct, Object value, Path path) {
            Members members = new Members(value, path);
            Parts parts = parts(struct, members);
            members.end();
            return parts.record();
        }

        private Parts parts(Struct struct, Members members) {
            List<Object> components = new ArrayList<>();
            Optional<Struct> branch = Optional.empty();
            for (Member member : struct.members()) {
                if (member.branch()) {
                    components.add(parts(branch.orElseThrow(), members));
                    continue;
                }
                Optional<Object> given = members.find(member.name());
                if (given.isEmpty() && member.optional()) {
                    components.add(Optional.empty());
                    continue;
                }
                Path path = members.path.member(member.name());
                Object value = value(member.type(), given.orElseThrow(() -> missing(path)), path);
                if (member.discriminator()) {
                    String word = value.toString();
                    branch =
                            Optional.of(
                                    QapiType.struct(
                                            branches.find(struct.type(), word)
                                                    .orElseThrow(() -> notAccepted(path, word))));
                }
                components.add(member.optional() ? Optional.of(value) : value);
            }
            return new Parts(struct, components);
        }

        private Struct selected(Union union, Members members) {
            Path path = members.path.member(Union.TAG);
            String word = string(members.take(Union.TAG), path);
            Class<? extends Record> selected = union.cases().get(word);
            if (selected == null) {
                throw notAccepted(path, word);
            }
            return QapiType.struct(selected);
        }

        private Object alternate(Alternation alternation, Object value, Path path) {
            for (Choice choice : alternation.choices()) {
                if (takes(choice.type(), value)) {
                    Object bound = value(choice.type(), value, path);
                    return choice.wrapper().isEmpty()
                            ? bound
                            : choice.wrapper().get().create(bound);
                }
            }
            // Generated code reports a wrong type by the member's own name, unlike the visitor.
            throw QmpException.generic(
                    "Invalid parameter type for '%s', expected: %s",
                    path.plain(), alternation.name());
        }

        /** Whether JSON's type of the value is that of the branch. */
        private static boolean takes(QapiType type, Object value) {
            return switch (type) {
                case Builtin.STR -> value instanceof String;
                case Enumeration _ -> value instanceof String;
                case Builtin.BOOL -> value instanceof Boolean;
                case Builtin.NULL -> value == Null.NULL;
                case Builtin.NUMBER -> value instanceof Number;
                case Builtin.ANY -> true;
                case Int _ -> value instanceof Number;
                case Size _ -> value instanceof Number;
                case Array _ -> value instanceof List;
                case Struct _ -> value instanceof Map;
                case Union _ -> value instanceof Map;
                case WrappedUnion _ -> value instanceof Map;
                case Alternation _ -> throw new IllegalArgumentException("alternate in alternate");
            };
        }

        private List<Object> array(Array array, Object value, Path path) {
            if (!(value instanceof List<?> list)) {
                throw mistyped(path, "array");
            }
            List<Object> elements = new ArrayList<>();
            for (Object element : list) {
                elements.add(
                        value(array.element(), orNull(element), path.element(elements.size())));
            }
            return List.copyOf(elements);
        }

        private String string(Object value, Path path) {
            if (keyval) {
                return leaf(value, path);
            } else if (value instanceof String text) {
                return text;
            }
            throw mistyped(path, "string");
        }

        /** A value of {@code key=value}: keyval.c knows strings only. */
        private String leaf(Object value, Path path) {
            if (value instanceof Map || value instanceof List) {
                throw QmpException.generic("Parameters '%s.*' are unexpected", path.full(true));
            }
            return value.toString();
        }

        private boolean bool(Object value, Path path) {
            if (keyval) {
                return Keyval.bool(leaf(value, path))
                        .orElseThrow(() -> expects(path.full(true), "'on' or 'off'"));
            } else if (value instanceof Boolean bool) {
                return bool;
            }
            throw mistyped(path, "boolean");
        }

        private double number(Object value, Path path) {
            if (keyval) {
                return Keyval.number(leaf(value, path)).orElseThrow(() -> mistyped(path, "number"));
            } else if (value instanceof Number number) {
                return number.doubleValue();
            }
            throw mistyped(path, "number");
        }

        private Object integer(Int type, Object value, Path path) {
            if (!keyval) {
                return inRange(type, value, path);
            }
            BigInteger number =
                    Keyval.integer(leaf(value, path))
                            .orElseThrow(() -> expects(path.full(true), "integer"));
            boolean representable =
                    type.unsigned() ? number.bitLength() <= 64 : number.bitLength() <= 63;
            if (!representable || type.max() == Long.MAX_VALUE && !fits(type, number)) {
                throw expects(path.full(true), "integer");
            }
            return inRange(type, number, path);
        }

        private Object size(Size type, Object value, Path path) {
            return keyval
                    ? Keyval.size(leaf(value, path))
                            .<Object>map(type.number()::box)
                            .orElseThrow(() -> expects(path.full(true), "size"))
                    : inRange(type.number(), value, path);
        }

        /** First the visitor's own check against 64 bits, then that of the type. */
        private Object inRange(Int type, Object value, Path path) {
            BigInteger number =
                    switch (value) {
                        case BigInteger big -> big;
                        case Long small -> BigInteger.valueOf(small);
                        case Integer small -> BigInteger.valueOf(small);
                        case Short small -> BigInteger.valueOf(small);
                        case Byte small -> BigInteger.valueOf(small);
                        default -> null;
                    };
            if (type.unsigned()) {
                if (number == null || number.bitLength() > 64) {
                    throw expects(path.full(keyval), "uint64");
                }
            } else if (number == null || number.bitLength() > 63) {
                throw mistyped(path, "integer");
            }
            if (!fits(type, number)) {
                throw expects(path.plain(), type.name());
            }
            return type.box(number.longValue());
        }

        private static boolean fits(Int type, BigInteger number) {
            return number.bitLength() <= 63
                    && number.longValue() >= type.min()
                    && number.longValue() <= type.max();
        }

        private QmpException missing(Path path) {
            return QmpException.generic("Parameter '%s' is missing", path.full(keyval));
        }

        private QmpException mistyped(Path path, String expected) {
            return QmpException.generic(
                    "Invalid parameter type for '%s', expected: %s", path.full(keyval), expected);
        }

        private static QmpException expects(String name, String expected) {
            return QmpException.generic("Parameter '%s' expects %s", name, expected);
        }

        private static QmpException notAccepted(Path path, String word) {
            return QmpException.generic(
                    "Parameter '%s' does not accept value '%s'", path.plain(), word);
        }

        /** The members of an object and which of them nobody asked for yet. */
        private final class Members {
            private final Path path;
            private final Map<?, ?> given;
            private final Set<Object> left;

            Members(Object value, Path path) {
                if (!(value instanceof Map<?, ?> map)) {
                    throw mistyped(path, "object");
                }
                this.path = path;
                given = map;
                left = new LinkedHashSet<>(map.keySet());
            }

            Optional<Object> find(String name) {
                if (!given.containsKey(name)) {
                    return Optional.empty();
                }
                left.remove(name);
                return Optional.of(orNull(given.get(name)));
            }

            Object take(String name) {
                return find(name).orElseThrow(() -> missing(path.member(name)));
            }

            void end() {
                for (Object name : left) {
                    throw QmpException.generic(
                            "Parameter '%s' is unexpected",
                            path.member(name.toString()).full(keyval));
                }
            }
        }
    }

    private static Object orNull(Object value) {
        return value == null ? Null.NULL : value;
    }
}

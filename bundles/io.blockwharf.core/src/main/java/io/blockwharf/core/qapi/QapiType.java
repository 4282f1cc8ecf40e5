package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.Alternate;
import io.blockwharf.api.qmp.Branch;
import io.blockwharf.api.qmp.Discriminator;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.SizeValue;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.api.qmp.WireName;
import io.blockwharf.api.qmp.Wrapped;

import java.lang.reflect.AnnotatedElement;
import java.lang.reflect.Constructor;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.ParameterizedType;
import java.lang.reflect.RecordComponent;
import java.lang.reflect.Type;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * A QAPI type as a Java type states it. Derived once per class; holds on to nothing but the class,
 * so that a bundle's types go with the bundle.
 */
sealed interface QapiType {
    /** A record's types are derived when they are first asked for: types may contain themselves. */
    ClassValue<Struct> STRUCTS =
            new ClassValue<>() {
                @Override
                protected Struct computeValue(Class<?> type) {
                    return new Struct(type.asSubclass(Record.class));
                }
            };

    /** Types without parameters, by QAPI's names. */
    enum Builtin implements QapiType {
        /** A string. */
        STR("str", "string"),
        /** On or off. */
        BOOL("bool", "boolean"),
        /** A floating point number. */
        NUMBER("number", "number"),
        /** JSON's null. */
        NULL("null", "null"),
        /** Whatever JSON has. */
        ANY("any", "value");

        final String qapiName;
        final String jsonType;

        Builtin(String qapiName, String jsonType) {
            this.qapiName = qapiName;
            this.jsonType = jsonType;
        }
    }

    /**
     * An integer.
     *
     * @param java how Java holds it
     * @param name how QEMU calls it when a value is out of range
     */
    record Int(Class<?> java, String name, boolean unsigned, long min, long max)
            implements QapiType {
        Object box(long value) {
            if (java == Long.class) {
                return value;
            } else if (java == Integer.class) {
                return (int) value;
            } else if (java == Short.class) {
                return (short) value;
            }
            return (byte) value;
        }
    }

    /** A number of bytes; 63 bits of QEMU's 64. */
    record Size(Int number) implements QapiType {}

    /** One of several words. */
    record Enumeration(Class<?> type, SequencedMap<String, Object> values) implements QapiType {}

    /** A list. */
    record Array(QapiType element) implements QapiType {}

    /** A sealed interface of records, told apart by {@code type}. */
    record Union(Class<?> type, SequencedMap<String, Class<? extends Record>> cases)
            implements QapiType {
        static final String TAG = "type";

        String nameOf(Object record) {
            return cases.entrySet().stream()
                    .filter(one -> one.getValue() == record.getClass())
                    .findFirst()
                    .orElseThrow()
                    .getKey();
        }
    }

    /** A union in its old form: {@code type} and {@code data}. */
    record WrappedUnion(Union union) implements QapiType {
        static final String DATA = "data";
    }

    /** A sealed interface of records, told apart by the JSON type of the value. */
    record Alternation(Class<?> type) implements QapiType {
        /** As errors tell it. */
        String name() {
            String said = type.getAnnotation(Alternate.class).value();
            return said.isEmpty() ? type.getSimpleName() : said;
        }

        /** The branches in order. */
        List<Choice> choices() {
            return Arrays.stream(type.getPermittedSubclasses())
                    .map(choice -> Choice.of(choice.asSubclass(Record.class)))
                    .toList();
        }
    }

    /**
     * A branch of an alternate.
     *
     * @param wrapper a record of one component; empty if the branch's record itself is the value
     */
    record Choice(Optional<Struct> wrapper, QapiType type) {
        static Choice of(Class<? extends Record> choice) {
            Struct struct = QapiType.struct(choice);
            List<Member> members = struct.members();
            return members.size() == 1
                    ? new Choice(Optional.of(struct), members.getFirst().type())
                    : new Choice(Optional.empty(), struct);
        }
    }

    /**
     * A member of a struct.
     *
     * @param name on the wire
     * @param branch whether it stands for the members of the selected branch
     */
    record Member(
            String name,
            QapiType type,
            boolean optional,
            boolean discriminator,
            boolean branch,
            List<String> features,
            Method accessor) {}

    /** A record. */
    final class Struct implements QapiType {
        private final Class<? extends Record> type;
        private final Constructor<? extends Record> constructor;
        private volatile List<Member> members;

        private Struct(Class<? extends Record> type) {
            this.type = type;
            try {
                Class<?>[] parameters =
                        Arrays.stream(type.getRecordComponents())
                                .map(RecordComponent::getType)
                                .toArray(Class<?>[]::new);
                constructor = type.getDeclaredConstructor(parameters);
                constructor.setAccessible(true);
            } catch (NoSuchMethodException e) {
                throw new IllegalStateException(e);
            }
        }

        Class<? extends Record> type() {
            return type;
        }

        List<Member> members() {
            List<Member> known = members;
            if (known == null) {
                known = Arrays.stream(type.getRecordComponents()).map(Struct::member).toList();
                members = known;
            }
            return known;
        }

        /** The member that selects the branch, if this is an open union. */
        Optional<Member> discriminator() {
            return members().stream().filter(Member::discriminator).findFirst();
        }

        /** The features of the type. */
        List<String> features() {
            return QapiType.features(type);
        }

        Object get(Member member, Object owner) {
            try {
                return member.accessor().invoke(owner);
            } catch (IllegalAccessException | InvocationTargetException e) {
                throw new IllegalStateException(e);
            }
        }

        Record create(Object... components) {
            try {
                return constructor.newInstance(components);
            } catch (InvocationTargetException e) {
                switch (e.getCause()) {
                    case QmpException failure -> throw failure;
                    case IllegalArgumentException failure ->
                            throw new QmpException(
                                    Optional.ofNullable(failure.getMessage())
                                            .orElse("Invalid parameters"),
                                    failure);
                    case null, default -> throw new IllegalStateException(e);
                }
            } catch (InstantiationException | IllegalAccessException e) {
                throw new IllegalStateException(e);
            }
        }

        private static Member member(RecordComponent component) {
            Method accessor = component.getAccessor();
            accessor.setAccessible(true);
            Type type = component.getGenericType();
            boolean optional = component.getType() == Optional.class;
            if (optional) {
                type = ((ParameterizedType) type).getActualTypeArguments()[0];
            }
            boolean branch = component.isAnnotationPresent(Branch.class);
            WireName name = component.getAnnotation(WireName.class);
            return new Member(
                    name == null ? kebab(component.getName()) : name.value(),
                    branch ? Builtin.ANY : QapiType.of(type, component),
                    optional,
                    component.isAnnotationPresent(Discriminator.class),
                    branch,
                    QapiType.features(component),
                    accessor);
        }
    }

    /** The type of a record. */
    static Struct struct(Class<? extends Record> type) {
        return STRUCTS.get(type);
    }

    /** The features that an element is annotated with. */
    static List<String> features(AnnotatedElement element) {
        Feature feature = element.getAnnotation(Feature.class);
        return feature == null ? List.of() : List.of(feature.value());
    }

    /**
     * The QAPI type of a Java type.
     *
     * @param where the record component, whose annotations say more; or a class that says nothing
     */
    static QapiType of(Type type, AnnotatedElement where) {
        if (type instanceof ParameterizedType parameterized) {
            Class<?> raw = (Class<?>) parameterized.getRawType();
            if (raw == List.class) {
                return new Array(of(parameterized.getActualTypeArguments()[0], where));
            } else if (raw == Map.class) {
                return Builtin.ANY;
            }
        } else if (type instanceof Class<?> plain) {
            return of(plain, where);
        }
        throw new IllegalArgumentException("no QAPI type: " + type);
    }

    private static QapiType of(Class<?> type, AnnotatedElement where) {
        if (type == String.class) {
            return Builtin.STR;
        } else if (type == boolean.class || type == Boolean.class) {
            return Builtin.BOOL;
        } else if (type == double.class || type == Double.class) {
            return Builtin.NUMBER;
        } else if (type == long.class || type == Long.class) {
            return integer(Long.class, 64, where);
        } else if (type == int.class || type == Integer.class) {
            return integer(Integer.class, 32, where);
        } else if (type == short.class || type == Short.class) {
            return integer(Short.class, 16, where);
        } else if (type == byte.class || type == Byte.class) {
            return integer(Byte.class, 8, where);
        } else if (type == QmpDispatcher.Null.class) {
            return Builtin.NULL;
        } else if (type == Object.class) {
            return Builtin.ANY;
        } else if (type.isEnum()) {
            SequencedMap<String, Object> values = new LinkedHashMap<>();
            for (Object constant : type.getEnumConstants()) {
                values.put(wireName((Enum<?>) constant), constant);
            }
            return new Enumeration(type, Collections.unmodifiableSequencedMap(values));
        } else if (type.isRecord()) {
            return struct(type.asSubclass(Record.class));
        } else if (type.isSealed() && type.isAnnotationPresent(Alternate.class)) {
            return new Alternation(type);
        } else if (type.isSealed()) {
            SequencedMap<String, Class<? extends Record>> cases = new LinkedHashMap<>();
            for (Class<?> one : type.getPermittedSubclasses()) {
                cases.put(kebab(one.getSimpleName()), one.asSubclass(Record.class));
            }
            Union union = new Union(type, Collections.unmodifiableSequencedMap(cases));
            return where.isAnnotationPresent(Wrapped.class) ? new WrappedUnion(union) : union;
        }
        throw new IllegalArgumentException("no QAPI type: " + type);
    }

    private static QapiType integer(Class<?> java, int javaBits, AnnotatedElement where) {
        Unsigned unsigned = where.getAnnotation(Unsigned.class);
        boolean size = where.isAnnotationPresent(SizeValue.class);
        long javaMax = Long.MAX_VALUE >>> (64 - javaBits);
        if (unsigned == null && !size) {
            String name = javaBits == 64 ? "integer" : "int" + javaBits + "_t";
            return new Int(java, name, false, -javaMax - 1, javaMax);
        }
        int bits = size ? 64 : unsigned.value();
        long max = bits == 64 ? Long.MAX_VALUE : (1L << bits) - 1;
        if (javaMax < max) {
            throw new IllegalArgumentException(java + " does not hold " + bits + " bits");
        }
        Int number = new Int(java, bits == 64 ? "uint64" : "uint" + bits + "_t", true, 0, max);
        return size ? new Size(number) : number;
    }

    /** {@code nodeName} is {@code node-name}; a trailing underscore only keeps Java happy. */
    private static String kebab(String javaName) {
        StringBuilder name = new StringBuilder();
        int end = javaName.endsWith("_") ? javaName.length() - 1 : javaName.length();
        for (int i = 0; i < end; i++) {
            char c = javaName.charAt(i);
            if (Character.isUpperCase(c) && i > 0) {
                name.append('-');
            }
            name.append(Character.toLowerCase(c));
        }
        return name.toString();
    }

    /** {@code READ_ONLY} is {@code read-only}; {@code _144} is {@code 144}; or as it is said. */
    static String wireName(Enum<?> constant) {
        try {
            WireName said =
                    constant.getDeclaringClass()
                            .getDeclaredField(constant.name())
                            .getAnnotation(WireName.class);
            if (said != null) {
                return said.value();
            }
        } catch (NoSuchFieldException e) {
            throw new AssertionError("a constant is a field", e);
        }
        String name = constant.name().toLowerCase(Locale.ROOT);
        return (name.startsWith("_") ? name.substring(1) : name).replace('_', '-');
    }

    /**
     * The union or alternate that a record is a case of; the record's own type if it is of none.
     */
    static QapiType parentOf(Class<? extends Record> record) {
        for (Class<?> parent : record.getInterfaces()) {
            if (parent.isSealed()
                    && Arrays.stream(parent.getPermittedSubclasses()).allMatch(Class::isRecord)) {
                return of(parent, parent);
            }
        }
        return struct(record);
    }
}

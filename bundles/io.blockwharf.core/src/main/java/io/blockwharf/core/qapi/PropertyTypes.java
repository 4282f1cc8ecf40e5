package io.blockwharf.core.qapi;

import io.blockwharf.core.qapi.QapiType.Builtin;

import java.util.LinkedHashMap;
import java.util.SequencedMap;

/** How QEMU's object model calls the types of properties. */
public final class PropertyTypes {
    private PropertyTypes() {}

    /** The types of a struct's members, by their names, in order. */
    public static SequencedMap<String, String> of(Class<? extends Record> struct) {
        SequencedMap<String, String> types = new LinkedHashMap<>();
        QapiType.struct(struct)
                .members()
                .forEach(member -> types.put(member.name(), name(member.type())));
        return types;
    }

    private static String name(QapiType type) {
        return switch (type) {
            case Builtin.STR -> "string";
            case Builtin builtin -> builtin.qapiName;
            case QapiType.Int _, QapiType.Size _ -> "int";
            case QapiType.Enumeration(var java, var _) -> java.getSimpleName();
            case QapiType.Array(QapiType element) -> name(element);
            case QapiType.Union(var java, var _) -> java.getSimpleName();
            case QapiType.WrappedUnion(QapiType.Union union) -> name(union);
            case QapiType.Alternation alternation -> alternation.name();
            case QapiType.Struct struct -> struct.type().getSimpleName();
        };
    }
}

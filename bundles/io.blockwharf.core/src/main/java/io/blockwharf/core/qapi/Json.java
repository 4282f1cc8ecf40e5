package io.blockwharf.core.qapi;

import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.core.qapi.QapiType.Alternation;
import io.blockwharf.core.qapi.QapiType.Array;
import io.blockwharf.core.qapi.QapiType.Choice;
import io.blockwharf.core.qapi.QapiType.Member;
import io.blockwharf.core.qapi.QapiType.Struct;
import io.blockwharf.core.qapi.QapiType.Union;
import io.blockwharf.core.qapi.QapiType.WrappedUnion;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Turns QAPI records, and lists, maps, enums and plain values, into JSON values as {@link
 * io.blockwharf.api.qmp.QmpDispatcher} describes them. Absent optional members are left out.
 */
public final class Json {
    private Json() {}

    /**
     * The JSON value of a Java value.
     *
     * @throws IllegalArgumentException if a value in it has none
     */
    public static Object of(Object value) {
        return switch (value) {
            case null -> Null.NULL;
            case Null same -> same;
            case String same -> same;
            case Boolean same -> same;
            case Long same -> same;
            case Integer number -> number.longValue();
            case Short number -> number.longValue();
            case Byte number -> number.longValue();
            case java.math.BigInteger same -> same;
            case Double same -> same;
            case Float number -> number.doubleValue();
            case Enum<?> constant -> QapiType.wireName(constant);
            case Optional<?> optional -> optional.map(Json::of).orElse(Null.NULL);
            case List<?> list -> {
                List<Object> values = new ArrayList<>(list.size());
                list.forEach(element -> values.add(of(element)));
                yield values;
            }
            case Map<?, ?> map -> {
                Map<String, Object> object = new LinkedHashMap<>();
                map.forEach((name, member) -> object.put(name.toString(), of(member)));
                yield object;
            }
            case Record record -> ofRecord(record);
            default -> throw new IllegalArgumentException("no JSON value: " + value.getClass());
        };
    }

    /** The JSON object of a struct. */
    public static Map<String, Object> object(Record record) {
        Struct struct = QapiType.struct(record.getClass());
        Map<String, Object> object = new LinkedHashMap<>();
        for (Member member : struct.members()) {
            Object value = struct.get(member, record);
            if (member.branch()) {
                object.putAll(object((Record) value));
            } else if (!(value instanceof Optional<?> optional)) {
                object.put(member.name(), of(member.type(), value));
            } else if (optional.isPresent()) {
                object.put(member.name(), of(member.type(), optional.get()));
            }
        }
        return object;
    }

    private static Object of(QapiType type, Object value) {
        return switch (type) {
            case WrappedUnion(Union union) -> {
                Map<String, Object> object = new LinkedHashMap<>();
                object.put(Union.TAG, union.nameOf(value));
                object.put(WrappedUnion.DATA, object((Record) value));
                yield object;
            }
            case Array(QapiType element) -> {
                List<Object> values = new ArrayList<>();
                ((List<?>) value).forEach(each -> values.add(of(element, each)));
                yield values;
            }
            default -> of(value);
        };
    }

    private static Object ofRecord(Record record) {
        return switch (QapiType.parentOf(record.getClass())) {
            case Alternation _ -> {
                Choice choice = Choice.of(record.getClass());
                yield choice.wrapper().isEmpty()
                        ? object(record)
                        : object(record).values().iterator().next();
            }
            case Union union -> {
                Map<String, Object> object = new LinkedHashMap<>();
                object.put(Union.TAG, union.nameOf(record));
                object.putAll(object(record));
                yield object;
            }
            default -> object(record);
        };
    }
}

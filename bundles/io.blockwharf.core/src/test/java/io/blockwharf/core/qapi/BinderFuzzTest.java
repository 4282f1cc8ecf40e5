package io.blockwharf.core.qapi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import com.code_intelligence.jazzer.junit.FuzzTest;
import com.fasterxml.jackson.core.JsonProcessingException;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.qmp.QmpException;

import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Whatever value is given for a type: a record whose JSON makes the same record, or an error with a
 * sentence. The first byte of an input chooses the type, and whether the rest, a JSON object, is
 * what {@code key=value} would make of it.
 */
class BinderFuzzTest {
    private static final List<Class<? extends Record>> TYPES =
            List.of(
                    BlockExportOptions.class,
                    BlockdevOptions.class,
                    Samples.ServerStart.class,
                    Samples.Everything.class);

    private final Binder binder = new Binder(Samples.BRANCHES);

    @FuzzTest(maxExecutions = 50_000, maxDuration = "60s")
    void anyValueIsARecordOrAnError(byte[] input) {
        if (input.length == 0) {
            return;
        }
        Class<? extends Record> type = TYPES.get(input[0] & 3);
        boolean keyval = (input[0] & 4) != 0;
        Map<String, Object> value;
        try {
            value = Samples.parse(new String(input, 1, input.length - 1, StandardCharsets.UTF_8));
        } catch (JsonProcessingException | ClassCastException e) {
            return;
        }
        Record bound;
        try {
            bound = binder.bind(type, keyval ? strings(value) : value, keyval);
        } catch (QmpException e) {
            assertFalse(e.getMessage().isEmpty());
            return;
        }
        Map<String, Object> json = Json.object(bound);
        assertEquals(json, Json.object(binder.bind(type, json, false)));
    }

    /** Leaves as text, lists as maps by index: what a parser of {@code key=value} hands over. */
    private static Map<String, Object> strings(Map<?, ?> object) {
        Map<String, Object> members = new LinkedHashMap<>();
        object.forEach((name, member) -> members.put(name.toString(), text(member)));
        return members;
    }

    private static Object text(Object value) {
        return switch (value) {
            case Map<?, ?> map -> strings(map);
            case List<?> list -> {
                Map<String, Object> elements = new LinkedHashMap<>();
                list.forEach(
                        element -> elements.put(String.valueOf(elements.size()), text(element)));
                yield elements;
            }
            default -> value.toString();
        };
    }
}

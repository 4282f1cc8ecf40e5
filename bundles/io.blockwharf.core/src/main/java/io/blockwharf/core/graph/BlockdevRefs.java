package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevRef;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** Finds the children in a driver's options: the components that are {@link BlockdevRef}s. */
final class BlockdevRefs {
    private BlockdevRefs() {}

    /** By name as on the wire, in order; optional ones only if they are there. */
    static Map<String, BlockdevRef> of(Record options) {
        Map<String, BlockdevRef> found = new LinkedHashMap<>();
        for (RecordComponent component : options.getClass().getRecordComponents()) {
            Object value = value(options, component);
            if (value instanceof Optional<?> optional) {
                value = optional.orElse(null);
            }
            if (value instanceof BlockdevRef ref) {
                found.put(wireName(component.getName()), ref);
            }
        }
        return found;
    }

    private static Object value(Record options, RecordComponent component) {
        try {
            // The record need not be public, its package is not exported
            component.getAccessor().setAccessible(true);
            return component.getAccessor().invoke(options);
        } catch (IllegalAccessException | InvocationTargetException e) {
            throw new IllegalStateException("cannot read " + component, e);
        }
    }

    private static String wireName(String component) {
        return component.replaceAll("([A-Z])", "-$1").toLowerCase(Locale.ROOT);
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.BlockdevRefOrNull;
import io.blockwharf.core.qapi.Json;

import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Finds the children in a driver's options: the components that are {@link BlockdevRef}s or {@link
 * BlockdevRefOrNull}s.
 */
final class BlockdevRefs {
    private BlockdevRefs() {}

    /**
     * By name as on the wire, in order. Optional ones only if they are there; empty where the
     * options say that there is to be none.
     */
    static Map<String, Optional<BlockdevRef>> of(Record options) {
        Map<String, Optional<BlockdevRef>> found = new LinkedHashMap<>();
        for (RecordComponent component : options.getClass().getRecordComponents()) {
            Object value = value(options, component);
            if (value instanceof Optional<?> optional) {
                value = optional.orElse(null);
            }
            String name = wireName(component.getName());
            switch (value) {
                case BlockdevRef ref -> found.put(name, Optional.of(ref));
                case BlockdevRefOrNull ref -> found.put(name, orNone(ref));
                case null, default -> {}
            }
        }
        return found;
    }

    /** The options that are not children, as JSON values by their names on the wire. */
    static Map<String, Object> others(Record options) {
        Map<String, Object> others = Json.object(options);
        others.keySet().removeAll(of(options).keySet());
        return others;
    }

    /** Whether options know a member of that name. */
    static boolean knows(Class<? extends Record> options, String name) {
        return Arrays.stream(options.getRecordComponents())
                .anyMatch(component -> wireName(component.getName()).equals(name));
    }

    /** Whether a driver's options know of such a child. */
    static boolean has(Class<? extends Record> options, String child) {
        return Arrays.stream(options.getRecordComponents())
                .anyMatch(
                        component ->
                                wireName(component.getName()).equals(child)
                                        && component
                                                .getGenericType()
                                                .getTypeName()
                                                .contains(BlockdevRef.class.getName()));
    }

    private static Optional<BlockdevRef> orNone(BlockdevRefOrNull ref) {
        return switch (ref) {
            case BlockdevRefOrNull.Definition(BlockdevOptions options) ->
                    Optional.of(new BlockdevRef.Definition(options));
            case BlockdevRefOrNull.Reference(String nodeName) ->
                    Optional.of(nodeName)
                            .filter(name -> !name.isEmpty())
                            .map(BlockdevRef.Reference::new);
            case BlockdevRefOrNull.None _ -> Optional.empty();
        };
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

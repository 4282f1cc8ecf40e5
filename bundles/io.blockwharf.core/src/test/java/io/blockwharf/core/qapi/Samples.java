package io.blockwharf.core.qapi;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.qmp.Alternate;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.SizeValue;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.api.qmp.WireName;
import io.blockwharf.api.qmp.Wrapped;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;

/**
 * QAPI types in every form, most of them QEMU's, and the branches that the tests have installed.
 */
final class Samples {
    private Samples() {}

    sealed interface Address {
        record Inet(String host, String port, Optional<Boolean> numeric) implements Address {}

        record Unix(String path, Optional<Boolean> abstract_) implements Address {}
    }

    @Alternate("BlockDirtyBitmapOrStr")
    sealed interface BitmapReference {
        record Local(String name) implements BitmapReference {}

        record External(BlockDirtyBitmap bitmap) implements BitmapReference {}
    }

    record BlockDirtyBitmap(String node, String name) {}

    @Alternate
    sealed interface StrOrNull {
        record Str(String text) implements StrOrNull {}

        record None(Null value) implements StrOrNull {}
    }

    /** An alternate whose object has no record around it. */
    @Alternate
    sealed interface NumberOrSwitchOrPoint {
        record Number(long value) implements NumberOrSwitchOrPoint {}

        record Switch(boolean value) implements NumberOrSwitchOrPoint {}

        record Point(long x, long y) implements NumberOrSwitchOrPoint {}
    }

    enum Mode {
        SAFE,
        HARD,
        VERY_HARD,
        @WireName("io_uring")
        IO_URING,
        _144
    }

    record Nbd(
            Optional<String> name,
            Optional<String> description,
            Optional<List<BitmapReference>> bitmaps,
            Optional<Boolean> allocationDepth) {}

    record VhostUserBlk(
            Address addr,
            @SizeValue Optional<Long> logicalBlockSize,
            @Unsigned(16) Optional<Integer> numQueues) {}

    record Raw(Optional<Long> offset, Optional<Long> size, BlockdevRef file) {}

    record NullCo(
            Optional<Long> size,
            @Unsigned(64) Optional<Long> latencyNs,
            Optional<Boolean> readZeroes) {}

    record ServerStart(
            @Wrapped Address addr,
            Optional<String> tlsCreds,
            @Unsigned(32) Optional<Long> maxConnections) {}

    record Rule(String match, Mode policy) {}

    record Everything(
            @WireName("snake_case") Optional<String> snakeCase,
            Optional<Mode> mode,
            Optional<Double> ratio,
            Optional<Object> any,
            Optional<StrOrNull> text,
            Optional<NumberOrSwitchOrPoint> alternate,
            Optional<List<Rule>> rules,
            @Unsigned(8) Optional<List<Short>> octets,
            Optional<List<List<String>>> grid,
            Optional<Integer> small,
            Optional<Nothing> nothing,
            @Wrapped Optional<List<Address>> addresses,
            @Feature("deprecated") Optional<Everything> nested) {}

    record Span(long from, long to) {
        Span {
            if (to < from) {
                throw new IllegalArgumentException("The span ends before it begins");
            }
        }
    }

    record Spans(Span span, Optional<Long> step) {}

    static final Branches BRANCHES =
            union -> {
                SequencedMap<String, Class<? extends Record>> all = new LinkedHashMap<>();
                if (union == BlockExportOptions.class) {
                    all.put("nbd", Nbd.class);
                    all.put("vhost-user-blk", VhostUserBlk.class);
                } else if (union == BlockdevOptions.class) {
                    all.put("null-co", NullCo.class);
                    all.put("raw", Raw.class);
                }
                return all;
            };

    static final ObjectMapper JSON = new JsonMapper();

    @SuppressWarnings("unchecked")
    static Map<String, Object> parse(String json) throws JsonProcessingException {
        return (Map<String, Object>) fromJackson(JSON.readValue(json, Map.class));
    }

    /** What goes over the wire for a value. */
    static JsonNode tree(Object value) throws JsonProcessingException {
        // Through text: JSON does not tell an int from a long.
        return JSON.readTree(JSON.writeValueAsString(toJackson(Json.of(value))));
    }

    private static JsonNode toJackson(Object value) {
        return switch (value) {
            case Null.NULL -> JSON.getNodeFactory().nullNode();
            case Map<?, ?> map -> {
                ObjectNode object = JSON.createObjectNode();
                map.forEach((name, member) -> object.set(name.toString(), toJackson(member)));
                yield object;
            }
            case List<?> list -> {
                ArrayNode array = JSON.createArrayNode();
                list.forEach(element -> array.add(toJackson(element)));
                yield array;
            }
            default -> JSON.valueToTree(value);
        };
    }

    /** Jackson has null where we have {@link Null}. */
    private static Object fromJackson(Object value) {
        return switch (value) {
            case null -> Null.NULL;
            case Map<?, ?> map -> {
                Map<Object, Object> members = new LinkedHashMap<>();
                map.forEach((name, member) -> members.put(name, fromJackson(member)));
                yield members;
            }
            case List<?> list -> list.stream().map(Samples::fromJackson).toList();
            default -> value;
        };
    }

    static Class<? extends Record> type(String name) {
        return switch (name) {
            case "BlockExportOptions" -> BlockExportOptions.class;
            case "BlockdevOptions" -> BlockdevOptions.class;
            case "ServerStart" -> ServerStart.class;
            case "Everything" -> Everything.class;
            case "Spans" -> Spans.class;
            case "Nothing" -> Nothing.class;
            default -> throw new IllegalArgumentException(name);
        };
    }
}

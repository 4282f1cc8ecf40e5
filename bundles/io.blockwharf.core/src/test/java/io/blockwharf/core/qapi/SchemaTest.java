package io.blockwharf.core.qapi;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpEventName;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/** QEMU, {@code qapi/introspect.json} and {@code scripts/qapi/introspect.py}. */
class SchemaTest {
    @QmpEventName("BLOCK_EXPORT_DELETED")
    private record Deleted(String id) {}

    private static final class BlockdevAdd implements QmpCommand<BlockdevOptions, Nothing> {
        @Override
        public Nothing execute(BlockdevOptions options) {
            return Nothing.NOTHING;
        }
    }

    private static final class BlockExportAdd implements QmpCommand<BlockExportOptions, Nothing> {
        @Override
        public Nothing execute(BlockExportOptions options) {
            return Nothing.NOTHING;
        }
    }

    private static final class QueryExports implements QmpCommand<Nothing, List<BlockExportInfo>> {
        @Override
        public List<BlockExportInfo> execute(Nothing none) {
            return List.of();
        }
    }

    @Feature("deprecated")
    private static final class ServerStart implements QmpCommand<Samples.ServerStart, Nothing> {
        @Override
        public Nothing execute(Samples.ServerStart options) {
            return Nothing.NOTHING;
        }
    }

    private static final class Everything implements QmpCommand<Samples.Everything, Object> {
        @Override
        public Object execute(Samples.Everything options) {
            return options;
        }
    }

    private static Schema.Command command(String name, Class<?> type) {
        return new Schema.Command(
                name,
                TypeArguments.record(type, QmpCommand.class),
                TypeArguments.of(type, QmpCommand.class).get(1),
                Schema.features(type));
    }

    /** The entries in order. */
    private final JsonNode schema;

    /** The entries by name. */
    private final Map<String, JsonNode> byName = new TreeMap<>();

    SchemaTest() throws JsonProcessingException {
        schema =
                Samples.tree(
                        Schema.of(
                                List.of(
                                        command("block-export-add", BlockExportAdd.class),
                                        command("blockdev-add", BlockdevAdd.class),
                                        command("everything", Everything.class),
                                        command("nbd-server-start", ServerStart.class),
                                        command("query-block-exports", QueryExports.class)),
                                List.of(Deleted.class),
                                Samples.BRANCHES));
        schema.forEach(entry -> byName.put(entry.get("name").asText(), entry));
    }

    /** References of an entry to others. */
    private static List<String> references(JsonNode entry) {
        List<String> names = new ArrayList<>();
        for (String one : List.of("arg-type", "ret-type", "element-type")) {
            if (entry.has(one)) {
                names.add(entry.get(one).asText());
            }
        }
        for (String several : List.of("members", "variants")) {
            entry.path(several)
                    .forEach(
                            member -> {
                                if (!entry.get("meta-type").asText().equals("enum")) {
                                    names.add(member.get("type").asText());
                                }
                            });
        }
        return names;
    }

    @Test
    void everyTypeThatIsReferredToIsDescribedOnce() {
        assertEquals(schema.size(), byName.size());
        for (JsonNode entry : schema) {
            for (String name : references(entry)) {
                assertTrue(byName.containsKey(name), () -> name + " of " + entry);
            }
        }
    }

    @Test
    void everyTypeIsReferredTo() {
        TreeSet<String> used = new TreeSet<>();
        schema.forEach(entry -> used.addAll(references(entry)));
        TreeSet<String> types = new TreeSet<>();
        for (JsonNode entry : schema) {
            if (!List.of("command", "event").contains(entry.get("meta-type").asText())) {
                types.add(entry.get("name").asText());
            }
        }

        assertEquals(types, used);
    }

    @Test
    void theTagOfAUnionIsAMemberWhoseValuesAreTheCases() {
        for (JsonNode entry : schema) {
            if (!entry.has("tag")) {
                continue;
            }
            List<String> cases = new ArrayList<>();
            entry.get("variants").forEach(variant -> cases.add(variant.get("case").asText()));
            List<String> values = new ArrayList<>();
            for (JsonNode member : entry.get("members")) {
                if (member.get("name").equals(entry.get("tag"))) {
                    byName.get(member.get("type").asText())
                            .get("values")
                            .forEach(value -> values.add(value.asText()));
                }
            }
            assertEquals(cases, values, entry::toString);
        }
    }

    /**
     * Each path starts at a command or event and follows members by their names; {@code #case} is a
     * variant, {@code []} an element, {@code |n} a branch of an alternate. Every entry but those of
     * {@code everything} is qemu-storage-daemon's, in the members that the samples have.
     */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = ';',
            quoteCharacter = '`',
            textBlock =
                    """
                    blockdev-add; {"name":"*","meta-type":"command","arg-type":"*","ret-type":"*"}
                    nbd-server-start; {"name":"*","meta-type":"command","arg-type":"*","ret-type":"*","features":["deprecated"]}
                    BLOCK_EXPORT_DELETED; {"name":"*","meta-type":"event","arg-type":"*"}
                    BLOCK_EXPORT_DELETED/arg-type; {"name":"*","meta-type":"object","members":[{"name":"id","type":"str"}]}
                    blockdev-add/ret-type; {"name":"*","meta-type":"object","members":[]}
                    query-block-exports/ret-type; {"name":"*","meta-type":"array","element-type":"*"}
                    query-block-exports/ret-type/[]; {"name":"*","meta-type":"object","members":[{"name":"id","type":"str"},{"name":"type","type":"str"},{"name":"node-name","type":"str"},{"name":"shutting-down","type":"bool"}]}
                    block-export-add/arg-type; {"name":"*","meta-type":"object","tag":"type","variants":[{"case":"nbd","type":"*"},{"case":"vhost-user-blk","type":"*"}],"members":[{"name":"type","type":"*"},{"name":"id","type":"str"},{"name":"fixed-iothread","type":"bool","default":null},{"name":"iothread","type":"*","default":null},{"name":"node-name","type":"str"},{"name":"writable","type":"bool","default":null},{"name":"writethrough","type":"bool","default":null},{"name":"allow-inactive","type":"bool","default":null}]}
                    block-export-add/arg-type/type; {"name":"*","meta-type":"enum","members":[{"name":"nbd"},{"name":"vhost-user-blk"}],"values":["nbd","vhost-user-blk"]}
                    block-export-add/arg-type/iothread; {"name":"*","meta-type":"alternate","members":[{"type":"str"},{"type":"[str]"}]}
                    block-export-add/arg-type/#nbd; {"name":"*","meta-type":"object","members":[{"name":"name","type":"str","default":null},{"name":"description","type":"str","default":null},{"name":"bitmaps","type":"*","default":null},{"name":"allocation-depth","type":"bool","default":null}]}
                    block-export-add/arg-type/#nbd/bitmaps/[]; {"name":"*","meta-type":"alternate","members":[{"type":"str"},{"type":"*"}]}
                    block-export-add/arg-type/#nbd/bitmaps/[]/|1; {"name":"*","meta-type":"object","members":[{"name":"node","type":"str"},{"name":"name","type":"str"}]}
                    block-export-add/arg-type/#vhost-user-blk; {"name":"*","meta-type":"object","members":[{"name":"addr","type":"*"},{"name":"logical-block-size","type":"int","default":null},{"name":"num-queues","type":"int","default":null}]}
                    block-export-add/arg-type/#vhost-user-blk/addr; {"name":"*","meta-type":"object","tag":"type","variants":[{"case":"inet","type":"*"},{"case":"unix","type":"*"}],"members":[{"name":"type","type":"*"}]}
                    block-export-add/arg-type/#vhost-user-blk/addr/#unix; {"name":"*","meta-type":"object","members":[{"name":"path","type":"str"},{"name":"abstract","type":"bool","default":null}]}
                    nbd-server-start/arg-type/addr/#unix; {"name":"*","meta-type":"object","members":[{"name":"data","type":"*"}]}
                    nbd-server-start/arg-type/addr/#unix/data; {"name":"*","meta-type":"object","members":[{"name":"path","type":"str"},{"name":"abstract","type":"bool","default":null}]}
                    blockdev-add/arg-type/#raw/file; {"name":"*","meta-type":"alternate","members":[{"type":"str"},{"type":"*"}]}
                    blockdev-add/arg-type/#raw/file/|1/#null-co; {"name":"*","meta-type":"object","members":[{"name":"size","type":"int","default":null},{"name":"latency-ns","type":"int","default":null},{"name":"read-zeroes","type":"bool","default":null}]}
                    blockdev-add/arg-type/#raw/size; {"name":"int","meta-type":"builtin","json-type":"int"}
                    blockdev-add/arg-type/node-name; {"name":"str","meta-type":"builtin","json-type":"string"}
                    blockdev-add/arg-type/read-only; {"name":"bool","meta-type":"builtin","json-type":"boolean"}
                    everything/arg-type/ratio; {"name":"number","meta-type":"builtin","json-type":"number"}
                    everything/arg-type/text/|1; {"name":"null","meta-type":"builtin","json-type":"null"}
                    everything/ret-type; {"name":"any","meta-type":"builtin","json-type":"value"}
                    everything/arg-type/octets; {"name":"[int]","meta-type":"array","element-type":"int"}
                    everything/arg-type/grid; {"name":"[[str]]","meta-type":"array","element-type":"[str]"}
                    """)
    void anEntryIsShapedLikeQemus(String path, String expected) throws JsonProcessingException {
        JsonNode entry = null;
        for (String step : path.split("/")) {
            entry = byName.get(entry == null ? step : follow(entry, step));
        }

        JsonNode pattern = Samples.JSON.readTree(expected);
        assertTrue(matches(pattern, entry), entry::toString);
    }

    @Test
    void aMemberShowsItsFeatures() {
        JsonNode nested = null;
        for (JsonNode member :
                byName.get(byName.get("everything").get("arg-type").asText()).get("members")) {
            nested = member;
        }

        assertEquals("[\"deprecated\"]", nested.get("features").toString());
    }

    private static String follow(JsonNode entry, String step) {
        if (entry.has(step)) {
            return entry.get(step).asText();
        } else if (step.equals("[]")) {
            return entry.get("element-type").asText();
        } else if (step.startsWith("|")) {
            return entry.get("members")
                    .get(Integer.parseInt(step.substring(1)))
                    .get("type")
                    .asText();
        }
        boolean variant = step.startsWith("#");
        for (JsonNode member : entry.get(variant ? "variants" : "members")) {
            if (member.get(variant ? "case" : "name")
                    .asText()
                    .equals(variant ? step.substring(1) : step)) {
                return member.get("type").asText();
            }
        }
        throw new AssertionError(step + " is not in " + entry);
    }

    /** Equal but for stars, which stand for names that mean nothing. */
    private static boolean matches(JsonNode pattern, JsonNode value) {
        if (pattern.isTextual() && pattern.asText().equals("*")) {
            return value.isTextual();
        } else if (pattern.size() != value.size() || pattern.getNodeType() != value.getNodeType()) {
            return false;
        } else if (pattern.isObject()) {
            return pattern.propertyStream()
                    .allMatch(
                            member ->
                                    value.has(member.getKey())
                                            && matches(
                                                    member.getValue(), value.get(member.getKey())));
        } else if (pattern.isArray()) {
            for (int i = 0; i < pattern.size(); i++) {
                if (!matches(pattern.get(i), value.get(i))) {
                    return false;
                }
            }
            return true;
        }
        return pattern.equals(value);
    }
}

package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * Our daemon and QEMU's, side by side: what a client is told about its mistakes, and what it is
 * told about the commands that both have.
 */
@Timeout(120)
class SameAnswersIT {
    /**
     * What QEMU 7.2, the oldest that we compare with, does not have: members of later versions, and
     * those of our own. A path goes from a command by member, {@code #case} and {@code []}.
     */
    private static final Set<String> NEWER =
            Set.of(
                    "block-export-add/iothread",
                    "block-export-add/#vhost-user-blk/serial",
                    "block-export-add/#vhost-user-blk/addr/#inet/keep-alive-count",
                    "block-export-add/#vhost-user-blk/addr/#inet/keep-alive-idle",
                    "block-export-add/#vhost-user-blk/addr/#inet/keep-alive-interval",
                    "chardev-add/backend/#socket/data/reconnect-ms",
                    "block-export-add/#nbd/server",
                    "object-add/qom-type=nbd-server",
                    "block-export-del/mode=hide",
                    "block-export-del/mode=soft",
                    "nbd-server-start/handshake-max-seconds",
                    "object-add/qom-type=authz-list-file",
                    // Ours alone
                    "block-export-add/#nbd/list-authz",
                    "block-export-add/#nbd/read-authz",
                    "block-export-add/#nbd/write-authz",
                    "block-export-add/#vhost-user-blk/addr/#unix/mode",
                    "block-export-add/#vhost-user-blk/addr/#unix/owner",
                    "block-export-add/#vhost-user-blk/addr/#unix/group",
                    "query-block-exports/[]/type",
                    "query-named-block-nodes/[]/active",
                    "query-named-block-nodes/[]/children");

    private static Peer ours;
    private static Peer theirs;

    /** A daemon with a monitor on its standard input and output. */
    private record Peer(Process process, Qmp qmp) {
        static Peer start(String program) throws IOException {
            Process process =
                    new ProcessBuilder(program, "--chardev", "stdio,id=m", "--monitor", "m")
                            .redirectError(ProcessBuilder.Redirect.INHERIT)
                            .start();
            return new Peer(process, new Qmp(process.inputReader(), process.outputWriter()));
        }

        int quit() throws IOException, InterruptedException {
            qmp.execute("quit", "{}");
            return process.waitFor();
        }

        /** The schema's entries by name. */
        Map<String, JsonNode> schema() throws IOException {
            Map<String, JsonNode> entries = new TreeMap<>();
            qmp.execute("query-qmp-schema", "{}")
                    .get("return")
                    .forEach(entry -> entries.put(entry.get("name").textValue(), entry));
            return entries;
        }
    }

    @BeforeAll
    static void start() throws IOException {
        ours = Peer.start(Distribution.HOME.resolve("bin/blockwharf").toString());
        theirs = Peer.start("qemu-storage-daemon");
    }

    @AfterAll
    static void bothEndWithStatus0() throws IOException, InterruptedException {
        assertEquals(List.of(0, 0), List.of(ours.quit(), theirs.quit()));
    }

    @ParameterizedTest(name = "{0} {1}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    nope                 | {}
                    query-version        | {"x":1}
                    block-export-add     | {}
                    block-export-add     | {"bogus":1}
                    block-export-add     | {"type":1}
                    block-export-add     | {"type":"foo"}
                    block-export-add     | {"type":"nbd","id":"x"}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n"}
                    block-export-add     | {"type":"nbd","id":"#x","node-name":"n"}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n","bogus":1}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n","writable":1}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n","bitmaps":1}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n","bitmaps":[1]}
                    block-export-add     | {"type":"nbd","id":"x","node-name":"n","bitmaps":[{"node":"a"}]}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n"}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{}}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"foo"}}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix"}}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":70000}
                    block-export-add     | {"type":"vhost-user-blk","id":"x","node-name":"n","addr":{"type":"unix","path":"p"},"num-queues":1.5}
                    block-export-del     | {"id":"x"}
                    block-export-del     | {"id":"x","mode":"loud"}
                    block-export-del     | {"id":["x"]}
                    nbd-server-start     | {"addr":{"type":"unix"}}
                    nbd-server-start     | {"addr":{"type":"unix","data":{}}}
                    nbd-server-start     | {"addr":{"type":"unix","data":{"path":"x","bogus":1}}}
                    nbd-server-start     | {"addr":{"type":"unix","data":{"path":"x"},"bogus":1}}
                    nbd-server-start     | {"addr":{"type":"inet","data":{"host":"h","port":"1","to":70000}}}
                    nbd-server-start     | {"addr":{"type":"unix","data":{"path":"x"}},"max-connections":-1}
                    nbd-server-start     | {"addr":{"type":"unix","data":{"path":"x"}},"max-connections":"1"}
                    nbd-server-stop      | {}
                    blockdev-add         | {"driver":"null-co"}
                    blockdev-add         | {"driver":"raw","node-name":"r"}
                    blockdev-add         | {"driver":"raw","node-name":"r","file":3}
                    blockdev-add         | {"driver":"raw","node-name":"r","file":"nope"}
                    blockdev-add         | {"driver":"raw","node-name":"r","file":{"driver":"null-co","size":"1M"}}
                    blockdev-add         | {"driver":"raw","node-name":"r","file":{"driver":"foo"}}
                    blockdev-add         | {"driver":"raw","node-name":"r","cache":{"direct":"on"}}
                    blockdev-add         | {"driver":"raw","node-name":"r","detect-zeroes":"x"}
                    blockdev-add         | {"driver":"raw","node-name":"r","discard":null}
                    blockdev-del         | {"node-name":"nope"}
                    object-add           | {"qom-type":"iothread"}
                    object-add           | {"qom-type":"bogus","id":"x"}
                    object-add           | {"qom-type":"iothread","id":"1x"}
                    object-add           | {"qom-type":"iothread","id":"x","poll-max-ns":-1}
                    object-add           | {"qom-type":"iothread","id":"x","poll-max-ns":9223372036854775808}
                    object-add           | {"qom-type":"iothread","id":"x","thread-pool-max":0}
                    object-add           | {"qom-type":"iothread","id":"x","aio-max-batch":true}
                    object-add           | {"qom-type":"secret","id":"x"}
                    object-add           | {"qom-type":"secret","id":"x","data":"a","file":"b"}
                    object-add           | {"qom-type":"secret","id":"x","data":"a","format":"b"}
                    object-add           | {"qom-type":"secret","id":"x","data":"!","format":"base64"}
                    object-add           | {"qom-type":"secret","id":"x","data":"a","keyid":"nope"}
                    object-add           | {"qom-type":"tls-creds-x509","id":"x"}
                    object-add           | {"qom-type":"tls-creds-x509","id":"x","dir":"/nope"}
                    object-add           | {"qom-type":"tls-creds-psk","id":"x"}
                    object-add           | {"qom-type":"tls-creds-psk","id":"x","dir":"/nope"}
                    object-add           | {"qom-type":"authz-simple","id":"x"}
                    object-add           | {"qom-type":"authz-list","id":"x","rules":[{"match":"a"}]}
                    object-del           | {"id":"nope"}
                    object-del           | {}
                    """)
    void aMistakeIsToldInTheSameWords(String command, String arguments) throws IOException {
        assertEquals(
                theirs.qmp().execute(command, arguments), ours.qmp().execute(command, arguments));
    }

    @Test
    void anIdIsTakenOnce() throws IOException {
        for (String arguments :
                List.of(
                        "{\"qom-type\":\"iothread\",\"id\":\"t\"}",
                        "{\"qom-type\":\"iothread\",\"id\":\"t\"}")) {
            assertEquals(
                    theirs.qmp().execute("object-add", arguments),
                    ours.qmp().execute("object-add", arguments));
        }
    }

    @Test
    void whatTheSchemaTellsIsInQemusToo() throws IOException {
        Comparison comparison = new Comparison(ours.schema(), theirs.schema());

        comparison.commandsAndEvents();

        comparison.differences.removeAll(NEWER);
        assertEquals(Set.of(), comparison.differences);
    }

    /** Looks for members, words and types of ours that QEMU does not have. */
    private static final class Comparison {
        private final Map<String, JsonNode> ours;
        private final Map<String, JsonNode> theirs;
        private final Set<String> seen = new HashSet<>();
        final Set<String> differences = new TreeSet<>();

        Comparison(Map<String, JsonNode> ours, Map<String, JsonNode> theirs) {
            this.ours = ours;
            this.theirs = theirs;
        }

        void commandsAndEvents() {
            for (String name : ours.keySet()) {
                JsonNode entry = ours.get(name);
                if (!theirs.containsKey(name) || !entry.has("arg-type")) {
                    continue;
                }
                JsonNode other = theirs.get(name);
                types(text(entry, "arg-type"), text(other, "arg-type"), name);
                if (entry.has("ret-type") && !name.equals("query-qmp-schema")) {
                    types(text(entry, "ret-type"), text(other, "ret-type"), name);
                }
                if (!entry.path("features").equals(other.path("features"))) {
                    differences.add(name + " features " + entry.path("features"));
                }
            }
        }

        private void types(String our, String their, String path) {
            if (!seen.add(our + " " + their)) {
                return;
            }
            JsonNode entry = ours.get(our);
            JsonNode other = theirs.get(their);
            if (!entry.get("meta-type").equals(other.get("meta-type"))) {
                differences.add(path);
                return;
            }
            switch (text(entry, "meta-type")) {
                case "builtin" -> {
                    if (!entry.equals(other)) {
                        differences.add(path + " is " + our);
                    }
                }
                case "array" ->
                        types(
                                text(entry, "element-type"),
                                text(other, "element-type"),
                                path + "/[]");
                case "enum" -> {
                    for (JsonNode word : entry.get("values")) {
                        if (!has(other.get("values"), word)) {
                            differences.add(path + "=" + word.textValue());
                        }
                    }
                }
                case "alternate" -> {
                    if (entry.get("members").size() != other.get("members").size()) {
                        differences.add(path);
                    }
                }
                default -> objects(entry, other, path);
            }
        }

        private void objects(JsonNode entry, JsonNode other, String path) {
            Map<String, JsonNode> members = by("name", other.get("members"));
            by("name", entry.get("members"))
                    .forEach(
                            (name, member) -> {
                                JsonNode counterpart = members.get(name);
                                String there = path + "/" + name;
                                if (counterpart == null) {
                                    differences.add(there);
                                } else if (member.has("default") != counterpart.has("default")) {
                                    differences.add(there + " optional: " + member.has("default"));
                                } else {
                                    types(text(member, "type"), text(counterpart, "type"), there);
                                }
                            });
            if (!entry.path("tag").equals(other.path("tag"))) {
                differences.add(path + " tag " + entry.path("tag"));
            }
            Map<String, JsonNode> variants = by("case", other.path("variants"));
            by("case", entry.path("variants"))
                    .forEach(
                            (word, variant) -> {
                                if (variants.containsKey(word)) {
                                    types(
                                            text(variant, "type"),
                                            text(variants.get(word), "type"),
                                            path + "/#" + word);
                                }
                            });
        }

        private static Map<String, JsonNode> by(String key, JsonNode list) {
            Map<String, JsonNode> map = new HashMap<>();
            list.forEach(one -> map.put(text(one, key), one));
            return map;
        }

        private static boolean has(JsonNode list, JsonNode wanted) {
            for (JsonNode one : list) {
                if (one.equals(wanted)) {
                    return true;
                }
            }
            return false;
        }

        private static String text(JsonNode node, String member) {
            return node.get(member).textValue();
        }
    }
}

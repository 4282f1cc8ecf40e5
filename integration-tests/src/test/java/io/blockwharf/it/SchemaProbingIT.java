package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Asks {@code query-qmp-schema} what libvirt asks it about a storage daemon, in its notation
 * ({@code virQEMUQAPISchemaPathGet}): the name of a command or event, then {@code arg-type} or
 * {@code ret-type}, then members; {@code *} before a member that must be optional, {@code +} before
 * the case of a union, {@code ^} before a word of an enum, {@code !} before a type, {@code $}
 * before a feature. Lists and alternates are looked through.
 */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class SchemaProbingIT {
    /** Newer than qemu-storage-daemon 7.2, or only in QEMU's main program. */
    private static final String NEWER =
            """
            blockdev-add/arg-type/+qcow2/discard-no-unref
            object-add/arg-type/qom-type/^authz-list-file
            chardev-add/arg-type/backend/+socket/data/reconnect-ms
            getfd/arg-type/fdname
            blockdev-set-active/arg-type/*node-name
            blockdev-add/arg-type/*active
            block-export-add/arg-type/*allow-inactive
            query-named-block-nodes/ret-type/active
            add-fd/arg-type/fdset-id
            query-fdsets/ret-type/fds/opaque
            trace-event-get-state/arg-type/name
            """;

    private static final String BOTH =
            """
            block-export-add
            block-export-add/arg-type/+nbd/bitmaps
            block-export-add/arg-type/+nbd/bitmaps/!str
            block-export-add/arg-type/+nbd/bitmaps/node
            block-export-add/arg-type/+nbd/allocation-depth
            block-export-add/arg-type/+vhost-user-blk/num-queues
            block-export-add/arg-type/+vhost-user-blk/addr/type/^fd
            block-export-add/arg-type/type/^vhost-user-blk
            block-export-add/arg-type/*iothread
            block-export-add/arg-type/*writethrough
            block-export-del/arg-type/mode/^hard
            blockdev-add
            blockdev-add/arg-type/driver/^qcow2
            blockdev-add/arg-type/+file/aio/^io_uring
            blockdev-add/arg-type/+file/aio/^native
            blockdev-add/arg-type/+file/aio-max-batch
            blockdev-add/arg-type/+file/drop-cache
            blockdev-add/arg-type/+host_device/aio
            blockdev-add/arg-type/+qcow2/backing
            blockdev-add/arg-type/+qcow2/backing/!null
            blockdev-add/arg-type/+qcow2/data-file
            blockdev-add/arg-type/+qcow2/l2-cache-size
            blockdev-add/arg-type/+throttle/throttle-group
            blockdev-add/arg-type/+null-co/read-zeroes
            blockdev-add/arg-type/+raw/offset
            blockdev-add/arg-type/discard/^unmap
            blockdev-add/arg-type/detect-zeroes/^unmap
            blockdev-add/arg-type/auto-read-only
            blockdev-add/arg-type/force-share
            blockdev-add/arg-type/cache/no-flush
            blockdev-del/arg-type/node-name
            blockdev-create/arg-type/options/+qcow2/compression-type/^zstd
            blockdev-create/arg-type/options/+qcow2/extended-l2
            blockdev-create/arg-type/options/+qcow2/data-file-raw
            blockdev-create/arg-type/options/+file/preallocation/^falloc
            blockdev-create/arg-type/options/+file/extent-size-hint
            block-dirty-bitmap-add/arg-type/*persistent
            block-dirty-bitmap-add/arg-type/disabled
            block-dirty-bitmap-merge/arg-type/bitmaps/!str
            block-dirty-bitmap-merge/arg-type/bitmaps/node
            block-set-write-threshold/arg-type/write-threshold
            block_resize/arg-type/node-name
            nbd-server-start/arg-type/tls-creds
            nbd-server-start/arg-type/tls-authz
            nbd-server-start/arg-type/max-connections
            nbd-server-start/arg-type/addr/+unix/data/path
            nbd-server-start/arg-type/addr/type/^vsock
            nbd-server-start/arg-type/addr/+inet/data/keep-alive
            nbd-server-add/arg-type/bitmap
            nbd-server-add/$deprecated
            nbd-server-remove/$deprecated
            nbd-server-remove/arg-type/mode/^safe
            nbd-server-stop
            object-add/arg-type/qom-type/^secret
            object-add/arg-type/qom-type/^iothread
            object-add/arg-type/qom-type/^main-loop
            object-add/arg-type/qom-type/^tls-creds-x509
            object-add/arg-type/qom-type/^tls-creds-psk
            object-add/arg-type/qom-type/^authz-simple
            object-add/arg-type/qom-type/^throttle-group
            object-add/arg-type/+secret/keyid
            object-add/arg-type/+secret/format/^base64
            object-add/arg-type/+iothread/thread-pool-max
            object-add/arg-type/+iothread/aio-max-batch
            object-add/arg-type/+throttle-group/limits/iops-total-max-length
            object-add/arg-type/+tls-creds-x509/priority
            object-add/arg-type/+tls-creds-x509/endpoint/^server
            object-add/arg-type/+authz-list/rules/format/^glob
            object-del/arg-type/id
            chardev-add/arg-type/backend/+socket
            chardev-add/arg-type/backend/+socket/data/reconnect
            chardev-add/arg-type/backend/+socket/data/addr/+fd/data/str
            chardev-add/arg-type/backend/+socket/data/addr/type/^fd
            chardev-add/arg-type/backend/+file/data/append
            chardev-add/arg-type/backend/+pty
            chardev-add/arg-type/backend/+pipe/data/device
            chardev-add/arg-type/backend/+stdio/data/signal
            chardev-add/arg-type/backend/type/^pty
            chardev-add/ret-type/pty
            chardev-change/arg-type/backend
            query-chardev/ret-type/frontend-open
            query-named-block-nodes/arg-type/flat
            query-named-block-nodes/ret-type/dirty-bitmaps/persistent
            query-named-block-nodes/ret-type/dirty-bitmaps/inconsistent
            query-named-block-nodes/ret-type/cache/writeback
            query-named-block-nodes/ret-type/image/backing-image
            query-block/ret-type/inserted/node-name
            query-blockstats/ret-type/stats/wr_highest_offset
            query-block-exports/ret-type/shutting-down
            query-version/ret-type/qemu/major
            query-jobs/ret-type/status/^concluded
            qmp_capabilities/arg-type/enable/^oob
            BLOCK_EXPORT_DELETED/arg-type/id
            BLOCK_WRITE_THRESHOLD/arg-type/amount-exceeded
            JOB_STATUS_CHANGE/arg-type/status/^null
            qom-list/ret-type/type
            qom-get/arg-type/property
            x-debug-query-block-graph/ret-type/edges
            """;

    @TempDir static Path directory;
    private static Pair pair;

    @BeforeAll
    static void start() throws IOException {
        pair = new Pair("qemu-storage-daemon", directory, List.of());
    }

    @AfterAll
    static void end() throws IOException {
        pair.close();
    }

    private static Stream<String> newer() {
        return NEWER.lines();
    }

    private static Stream<String> both() {
        return BOTH.lines();
    }

    @ParameterizedTest
    @MethodSource("both")
    void isFoundInBoth(String path) throws IOException {
        assertTrue(finds(pair.theirs().schema(), path), "qemu-storage-daemon");
        assertTrue(finds(pair.ours().schema(), path), "ours");
    }

    @ParameterizedTest
    @MethodSource("newer")
    void isFoundHere(String path) throws IOException {
        assertTrue(finds(pair.ours().schema(), path));
    }

    @Test
    void whatIsNotThereIsNotFound() throws IOException {
        for (String path :
                List.of(
                        "nope",
                        "block-export-add/arg-type/nope",
                        "block-export-add/arg-type/*id",
                        "block-export-add/arg-type/+nope",
                        "block-export-add/arg-type/type/^nope",
                        "block-export-add/arg-type/id/!int",
                        "block-export-add/$deprecated",
                        "quit/arg-type/nope")) {
            assertFalse(finds(pair.theirs().schema(), path), path);
            assertFalse(finds(pair.ours().schema(), path), path);
        }
    }

    /** As QMP shells do it: the greeting, the capabilities, the commands, their completion. */
    @Test
    void everyCommandIsInTheSchemaAndTheOtherWayRound() throws IOException {
        List<String> listed = new ArrayList<>();
        for (JsonNode command :
                pair.ours().call("{\"execute\": \"query-commands\"}").get(0).get("return")) {
            listed.add(command.get("name").asText());
        }
        List<String> described =
                pair.ours().schema().values().stream()
                        .filter(info -> info.get("meta-type").asText().equals("command"))
                        .map(info -> info.get("name").asText())
                        .sorted()
                        .toList();
        assertEquals(described, listed.stream().sorted().toList());
    }

    private static boolean finds(Map<String, JsonNode> schema, String path) {
        List<String> names = Arrays.asList(path.split("/"));
        JsonNode entry = schema.get(names.getFirst());
        return entry != null && finds(schema, entry, names.subList(1, names.size()));
    }

    private static boolean finds(Map<String, JsonNode> schema, JsonNode entry, List<String> path) {
        if (path.isEmpty()) {
            return true;
        }
        String name = path.getFirst();
        List<String> rest = path.subList(1, path.size());
        if (name.startsWith("$")) {
            return contains(entry.path("features"), name.substring(1)) && rest.isEmpty();
        }
        return switch (entry.get("meta-type").asText()) {
            case "array" -> finds(schema, schema.get(entry.get("element-type").asText()), path);
            case "command", "event" ->
                    entry.has(name) && finds(schema, schema.get(entry.get(name).asText()), rest);
            case "object" -> inObject(schema, entry, name, rest);
            case "alternate" -> {
                boolean any = false;
                for (JsonNode member : entry.get("members")) {
                    any |= finds(schema, schema.get(member.get("type").asText()), path);
                }
                yield any;
            }
            case "enum" -> contains(entry.get("values"), name.substring(1)) && rest.isEmpty();
            default -> name.equals("!" + entry.get("name").asText()) && rest.isEmpty();
        };
    }

    private static boolean inObject(
            Map<String, JsonNode> schema, JsonNode object, String name, List<String> rest) {
        boolean union = name.startsWith("+");
        boolean optional = name.startsWith("*");
        String wanted = union || optional ? name.substring(1) : name;
        for (JsonNode each : object.path(union ? "variants" : "members")) {
            if (each.get(union ? "case" : "name").asText().equals(wanted)
                    && (!optional || each.has("default"))) {
                return finds(schema, schema.get(each.get("type").asText()), rest);
            }
        }
        return false;
    }

    private static boolean contains(JsonNode words, String word) {
        for (JsonNode each : words) {
            if (each.asText().equals(word)) {
                return true;
            }
        }
        return false;
    }
}

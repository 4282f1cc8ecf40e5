package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.atomic.AtomicBoolean;

/** Nodes get overlays, other options and other children while clients read and write. */
class GraphChangesIT {
    private static final int ROUNDS = 8;
    private static final long SIZE = 16 * MIB;

    @TempDir Path directory;
    private Path monitor;
    private Path socket;

    @BeforeEach
    void paths() {
        monitor = directory.resolve("m");
        socket = directory.resolve("s");
    }

    private Daemon start(String... more) throws IOException {
        var all =
                new ArrayList<>(
                        List.of(
                                "--chardev",
                                "socket,id=m,server=on,wait=off,path=" + monitor,
                                "--monitor",
                                "m",
                                "--blockdev",
                                "file,node-name=basefile,filename=" + path("base.raw"),
                                "--blockdev",
                                "raw,node-name=base,file=basefile",
                                "--nbd-server",
                                "addr.type=unix,addr.path=" + socket));
        all.addAll(List.of(more));
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    private String path(String name) {
        return directory.resolve(name).toString();
    }

    private String uri(String export) {
        return "nbd+unix:///" + export + "?socket=" + socket;
    }

    private void base() throws IOException {
        Image.random(directory.resolve("base.raw"), SIZE);
    }

    private void overlay(String name, String backing, String format) {
        Tools.run(
                        "qemu-img",
                        "create",
                        "-q",
                        "-u",
                        "-f",
                        "qcow2",
                        "-b",
                        backing,
                        "-F",
                        format,
                        path(name),
                        "" + SIZE)
                .ok();
    }

    private static String addOverlay(String node, String path) {
        return """
        {"driver": "qcow2", "node-name": "%s", "backing": null,
         "file": {"driver": "file", "node-name": "%s-file", "filename": "%s"}}
        """
                .formatted(node, node, path)
                .replace("\n", "");
    }

    /** fio writes and verifies, again and again, until all changes are done. */
    @ParameterizedTest
    @ValueSource(strings = {"nbd", "fuse"})
    void requestsGoOnWhileTheGraphChanges(String type) throws Exception {
        base();
        Path mounted = Files.createFile(directory.resolve("mounted"));
        boolean fuse = type.equals("fuse");
        try (var _ =
                        start(
                                "--export",
                                "nbd,id=n,node-name=base,name=disk,writable=on",
                                "--export",
                                fuse
                                        ? "fuse,id=f,node-name=base,writable=on,mountpoint="
                                                + mounted
                                        : "nbd,id=f,node-name=base,name=other");
                var qmp = QmpClient.unix(monitor)) {
            var over = new AtomicBoolean();
            var passes =
                    CompletableFuture.supplyAsync(
                            () -> {
                                int count = 0;
                                do {
                                    fio(fuse ? mounted.toString() : uri("disk"), fuse);
                                    count++;
                                } while (!over.get());
                                return count;
                            });
            String top = "base";
            try {
                for (int i = 0; i < ROUNDS; i++) {
                    bypassCache(qmp, i % 2 == 0, false);
                }
                for (int i = 0; i < ROUNDS; i++) {
                    String next = i % 2 == 0 ? snapshot(qmp, top, i) : snapshotSync(qmp, top, i);
                    reopen(qmp, next, top);
                    top = next;
                }
            } finally {
                over.set(true);
                assertTrue(passes.get() > 0);
            }
            assertEquals(top, qmp.execute("query-block-exports").get(0).get("node-name").asText());
            Tools.run("qemu-img", "convert", "-O", "raw", uri("disk"), path("seen.raw")).ok();
        }
        for (int i = 0; i < ROUNDS; i++) {
            Tools.run("qemu-img", "check", "-q", path("o" + i + ".qcow2")).ok();
        }
        String last = path("o" + (ROUNDS - 1) + ".qcow2");
        Tools.run("qemu-img", "compare", "-F", "raw", last, path("seen.raw")).ok();
    }

    private static void fio(String target, boolean file) {
        Tools.run(
                        "fio",
                        "--name=verify",
                        "--verify_state_save=0",
                        file ? "--ioengine=libaio" : "--ioengine=nbd",
                        file ? "--filename=" + target : "--uri=" + target,
                        "--rw=randwrite",
                        "--bsrange=4k-64k",
                        "--iodepth=16",
                        "--verify=crc32c",
                        "--verify_fatal=1",
                        "--verify_backlog=64",
                        "--size=" + SIZE,
                        "--output-format=terse")
                .ok();
    }

    private String snapshot(QmpClient qmp, String top, int round) throws IOException {
        String node = "o" + round;
        boolean first = round == 0;
        String file = node + ".qcow2";
        overlay(file, first ? "base.raw" : "o" + (round - 1) + ".qcow2", first ? "raw" : "qcow2");
        qmp.execute("blockdev-add", addOverlay(node, path(file)));
        qmp.execute(
                "blockdev-snapshot", "{\"node\":\"%s\",\"overlay\":\"%s\"}".formatted(top, node));
        return node;
    }

    private String snapshotSync(QmpClient qmp, String top, int round) throws IOException {
        String node = "o" + round;
        qmp.execute(
                "blockdev-snapshot-sync",
                "{\"node-name\":\"%s\",\"snapshot-node-name\":\"%s\",\"snapshot-file\":\"%s\"}"
                        .formatted(top, node, path(node + ".qcow2")));
        return node;
    }

    /** The top is opened anew three times, the file at the bottom is told to bypass the cache. */
    private void reopen(QmpClient qmp, String top, String backing) throws IOException {
        String file =
                qmp
                        .execute("query-named-block-nodes", "{\"flat\":true}")
                        .findParents("node-name")
                        .stream()
                        .filter(node -> node.get("node-name").asText().equals(top))
                        .findFirst()
                        .orElseThrow()
                        .get("children")
                        .get(0)
                        .get("node-name")
                        .asText();
        for (String more : List.of("", ",\"discard\":\"unmap\"", "")) {
            qmp.execute(
                    "blockdev-reopen",
                    ("{\"options\":[{\"driver\":\"qcow2\",\"node-name\":\"%s\",\"file\":\"%s\","
                                    + "\"backing\":\"%s\"%s}]}")
                            .formatted(top, file, backing, more));
        }
        bypassCache(qmp, true, true);
        bypassCache(qmp, false, true);
    }

    private void bypassCache(QmpClient qmp, boolean direct, boolean readOnly) throws IOException {
        qmp.execute(
                "blockdev-reopen",
                ("{\"options\":[{\"driver\":\"file\",\"node-name\":\"basefile\","
                                + "\"filename\":\"%s\",\"read-only\":%s,\"cache\":"
                                + "{\"direct\":%s}}]}")
                        .formatted(path("base.raw"), readOnly, direct));
    }
}

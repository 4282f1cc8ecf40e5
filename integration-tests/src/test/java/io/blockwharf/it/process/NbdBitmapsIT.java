package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;

/**
 * Dirty bitmaps over NBD: what libnbd's and QEMU's tools see of them, an incremental backup, and
 * what QEMU's daemon says of the same mistakes.
 */
class NbdBitmapsIT {
    private static final long SIZE = 64 * MIB;

    @TempDir Path directory;
    private Path monitor;
    private Path socket;
    private Path image;

    @BeforeEach
    void image() throws IOException {
        monitor = directory.resolve("qmp");
        socket = directory.resolve("s");
        image = Image.random(directory.resolve("image"), SIZE);
    }

    private Daemon start() throws IOException {
        return Daemon.start(
                directory,
                "--blockdev",
                "file,node-name=disk,discard=unmap,filename=" + image,
                "--chardev",
                "socket,id=mon,server=on,wait=off,path=" + monitor,
                "--monitor",
                "mon",
                "--nbd-server",
                "addr.type=unix,addr.path=" + socket,
                "--export",
                "nbd,id=live,node-name=disk,name=live,writable=on");
    }

    private String uri(String export) {
        return "nbd+unix:///" + export + "?socket=" + socket;
    }

    /** A new bitmap, and an export that shows it and base:allocation. */
    private static void watch(QmpClient qmp, String bitmap) throws IOException {
        qmp.execute(
                "block-dirty-bitmap-add",
                "{\"node\": \"disk\", \"name\": \"%s\", \"granularity\": 65536}".formatted(bitmap));
    }

    private static void show(QmpClient qmp, String... bitmaps) throws IOException {
        var list = new StringJoiner(", ", "[", "]");
        for (String bitmap : bitmaps) {
            list.add("\"" + bitmap + "\"");
        }
        qmp.execute(
                "block-export-add",
                ("{\"type\": \"nbd\", \"id\": \"backup\", \"node-name\": \"disk\", \"name\":"
                                + " \"backup\", \"writable\": true, \"allocation-depth\": true,"
                                + " \"bitmaps\": %s}")
                        .formatted(list));
    }

    private static void hide(QmpClient qmp) throws IOException {
        String delete = "{\"execute\": \"block-export-del\", \"arguments\": {\"id\": \"backup\"}}";
        Waiting.until(() -> !qmp.call(delete).has("error"), () -> "its clients to be gone");
        qmp.event("BLOCK_EXPORT_DELETED");
    }

    private void write(String... commands) {
        var all = new ArrayList<>(List.of("qemu-io", "-f", "raw"));
        for (String command : commands) {
            all.addAll(List.of("-c", command));
        }
        all.add(uri("live"));
        Tools.run(all).ok();
    }

    /** The dirty runs as nbdinfo tells them, {@code offset+length}. */
    private List<String> dirtyByNbdinfo(String bitmap) throws IOException {
        JsonNode map =
                QmpClient.json(
                        Tools.run(
                                        "nbdinfo",
                                        "--json",
                                        "--map=qemu:dirty-bitmap:" + bitmap,
                                        uri("backup"))
                                .ok());
        var runs = new ArrayList<String>();
        for (JsonNode run : map) {
            if (run.get("type").asInt() == 1) {
                runs.add(run.get("offset").asLong() + "+" + run.get("length").asLong());
            }
        }
        return runs;
    }

    /** The same as QEMU's client sees them: it shows what is dirty as what holds no data. */
    private List<String> dirtyByQemu(String program, String bitmap) throws IOException {
        JsonNode map =
                QmpClient.json(
                        Tools.run(
                                        program,
                                        "map",
                                        "--output=json",
                                        "--image-opts",
                                        "driver=nbd,export=backup,server.type=unix,server.path="
                                                + socket
                                                + ",x-dirty-bitmap=qemu:dirty-bitmap:"
                                                + bitmap)
                                .ok());
        var runs = new ArrayList<String>();
        for (JsonNode run : map) {
            if (!run.get("data").asBoolean()) {
                runs.add(run.get("start").asLong() + "+" + run.get("length").asLong());
            }
        }
        return runs;
    }

    @Test
    void mapsTellWhatWasWritten() throws IOException {
        try (var _ = start();
                var qmp = QmpClient.unix(monitor)) {
            watch(qmp, "b0");
            write(
                    "write 0 1",
                    "write 1M 64k",
                    "write 1088k 1k",
                    "discard 10M 1M",
                    "write -z 63M 1M");
            watch(qmp, "b1");
            write("write 32M 4k");
            show(qmp, "b0", "b1");
            List<String> both =
                    List.of("0+65536", "1048576+131072", "10485760+1048576", "33554432+65536");
            var first = new ArrayList<>(both);
            first.add("66060288+1048576");
            assertEquals(first, dirtyByNbdinfo("b0"));
            assertEquals(first, dirtyByQemu("qemu-img", "b0"));
            assertEquals(List.of("33554432+65536"), dirtyByNbdinfo("b1"));
            assertEquals(List.of("33554432+65536"), dirtyByQemu("qemu-img", "b1"));
            hide(qmp);
        }
    }

    @Test
    void severalContextsAreAnsweredAtOnce() throws IOException {
        try (var _ = start();
                var qmp = QmpClient.unix(monitor)) {
            watch(qmp, "b0");
            watch(qmp, "b1");
            qmp.execute("block-dirty-bitmap-disable", "{\"node\": \"disk\", \"name\": \"b1\"}");
            write("write 0 64k", "discard 1M 1M");
            show(qmp, "b0", "b1");
            Tools.nbdsh(
                    """
                    for c in ["base:allocation", "qemu:allocation-depth",
                              "qemu:dirty-bitmap:b0", "qemu:dirty-bitmap:b1"]:
                        h.add_meta_context(c)
                    h.connect_uri("%s")
                    seen = {}
                    def extents(context, offset, entries, error):
                        seen[context] = [(entries[i], entries[i + 1])
                                         for i in range(0, len(entries), 2)]
                    h.block_status(4 << 20, 0, extents)
                    K, M = 1 << 10, 1 << 20
                    def cut(runs, limit=4 << 20):
                        at, out = 0, []
                        for n, state in runs:
                            n = min(n, limit - at)
                            if n > 0:
                                out.append((n, state))
                            at += n
                        return out
                    assert cut(seen["base:allocation"]) == [(M, 0), (M, 3), (2 * M, 0)], seen
                    assert cut(seen["qemu:dirty-bitmap:b0"]) == [
                        (64 * K, 1), (M - 64 * K, 0), (M, 1), (2 * M, 0)], seen
                    assert cut(seen["qemu:dirty-bitmap:b1"]) == [(4 * M, 0)], seen
                    assert all(state == 1 for _, state in seen["qemu:allocation-depth"]), seen
                    h.shutdown()
                    """
                            .formatted(uri("backup")));
            hide(qmp);
        }
    }

    /**
     * A full copy; writes through another export, also while the increment is copied; an increment
     * that is nothing but the dirty ranges, and the same file at the end.
     */
    @Test
    void anIncrementalBackupHoldsWhatWasWritten() throws IOException {
        Path copy = directory.resolve("copy");
        try (var _ = start();
                var qmp = QmpClient.unix(monitor)) {
            watch(qmp, "since-full");
            show(qmp);
            Tools.run("nbdcopy", uri("backup"), copy.toString()).ok();
            hide(qmp);
            assertEquals(Image.sha256(image), Image.sha256(copy), "the full copy");

            write("write -P 1 5M 100k", "write -P 2 40M 3M", "write -P 3 64000k 1k");
            // From here on the next increment begins: this one's bitmap stands still
            watch(qmp, "since-first");
            qmp.execute(
                    "block-dirty-bitmap-disable", "{\"node\": \"disk\", \"name\": \"since-full\"}");
            show(qmp, "since-full");
            Path before = Files.copy(image, directory.resolve("before"));
            List<String> first = dirtyByNbdinfo("since-full");
            assertEquals(List.of("5242880+131072", "41943040+3145728", "65536000+65536"), first);
            copyRanges("backup", first, copy);
            assertEquals(Image.sha256(before), Image.sha256(copy), "the first increment");
            hide(qmp);

            write("write -P 4 5M 4k", "discard 20M 1M", "write -P 5 50M 64k");
            show(qmp, "since-first");
            copyRanges("backup", dirtyByNbdinfo("since-first"), copy);
            assertEquals(Image.sha256(image), Image.sha256(copy), "the second increment");
            hide(qmp);
        }
    }

    private void copyRanges(String export, List<String> runs, Path copy) throws IOException {
        long before = Files.size(copy);
        Tools.nbdsh(
                """
                h.connect_uri("%s")
                with open("%s", "r+b") as copy:
                    for run in "%s".split():
                        offset, length = map(int, run.split("+"))
                        copy.seek(offset)
                        while length > 0:
                            n = min(length, 1 << 20)
                            copy.write(h.pread(n, offset))
                            offset += n
                            length -= n
                h.shutdown()
                """
                        .formatted(uri(export), copy, String.join(" ", runs)));
        try (var file = new RandomAccessFile(copy.toFile(), "r")) {
            assertEquals(before, file.length());
        }
    }

    /** A command, and a word for what is being tried. */
    private static final String[] MISTAKES = {
        "block-dirty-bitmap-add {'node': 'disk', 'name': 'b'}",
        "block-dirty-bitmap-add {'node': 'disk', 'name': 'b'}",
        "block-dirty-bitmap-add {'node': 'disk', 'name': ''}",
        "block-dirty-bitmap-add {'node': 'nope', 'name': 'c'}",
        "block-dirty-bitmap-add {'node': 'disk', 'name': 'c', 'granularity': 1000}",
        "block-dirty-bitmap-add {'node': 'disk', 'name': 'c', 'granularity': 256}",
        "block-dirty-bitmap-add {'node': 'disk', 'name': 'c', 'disabled': true}",
        "block-dirty-bitmap-remove {'node': 'disk', 'name': 'nope'}",
        "block-dirty-bitmap-clear {'node': 'disk', 'name': 'nope'}",
        "block-dirty-bitmap-enable {'node': 'nope', 'name': 'b'}",
        "block-dirty-bitmap-merge {'node': 'disk', 'target': 'nope', 'bitmaps': ['b']}",
        "block-dirty-bitmap-merge {'node': 'disk', 'target': 'b', 'bitmaps': ['nope']}",
        "block-export-add {'type': 'nbd', 'id': 'x', 'node-name': 'disk', 'bitmaps': ['nope']}",
        "block-export-add {'type': 'nbd', 'id': 'x', 'node-name': 'disk',"
                + " 'bitmaps': [{'node': 'nope', 'name': 'b'}]}",
        "block-export-add {'type': 'nbd', 'id': 'x', 'node-name': 'disk',"
                + " 'bitmaps': [{'node': 'disk', 'name': 'nope'}]}",
        "block-export-add {'type': 'nbd', 'id': 'x', 'node-name': 'disk', 'bitmaps': ['b']}",
        "block-export-add {'type': 'nbd', 'id': 'x', 'node-name': 'disk', 'bitmaps': ['c']}",
        "block-dirty-bitmap-remove {'node': 'disk', 'name': 'c'}",
        "block-dirty-bitmap-clear {'node': 'disk', 'name': 'c'}",
        "block-dirty-bitmap-enable {'node': 'disk', 'name': 'c'}",
        "block-dirty-bitmap-disable {'node': 'disk', 'name': 'c'}",
        "block-dirty-bitmap-merge {'node': 'disk', 'target': 'c', 'bitmaps': ['b']}",
        "block-dirty-bitmap-merge {'node': 'disk', 'target': 'b', 'bitmaps': ['c']}",
        "block-export-add {'type': 'nbd', 'id': 'y', 'node-name': 'disk', 'name': 'y',"
                + " 'bitmaps': ['c']}",
        "block-export-add {'type': 'nbd', 'id': 'y', 'node-name': 'disk', 'name': 'y',"
                + " 'writable': true, 'bitmaps': ['b', {'node': 'disk', 'name': 'b'}]}",
        "nbd-server-add {'device': 'disk', 'name': 'z', 'writable': true, 'bitmap': 'nope'}",
        "nbd-server-add {'device': 'disk', 'name': 'z', 'writable': true, 'bitmap': 'b'}",
        "block-dirty-bitmap-remove {'node': 'disk', 'name': 'b'}",
        "block-export-del {'id': 'x'}",
        "block-dirty-bitmap-remove {'node': 'disk', 'name': 'c'}",
    };

    @Test
    void mistakesAreAnsweredAsByQemu() throws IOException {
        assertEquals(
                String.join("\n", answers("qemu-storage-daemon")),
                String.join("\n", answers(Daemon.PROGRAM)));
    }

    private List<String> answers(String program) throws IOException {
        Path own = Files.createTempDirectory(directory, "answers");
        Process daemon =
                Tools.builder(
                                List.of(
                                        program,
                                        "--chardev",
                                        "stdio,id=m",
                                        "--monitor",
                                        "m",
                                        "--blockdev",
                                        "file,node-name=disk,filename=" + image,
                                        "--nbd-server",
                                        "addr.type=unix,addr.path=" + own.resolve("s")))
                        .redirectError(own.resolve("stderr").toFile())
                        .start();
        try (var qmp = QmpClient.over(daemon).negotiate()) {
            var answers = new ArrayList<String>();
            for (String mistake : MISTAKES) {
                int blank = mistake.indexOf(' ');
                JsonNode reply =
                        qmp.call(
                                "{\"execute\": \"%s\", \"arguments\": %s}"
                                        .formatted(
                                                mistake.substring(0, blank),
                                                mistake.substring(blank).replace('\'', '"')));
                answers.add(
                        mistake
                                + " -> "
                                + (reply.has("return")
                                        ? "ok"
                                        : reply.at("/error/class").asText()
                                                + ": "
                                                + reply.at("/error/desc").asText()));
            }
            qmp.execute("quit");
            assertEquals(0, Waiting.exit(daemon));
            return answers;
        } finally {
            daemon.destroyForcibly();
        }
    }
}

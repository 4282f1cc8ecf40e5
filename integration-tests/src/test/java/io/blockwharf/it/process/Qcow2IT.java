package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** qcow2 images served by the daemon, with QEMU's tools as clients and as judges of the files. */
class Qcow2IT {
    @TempDir Path directory;
    private Path socket;
    private String uri;

    @BeforeEach
    void socket() {
        socket = directory.resolve("s");
        uri = "nbd+unix:///disk?socket=" + socket;
    }

    private Daemon serving(Path image, String more, String... arguments) throws IOException {
        var all = new ArrayList<>(List.of(arguments));
        all.addAll(
                List.of(
                        "--blockdev",
                        "driver=qcow2,node-name=disk,discard=unmap,file.driver=file,file.filename="
                                + image
                                + more,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "type=nbd,id=e,node-name=disk,writable=on"));
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    private static void create(Path path, String backing, String format) {
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
                        path.toString(),
                        "" + 8 * MIB)
                .ok();
    }

    /** Base and middle are told in all ways that names have; clients see what qemu-img sees. */
    @Test
    void aChainIsServedAsQemuReadsIt() throws IOException {
        Path base = Image.random(directory.resolve("base.raw"), 3 * MIB);
        create(directory.resolve("low.qcow2"), "base.raw", "raw");
        create(
                directory.resolve("mid.qcow2"),
                "json:{\"driver\":\"qcow2\",\"file.driver\":"
                        + "\"file\",\"file.filename\":\""
                        + directory.resolve("low.qcow2")
                        + "\"}",
                "qcow2");
        Path top = directory.resolve("top.qcow2");
        create(top, directory.resolve("mid.qcow2").toString(), "qcow2");
        Tools.run("qemu-io", "-c", "write -P 7 1M 64k", directory.resolve("mid.qcow2").toString())
                .ok();
        Tools.run("qemu-io", "-c", "write -P 9 2M 64k", "-c", "write -z 512k 64k", top.toString())
                .ok();
        Path expected = directory.resolve("expected.raw");
        Tools.run("qemu-img", "convert", "-O", "raw", top.toString(), expected.toString()).ok();
        try (var _ = serving(top, "")) {
            Tools.run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, expected.toString())
                    .ok();
            Tools.run("qemu-io", "-f", "raw", "-c", "write -P 3 100k 1000k", uri).ok();
            Tools.run("qemu-io", "-f", "raw", "-c", "write -P 3 100k 1000k", expected.toString())
                    .ok();
            Tools.run("qemu-img", "compare", "-f", "raw", "-F", "raw", uri, expected.toString())
                    .ok();
        }
        Tools.run("qemu-img", "check", top.toString()).ok();
        Tools.run("qemu-img", "compare", top.toString(), expected.toString()).ok();
        assertEquals(3 * MIB, Files.size(base));
    }

    @Test
    void withBackingNullTheImageStandsAlone() throws IOException {
        Image.random(directory.resolve("base.raw"), MIB);
        Path top = directory.resolve("top.qcow2");
        create(top, "base.raw", "raw");
        String json =
                "{\"driver\":\"qcow2\",\"node-name\":\"disk\",\"backing\":null,"
                        + "\"file\":{\"driver\":\"file\",\"filename\":\""
                        + top
                        + "\"}}";
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        json,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "type=nbd,id=e,node-name=disk")) {
            Tools.run("qemu-io", "-r", "-f", "raw", "-c", "read -P 0 0 1M", uri).ok();
        }
    }

    @Test
    void persistentBitmapsOutliveTheDaemon() throws IOException {
        Path image = directory.resolve("a.qcow2");
        Tools.run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "8M").ok();
        Path monitor = directory.resolve("m");
        String[] qmp = {
            "--chardev", "socket,id=m,server=on,wait=off,path=" + monitor, "--monitor", "chardev=m"
        };
        try (var _ = serving(image, "", qmp)) {
            try (var client = QmpClient.unix(monitor)) {
                client.execute(
                        "block-dirty-bitmap-add",
                        "{\"node\":\"disk\",\"name\":\"b\",\"persistent\":true}");
            }
            Tools.run("qemu-io", "-f", "raw", "-c", "write 1M 64k", uri).ok();
        }
        String info = Tools.run("qemu-img", "info", image.toString()).ok();
        assertTrue(info.contains("name: b") && !info.contains("in-use"), info);
        try (var _ = serving(image, "", qmp);
                var client = QmpClient.unix(monitor)) {
            JsonNode nodes = client.execute("query-named-block-nodes", "{\"flat\":true}");
            JsonNode bitmap = nodes.findValue("dirty-bitmaps").get(0);
            assertEquals(65536, bitmap.get("count").asLong(), bitmap::toString);
            assertTrue(bitmap.get("persistent").asBoolean());
            assertTrue(bitmap.get("recording").asBoolean());
        }
        Tools.run("qemu-img", "check", image.toString()).ok();
    }

    private static final int KILLS = 4;

    /**
     * A daemon is killed while clients write through NBD; each of them tells when it has flushed.
     * (That an image survives a hundred kills and every single write of many more is tested in the
     * bundle.)
     */
    @Test
    void aKilledDaemonLosesNothingThatWasFlushed() throws IOException {
        Path base = Image.random(directory.resolve("base.raw"), 8 * MIB);
        Path image = directory.resolve("a.qcow2");
        create(image, base.toString(), "raw");
        Path said = directory.resolve("said");
        byte[] disk = Files.readAllBytes(base);
        for (int kill = 1; kill <= KILLS; kill++) {
            Files.deleteIfExists(said);
            Daemon daemon = serving(image, "");
            try {
                Process client = writer(kill, said);
                try {
                    int rounds = 2 + kill;
                    Waiting.until(
                            () -> Files.exists(said) && Files.size(said) >= rounds,
                            () -> "round " + rounds);
                    daemon.signal("KILL");
                    assertEquals(137, daemon.awaitExit());
                    client.onExit().join(); // its connection is gone
                } finally {
                    client.destroyForcibly();
                }
            } finally {
                daemon.process().destroyForcibly();
            }
            int rounds = (int) Files.size(said);
            for (int round = 0; round < rounds; round++) {
                for (int i = 0; i < WRITES; i++) {
                    int slot = slot(kill, round, i);
                    Arrays.fill(disk, slot * SLOT, end(slot), value(kill, round));
                }
            }
            disk = checked(image, disk, kill, rounds);
        }
    }

    /**
     * A tmpfs of 4 MiB under an image of 64, and not one page is left for tables: what the client
     * trims makes the room that writing them takes.
     */
    @Test
    void whatIsTrimmedOnAFullDiskCanBeWrittenAgain() throws IOException {
        assumeTrue("root".equals(System.getProperty("user.name")), "mount needs root");
        Path mount = Files.createDirectory(directory.resolve("mount"));
        Tools.run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount.toString()).ok();
        try {
            Path image = mount.resolve("a.qcow2");
            Tools.run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "64M").ok();
            try (var _ = serving(image, "")) {
                Tools.nbdsh(
                        """
                        M = 1 << 20
                        h.connect_uri("%s")
                        h.pwrite(b"x" * M, 0)
                        h.pwrite(b"y" * M, M)
                        with open("%s", "wb", buffering=0) as rest:
                            try:
                                while True:
                                    rest.write(b"z" * 4096)
                            except OSError as e:
                                assert e.errno == 28, e
                        h.trim(M, 0)
                        h.flush()
                        h.pwrite(b"w" * (M // 2), 48 * M)
                        h.flush()
                        h.shutdown()
                        """
                                .formatted(uri, mount.resolve("rest")));
            }
            Tools.run("qemu-img", "check", image.toString()).ok();
            Tools.run(
                            "qemu-io",
                            "-c",
                            "read -P 0x00 0 1M",
                            "-c",
                            "read -P 0x79 1M 1M",
                            "-c",
                            "read -P 0x77 48M 512k",
                            image.toString())
                    .ok();
        } finally {
            Tools.run("umount", mount.toString()).ok();
        }
    }

    private static final int SLOTS = 160;
    private static final int SLOT = 48 << 10;
    private static final int WRITES = 12;

    /** What a client writes where: the same in Python. */
    private static int slot(int kill, int round, int i) {
        return (kill * 31 + round * 17 + i * 7) % SLOTS;
    }

    private static int end(int slot) {
        return slot * SLOT + 4096 + slot * 200;
    }

    private static byte value(int kill, int round) {
        return (byte) (1 + (kill * 16 + round) % 255);
    }

    /** A client that writes, flushes, and adds a byte to a file, again and again. */
    private Process writer(int kill, Path said) throws IOException {
        return Tools.builder(
                        List.of(
                                "nbdsh",
                                "-u",
                                uri,
                                "-c",
                                """
                                said = open("%s", "wb", buffering=0)
                                for round in range(256):
                                    for i in range(%d):
                                        slot = (%d * 31 + round * 17 + i * 7) %% %d
                                        value = 1 + (%d * 16 + round) %% 255
                                        h.pwrite(bytes([value]) * (4096 + slot * 200), slot * %d)
                                    h.flush()
                                    said.write(bytes([round]))
                                """
                                        .formatted(said, WRITES, kill, SLOTS, kill, SLOT)))
                .redirectErrorStream(true)
                .redirectOutput(directory.resolve("client").toFile())
                .start();
    }

    /**
     * Each byte is that of the last write that was flushed, or of the round that was not.
     *
     * @return the disk as it is
     */
    private byte[] checked(Path image, byte[] flushed, int kill, int round) throws IOException {
        Tools.Result check = Tools.run("qemu-img", "check", "-f", "qcow2", image.toString());
        assertTrue(check.status() == 0 || check.status() == 3, check::toString); // 3: leaks
        Path raw = directory.resolve("now.raw");
        Tools.run("qemu-img", "convert", "-O", "raw", image.toString(), raw.toString()).ok();
        byte[] now = Files.readAllBytes(raw);
        byte[] expected = flushed.clone();
        for (int i = 0; i < WRITES; i++) {
            int slot = slot(kill, round, i);
            for (int at = slot * SLOT; at < end(slot); at++) {
                if (now[at] == value(kill, round)) {
                    expected[at] = now[at];
                }
            }
        }
        assertEquals(
                -1,
                Arrays.mismatch(expected, now),
                () -> "kill %d, after round %d".formatted(kill, round));
        return now;
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "72  | 80 | Unsupported qcow2 feature(s): Unknown incompatible feature: 8000",
                "35  | 2  | Use of LUKS encrypted qcow2 images is not supported",
                "7   | 9  | Unsupported qcow2 version 9",
                "79  | 2  | qcow2: Image is corrupt; cannot be opened read/write",
            })
    void whatCannotBeServedIsRefused(int at, int value, String message) throws IOException {
        Path image = directory.resolve("a.qcow2");
        Tools.run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "8M").ok();
        if (at == 72) {
            Image.fill(image, 78, 1, 0x80);
        } else {
            Image.fill(image, at, 1, value);
        }
        String said =
                Tools.run(
                                Daemon.PROGRAM,
                                "--blockdev",
                                "driver=qcow2,node-name=disk,file.driver=file,file.filename="
                                        + image)
                        .failed();
        assertTrue(said.contains(message), said);
    }

    /** {@code blockdev-create} is a job: created, running, waiting, pending, concluded, gone. */
    @Test
    void imagesAreMadeByJobs() throws IOException {
        Path file = directory.resolve("made.qcow2");
        Path monitor = directory.resolve("m");
        try (var _ =
                        Daemon.start(
                                directory,
                                "--chardev",
                                "socket,id=m,server=on,wait=off,path=" + monitor,
                                "--monitor",
                                "chardev=m");
                var qmp = QmpClient.unix(monitor)) {
            create(qmp, "{\"driver\":\"file\",\"filename\":\"" + file + "\",\"size\":0}", "");
            qmp.execute(
                    "blockdev-add",
                    "{\"driver\":\"file\",\"node-name\":\"f\",\"filename\":\"" + file + "\"}");
            create(
                    qmp,
                    "{\"driver\":\"qcow2\",\"file\":\"f\",\"size\":1000}",
                    "Image size must be a multiple of 512 bytes");
            create(
                    qmp,
                    "{\"driver\":\"qcow2\",\"file\":\"f\",\"size\":8388608,"
                            + "\"cluster-size\":4096,\"extended-l2\":false}",
                    "");
            assertEquals("GenericError: Job not found", qmp.error("job-dismiss", "{\"id\":\"j\"}"));
        }
        assertTrue(
                Tools.run("qemu-img", "info", file.toString()).ok().contains("cluster_size: 4096"));
        Tools.run("qemu-img", "check", file.toString()).ok();
    }

    private static void create(QmpClient qmp, String options, String error) throws IOException {
        qmp.execute("blockdev-create", "{\"job-id\":\"j\",\"options\":" + options + "}");
        List<String> statuses =
                error.isEmpty()
                        ? List.of("created", "running", "waiting", "pending", "concluded")
                        : List.of("created", "running", "aborting", "concluded");
        for (String status : statuses) {
            JsonNode event = qmp.event("JOB_STATUS_CHANGE");
            assertEquals(status, event.at("/data/status").asText(), event::toString);
        }
        JsonNode job = qmp.execute("query-jobs").get(0);
        assertEquals("create", job.get("type").asText(), job::toString);
        assertEquals(error, job.path("error").asText(""), job::toString);
        qmp.execute("job-dismiss", "{\"id\":\"j\"}");
        assertEquals("null", qmp.event("JOB_STATUS_CHANGE").at("/data/status").asText());
    }

    @Test
    void aLoopOfBackingFilesIsRefused() throws IOException {
        Path a = directory.resolve("a.qcow2");
        Path b = directory.resolve("b.qcow2");
        create(a, "b.qcow2", "qcow2");
        create(b, "a.qcow2", "qcow2");
        String said =
                Tools.run(
                                Daemon.PROGRAM,
                                "--blockdev",
                                "driver=qcow2,node-name=disk,read-only=on,file.driver=file,"
                                        + "file.filename="
                                        + a)
                        .failed();
        assertTrue(said.contains("creates an infinite loop"), said);
    }

    @Test
    void anImageThatIsItsOwnBackingFileIsRefused() throws IOException {
        Path a = directory.resolve("a.qcow2");
        create(a, "a.qcow2", "qcow2");
        String said =
                Tools.run(
                                Daemon.PROGRAM,
                                "--blockdev",
                                "driver=qcow2,node-name=disk,read-only=on,file.driver=file,"
                                        + "file.filename="
                                        + a)
                        .failed();
        assertTrue(said.contains("creates an infinite loop"), said);
    }

    /** A query tells the backing file as the image names it, and as it is found. */
    @Test
    void aNodeTellsWhatItsImageNames() throws IOException {
        Image.random(directory.resolve("base.raw"), MIB);
        Path top = directory.resolve("top.qcow2");
        create(top, "base.raw", "raw");
        Path monitor = directory.resolve("m");
        String[] qmp = {
            "--chardev", "socket,id=m,server=on,wait=off,path=" + monitor, "--monitor", "chardev=m"
        };
        try (var _ = serving(top, "", qmp);
                var client = QmpClient.unix(monitor)) {
            for (JsonNode node : client.execute("query-named-block-nodes", "{\"flat\":true}")) {
                if (node.get("node-name").asText().equals("disk")) {
                    JsonNode image = node.get("image");
                    assertEquals("base.raw", image.get("backing-filename").asText());
                    assertEquals("raw", image.get("backing-filename-format").asText());
                    assertEquals(
                            directory.resolve("base.raw").toString(),
                            image.get("full-backing-filename").asText());
                }
            }
        }
    }

    @Test
    void writesThroughTheCompressFilterAreCompressed() throws IOException {
        Path image = directory.resolve("a.qcow2");
        Tools.run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "8064k").ok();
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "driver=compress,node-name=disk,file.driver=qcow2,file.file.driver=file,"
                                + "file.file.filename="
                                + image,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "type=nbd,id=e,node-name=disk,writable=on")) {
            Tools.run("qemu-io", "-f", "raw", "-c", "write -P 5 0 8064k", uri).ok();
            Tools.run("qemu-io", "-f", "raw", "-c", "write -P 7 100k 3k", uri).ok();
            Tools.run("qemu-io", "-f", "raw", "-c", "read -P 7 100k 3k", uri).ok();
        }
        Tools.run("qemu-img", "check", image.toString()).ok();
        Tools.run("qemu-io", "-r", "-c", "read -P 5 103k 7961k", image.toString()).ok();
        assertTrue(Files.size(image) < MIB, () -> "not compressed");
    }
}

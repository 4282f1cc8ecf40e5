package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;

/** qemu-img, qemu-io and fio as clients; and qemu-img beside us on the same file. */
class QemuToolsIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long SIZE = 32 * MIB;

    @TempDir Path directory;
    private Path socket;
    private Path image;
    private String uri;

    @BeforeEach
    void image() throws IOException {
        socket = directory.resolve("s");
        image = Image.sparse(directory.resolve("image"), SIZE);
        uri = "nbd+unix:///disk?socket=" + socket;
    }

    private Daemon serving(String options) throws IOException {
        return Daemon.serving(directory, socket, image, options);
    }

    @Test
    void qemuImgConvertsThereAndBackAndComparesEqual() throws IOException {
        Path source = Image.random(directory.resolve("source"), SIZE - MIB);
        Image.sparse(source, SIZE);
        Path copy = directory.resolve("copy.qcow2");
        try (var _ = serving(",writable=on")) {
            Tools.run(
                            "qemu-img",
                            "convert",
                            "-n",
                            "-W",
                            "-m",
                            "8",
                            "-f",
                            "raw",
                            "-O",
                            "raw",
                            source.toString(),
                            uri)
                    .ok();
            Tools.run("qemu-img", "compare", "-f", "raw", "-F", "raw", source.toString(), uri).ok();
            Tools.run("qemu-img", "convert", "-f", "raw", "-O", "qcow2", uri, copy.toString()).ok();
            Tools.run("qemu-img", "compare", "-f", "raw", "-F", "qcow2", uri, copy.toString()).ok();
        }
        assertEquals(Image.sha256(source), Image.sha256(image));
    }

    @Test
    void qemuImgSeesSizeAndMap() throws IOException {
        Image.fill(image, MIB, 65536, 1);
        try (var _ = serving("")) {
            JsonNode info = JSON.readTree(Tools.run("qemu-img", "info", "--output=json", uri).ok());
            assertEquals(SIZE, info.get("virtual-size").asLong());
            JsonNode map =
                    JSON.readTree(
                            Tools.run("qemu-img", "map", "--output=json", "-f", "raw", uri).ok());
            assertEquals(3, map.size(), map::toString);
            assertEquals(MIB, map.get(1).get("start").asLong());
            assertEquals(65536, map.get(1).get("length").asLong());
            assertTrue(map.get(1).get("data").asBoolean());
            assertTrue(map.get(0).get("zero").asBoolean() && map.get(2).get("zero").asBoolean());
        }
    }

    @Test
    void qemuIoReadsWhatItWroteInAnyOrder() throws IOException {
        try (var _ = serving(",writable=on")) {
            var command = new java.util.ArrayList<>(List.of("qemu-io", "-f", "raw"));
            for (String step :
                    List.of(
                            "write -P 0x11 0 1M",
                            "write -f -P 0x22 1M 64k",
                            "aio_write -P 0x33 2M 1M",
                            "aio_write -P 0x44 3M 1M",
                            "aio_write -P 0x55 4M 4M",
                            "aio_flush",
                            "read -P 0x11 0 1M",
                            "read -P 0x22 1M 64k",
                            "aio_read -P 0x33 2M 1M",
                            "aio_read -P 0x44 3M 1M",
                            "aio_read -P 0x55 4M 4M",
                            "aio_flush",
                            "write -z -u 4M 1M",
                            "read -P 0 4M 1M",
                            "read -P 0x55 5M 3M",
                            "write -z 0 64k",
                            "read -P 0 0 64k",
                            "read -P 0x11 64k 960k",
                            "discard 2M 2M",
                            "writev -P 0x66 8M 4k 8k 512 512",
                            "readv -P 0x66 8M 1k 8k 4k",
                            "write -P 0x77 16777215 3",
                            "read -P 0x77 16777215 3",
                            "read -P 0 16777218 1k",
                            "flush")) {
                command.addAll(List.of("-c", step));
            }
            command.add(uri);
            String output = Tools.run(command).ok();
            assertTrue(!output.contains("failed") && !output.contains("Pattern"), output);
        }
    }

    @Test
    void aReadOnlyExportIsNotOpenedForWriting() throws IOException {
        try (var _ = serving("")) {
            String output = Tools.run("qemu-io", "-f", "raw", "-c", "write 0 512", uri).failed();
            assertTrue(output.contains("Permission denied"), output);
        }
    }

    @ParameterizedTest(name = "fio, depth {0}")
    @ValueSource(ints = {1, 16})
    void fioVerifiesWhatItWrote(int depth) throws IOException {
        try (var _ = serving(",writable=on")) {
            Tools.run(
                            "fio",
                            "--name=verify",
                            "--verify_state_save=0",
                            "--ioengine=nbd",
                            "--uri=" + uri,
                            "--rw=randwrite",
                            "--bsrange=512-128k",
                            "--iodepth=" + depth,
                            "--verify=crc32c",
                            "--verify_fatal=1",
                            "--verify_backlog=64",
                            "--size=" + SIZE,
                            "--output-format=terse")
                    .ok();
        }
    }

    /**
     * What opens the image with a format on top, as a virtual machine does, does not share writing.
     */
    @Test
    void qemuMayNotOpenForItselfWhatWeWrite() throws IOException {
        Path disk = directory.resolve("disk.qcow2");
        String name = disk.toString();
        Tools.run("qemu-img", "create", "-f", "qcow2", name, "16M").ok();
        try (var _ = Daemon.serving(directory, socket, disk, ",writable=on")) {
            for (List<String> command :
                    List.of(
                            List.of("qemu-img", "info", name),
                            List.of("qemu-img", "convert", "-O", "raw", name, name + ".raw"),
                            List.of("qemu-img", "snapshot", "-c", "s", name),
                            List.of("qemu-io", "-f", "qcow2", "-c", "write 0 512", name))) {
                String output = Tools.run(command).failed();
                // Which of the two depends on whether the size is shared: QEMU's export does not.
                assertTrue(
                        output.contains("Failed to get shared \"write\" lock")
                                || output.contains("Failed to get \"resize\" lock"),
                        output);
                assertTrue(
                        output.contains("Is another process using the image [" + name + "]?"),
                        output);
            }
            Tools.run("qemu-img", "info", "--force-share", name).ok();
        }
        Tools.run("qemu-img", "info", name).ok();
    }

    @Test
    void whatQemuWritesWeDoNotOpen() throws IOException, InterruptedException {
        Path disk = directory.resolve("disk.qcow2");
        Tools.run("qemu-img", "create", "-f", "qcow2", disk.toString(), "16M").ok();
        Path other = directory.resolve("other");
        Process holder =
                Tools.builder(
                                List.of(
                                        "qemu-nbd",
                                        "--persistent",
                                        "--format=qcow2",
                                        "--socket=" + other,
                                        disk.toString()))
                        .start();
        try {
            Waiting.until(() -> java.nio.file.Files.exists(other), () -> "qemu-nbd");
            Tools.Result result =
                    Tools.run(
                            Daemon.PROGRAM,
                            "--blockdev",
                            "driver=file,node-name=disk,filename=" + disk,
                            "--nbd-server",
                            "addr.type=unix,addr.path=" + socket,
                            "--export",
                            "nbd,id=e,node-name=disk,writable=on");
            assertEquals(1, result.status(), result::toString);
            assertTrue(result.stderr().contains("Failed to get \"write\" lock"), result.stderr());
        } finally {
            holder.destroy();
            holder.waitFor();
        }
    }
}

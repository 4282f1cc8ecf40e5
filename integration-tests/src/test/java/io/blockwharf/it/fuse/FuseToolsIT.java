package io.blockwharf.it.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Programs that nobody here wrote use the file, whichever way their requests take. */
class FuseToolsIT {
    private static final long SIZE = 64 << 20;

    @TempDir static Path directory;
    private static Way.Daemons daemons;

    private FuseDaemon daemon;
    private String node;
    private Path file;

    @BeforeAll
    static void open() throws IOException {
        daemons = new Way.Daemons(directory);
    }

    @AfterAll
    static void close() throws IOException {
        daemons.close();
    }

    private void mount(Way way, String options) throws IOException {
        daemon = daemons.get(way);
        node = daemon.node(SIZE, ", 'discard': 'unmap'");
        file = daemon.export(node, node + ".mnt", ", 'writable': true" + options);
    }

    private void unmount() throws IOException {
        daemon.remove(file, "safe");
        daemon.execute("blockdev-del", "{'node-name': '%s'}".formatted(node));
    }

    private String image() {
        return daemon.image(node).toString();
    }

    /** Verification by fio, where QEMU's daemon returns wrong blocks from depth 8 on. */
    @ParameterizedTest(name = "{0} {1} direct={2} depth {3} growable={4}")
    @CsvSource(
            textBlock =
                    """
                    DEVICE,      libaio, 1, 16, false
                    DEVICE,      libaio, 1,  1, false
                    DEVICE,      libaio, 0,  8, false
                    DEVICE,      mmap,   0,  1, false
                    DEVICE,      psync,  0,  1, true
                    PASSTHROUGH, libaio, 1, 16, false
                    PASSTHROUGH, libaio, 1, 16, true
                    PASSTHROUGH, libaio, 0,  8, true
                    PASSTHROUGH, mmap,   0,  1, true
                    PASSTHROUGH, mmap,   0,  1, false
                    RINGS,       libaio, 1, 16, false
                    RINGS,       libaio, 0,  8, false
                    RINGS,       mmap,   0,  1, false
                    """)
    void fioVerifies(Way way, String engine, int direct, int depth, boolean growable)
            throws IOException {
        mount(way, ", 'growable': " + growable);
        Program.run(
                        "fio",
                        "--name=verify",
                        "--verify_state_save=0",
                        "--filename=" + file,
                        "--rw=randwrite",
                        "--bs=4k",
                        "--size=16m",
                        // Two jobs with mmap do not even verify on a plain file (fio 3.33).
                        "--numjobs=" + (engine.equals("mmap") ? 1 : 2),
                        "--offset_increment=32m",
                        "--ioengine=" + engine,
                        "--direct=" + direct,
                        "--iodepth=" + depth,
                        "--verify=crc32c",
                        "--verify_fatal=1")
                .ok();
        Program.run("cmp", file.toString(), image()).ok();
        unmount();
    }

    @ParameterizedTest
    @EnumSource
    void dd(Way way) throws IOException {
        mount(way, "");
        Path data = daemon.image("data");
        Program.run("dd", "if=/dev/urandom", "of=" + data, "bs=1M", "count=64").ok();
        Program.run("dd", "if=" + data, "of=" + file, "bs=384K", "conv=notrunc,fsync").ok();
        Program.run("cmp", data.toString(), image()).ok();
        Program.run("dd", "if=" + file, "of=" + data, "bs=4M", "iflag=direct").ok();
        Program.run("cmp", data.toString(), image()).ok();
        String full =
                Program.run("dd", "if=" + data, "of=" + file, "bs=1M", "seek=60", "conv=notrunc")
                        .failed();
        assertTrue(full.contains("No space left on device"), full);
        assertTrue(full.contains("4+0 records out"), full);
        Files.delete(data);
        unmount();
    }

    @ParameterizedTest
    @EnumSource
    void growth(Way way) throws IOException {
        mount(way, ", 'growable': true");
        Program.run(
                        "dd",
                        "if=/dev/urandom",
                        "of=" + file,
                        "bs=1M",
                        "seek=70",
                        "count=10",
                        "conv=notrunc")
                .ok();
        assertEquals(80 << 20, Files.size(file));
        Program.run("cmp", file.toString(), image()).ok();
        Program.run("bash", "-c", "echo appended >> " + file).ok();
        assertTrue(Files.size(file) > 80 << 20);
        Program.run("truncate", "-s", "64M", file.toString()).ok();
        assertEquals(SIZE, Files.size(file));
        assertEquals(SIZE, Files.size(Path.of(image())));
        unmount();
    }

    @ParameterizedTest
    @EnumSource
    void holes(Way way) throws IOException {
        mount(way, "");
        Program.run("bash", "-c", "head -c 1M /dev/urandom | dd bs=1M conv=notrunc of=" + file)
                .ok();
        Path copy = daemon.image("copy");
        Program.run("cp", "--sparse=auto", file.toString(), copy.toString()).ok();
        Program.run("cmp", file.toString(), copy.toString()).ok();
        long kilobytes =
                Long.parseLong(Program.run("du", "-k", copy.toString()).ok().split("\t")[0]);
        assertTrue(kilobytes < 8192, kilobytes + " KiB of 64 MiB");
        Files.delete(copy);

        Program.run("fallocate", "-p", "-o", "0", "-l", "512K", file.toString()).ok();
        assertTrue(Program.run("cmp", "-n", "524288", file.toString(), "/dev/zero").status() == 0);
        Program.run("fallocate", "-z", "-o", "512K", "-l", "4K", file.toString()).ok();
        Program.run("fallocate", "-o", "64M", "-l", "1M", file.toString()).ok();
        assertEquals(65 << 20, Files.size(file));
        assertTrue(
                Program.run("fallocate", "-x", "-o", "0", "-l", "1M", file.toString()).status()
                        == 0,
                "posix_fallocate writes where nothing can be preallocated");
        assertTrue(
                Program.run("fallocate", "-c", "-o", "0", "-l", "1M", file.toString())
                        .failed()
                        .contains("not supported"));
        unmount();
    }

    @ParameterizedTest
    @EnumSource
    void aFileSystemInside(Way way) throws IOException {
        mount(way, "");
        String loop = Program.run("losetup", "-f", "--show", file.toString()).ok().strip();
        try {
            assertEquals(
                    "export '" + file.getFileName() + "' still in use",
                    daemon.refused(
                            "block-export-del", "{'id': '%s'}".formatted(file.getFileName())));
            Program.run("mkfs.ext4", "-q", loop).ok();
            Path inside = Files.createDirectories(directory.resolve("inside"));
            Program.run("mount", loop, inside.toString()).ok();
            try {
                Program.run("cp", "-r", "/usr/share/doc/fio", inside.toString()).ok();
                Program.run("sync").ok();
                Program.run("diff", "-r", "/usr/share/doc/fio", inside + "/fio").ok();
            } finally {
                Program.run("umount", inside.toString()).ok();
            }
            Program.run("e2fsck", "-fn", loop).ok();
        } finally {
            Program.run("losetup", "-d", loop).ok();
        }
        // The kernel lets go of a loop device's file some time later.
        FuseDaemon.until(
                () -> !Program.run("losetup", "-j", file.toString()).output().contains(loop + ":"));
        Program.run("e2fsck", "-fn", image()).ok();
        daemon.remove(file, "hard");
        daemon.execute("blockdev-del", "{'node-name': '%s'}".formatted(node));
    }

    @ParameterizedTest
    @EnumSource
    void qemuTools(Way way) throws IOException {
        mount(way, ", 'growable': true");
        Program.run(
                        "qemu-io",
                        "-f",
                        "raw",
                        "-c",
                        "write -P 0x5a 1M 3M",
                        "-c",
                        "write -z -u 2M 64k",
                        "-c",
                        "discard 3M 64k",
                        "-c",
                        "flush",
                        "-c",
                        "read -P 0x5a 1M 1M",
                        "-c",
                        "read -P 0 2M 64k",
                        file.toString())
                .ok();
        Program.run("qemu-img", "compare", "-f", "raw", "-F", "raw", file.toString(), image()).ok();
        Path copy = daemon.image("copy");
        Program.run(
                        "qemu-img",
                        "convert",
                        "-t",
                        "none",
                        "-T",
                        "none",
                        "-f",
                        "raw",
                        "-O",
                        "raw",
                        file.toString(),
                        copy.toString())
                .ok();
        Program.run("cmp", file.toString(), copy.toString()).ok();

        // A qcow2 image in the file, which grows with it.
        Program.run(
                        "qemu-img",
                        "convert",
                        "-n",
                        "-f",
                        "raw",
                        "-O",
                        "raw",
                        copy.toString(),
                        file.toString())
                .ok();
        Program.run("truncate", "-s", "0", file.toString()).ok();
        Program.run("qemu-img", "create", "-f", "qcow2", file.toString(), "1G").ok();
        Program.run(
                        "qemu-io",
                        "-f",
                        "qcow2",
                        "-c",
                        "write -P 0x77 500M 8M",
                        "-c",
                        "read -P 0x77 500M 8M",
                        file.toString())
                .ok();
        Program.run("qemu-img", "check", "-f", "qcow2", file.toString()).ok();
        Files.delete(copy);
        unmount();
    }
}

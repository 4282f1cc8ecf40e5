package io.blockwharf.it.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;

/** Options, errors, and every way in which an export can end. */
class FuseLifeIT {
    private static final long SIZE = 1 << 20;

    @TempDir static Path directory;
    private static FuseDaemon daemon;

    @BeforeAll
    static void start() throws IOException {
        // Other users have to get to the mountpoints.
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxr-xr-x"));
        daemon = FuseDaemon.start(directory);
    }

    @AfterAll
    static void end() throws IOException {
        daemon.close();
    }

    /** qemu-behaviour of block/export/fuse.c: the options and the messages. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    'id': 'e'                                          | Parameter 'mountpoint' is missing
                    'id': 'e', 'mountpoint': 5                         | Invalid parameter type for 'mountpoint', expected: string
                    'id': 'e', 'mountpoint': '/nowhere'                | Failed to stat '/nowhere': No such file or directory
                    'id': 'e', 'mountpoint': '/tmp'                    | '/tmp' is not a regular file
                    'id': 'e', 'mountpoint': '/dev/null'               | '/dev/null' is not a regular file
                    'id': 'e', 'mountpoint': '/x', 'growable': 'yes'   | Invalid parameter type for 'growable', expected: boolean
                    'id': 'e', 'mountpoint': '/x', 'allow-other': 'no' | Parameter 'allow-other' does not accept value 'no'
                    'id': 'e', 'mountpoint': '/x', 'queues': 2         | Parameter 'queues' is unexpected
                    """)
    void errors(String members, String message) throws IOException {
        String node = daemon.node(SIZE, "");
        String arguments = "{'type': 'fuse', 'node-name': '%s', %s}".formatted(node, members);
        assertEquals(
                message.replace('\'', '"'),
                daemon.refused("block-export-add", arguments).replace('\'', '"'));
        daemon.execute("blockdev-del", "{'node-name': '%s'}".formatted(node));
    }

    @Test
    void oneExportPerMountpoint() throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, "once", "");
        Path link = Files.createSymbolicLink(directory.resolve("twice"), file);
        for (Path path : List.of(file, link)) {
            assertEquals(
                    "There already is a FUSE export on '" + path + "'",
                    daemon.refused(
                            "block-export-add",
                            "{'type': 'fuse', 'id': 'other', 'node-name': '%s', 'mountpoint': '%s'}"
                                    .formatted(node, path)));
        }
        daemon.remove(file, "safe");
        daemon.remove(daemon.export(node, "once", ""), "safe"); // free again
    }

    @Test
    void twoExportsOfOneNodeShowTheSame() throws IOException {
        String node = daemon.node(SIZE, "");
        Path one = daemon.export(node, "one", ", 'writable': true, 'growable': true");
        Path two = daemon.export(node, "two", ", 'writable': true");
        try (var a = new RandomAccessFile(one.toFile(), "rw");
                var b = new RandomAccessFile(two.toFile(), "rw")) {
            for (int i = 0; i < 100; i++) {
                a.seek(i);
                a.write(i);
                b.seek(i);
                assertEquals(i, b.read());
                b.seek(SIZE / 2);
                b.write(i);
                a.seek(SIZE / 2);
                assertEquals(i, a.read());
            }
        }
        Program.run("truncate", "-s", "2M", one.toString()).ok();
        assertEquals(2 << 20, Files.size(two), "the other one sees it at once");
        daemon.remove(one, "safe");
        daemon.remove(two, "safe");
    }

    @Test
    void blockResizeIsSeenAtOnce() throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, "resized", "");
        for (long size : new long[] {2 * SIZE, SIZE / 2, 3 * SIZE, SIZE}) {
            daemon.execute("block_resize", "{'node-name': '%s', 'size': %d}".formatted(node, size));
            assertEquals(size, Files.size(file));
        }
        daemon.remove(file, "safe");
    }

    @Test
    void iothreads() throws IOException {
        daemon.execute("object-add", "{'qom-type': 'iothread', 'id': 'a'}");
        daemon.execute("object-add", "{'qom-type': 'iothread', 'id': 'b'}");
        String node = daemon.node(SIZE, "");
        Path one = daemon.export(node, "onethread", ", 'writable': true, 'iothread': 'a'");
        Path two = daemon.export(node, "twothreads", ", 'writable': true, 'iothread': ['a', 'b']");
        for (Path file : List.of(one, two)) {
            Program.run("dd", "if=/dev/urandom", "of=" + file, "bs=64K", "count=16", "conv=notrunc")
                    .ok();
            Program.run("cmp", file.toString(), daemon.image(node).toString()).ok();
        }
        daemon.remove(one, "safe");
        daemon.remove(two, "hard");
        daemon.execute("object-del", "{'id': 'a'}");
        daemon.execute("object-del", "{'id': 'b'}");
    }

    @Test
    void readOnlyExports() throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, "readonly", "");
        assertEquals(SIZE, Files.readAllBytes(file).length);
        for (String command : List.of("echo >> ", "chmod 666 ", "truncate -s 0 ")) {
            String output = Program.run("bash", "-c", command + file).failed();
            assertTrue(output.contains("Read-only file system"), output);
        }
        daemon.remove(file, "safe");
    }

    @ParameterizedTest
    @CsvSource({"auto, true", "on, true", "off, false"})
    void otherUsers(String allowOther, boolean allowed) throws IOException {
        String node = daemon.node(SIZE, "");
        Path file =
                daemon.export(
                        node,
                        "shared-" + allowOther,
                        ", 'writable': true, 'allow-other': '" + allowOther + "'");
        String[] asOther = {
            "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "cat", file.toString()
        };
        String denied = Program.run(asOther).failed();
        assertTrue(denied.contains("Permission denied"), denied);
        Program chmod = Program.run("chmod", "644", file.toString());
        assertEquals(allowed, chmod.status() == 0, chmod.output());
        assertEquals(allowed, Program.run(asOther).status() == 0);
        daemon.remove(file, "safe");
    }

    @Test
    void safeRemovalRefusesWhileOpen() throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, "open", "");
        try (var _ = new RandomAccessFile(file.toFile(), "r")) {
            assertEquals(
                    "export 'open' still in use",
                    daemon.refused("block-export-del", "{'id': 'open'}"));
            assertEquals(0, daemon.deletions("open"));
        }
        daemon.remove(file, "safe");
        assertEquals(1, daemon.deletions("open"));
        assertEquals(0, Files.size(file), "the mountpoint is an empty file again");
    }

    /** With {@code growable} the kernel does without the daemon until the export ends. */
    @ParameterizedTest
    @CsvSource({"false", "true"})
    void hardRemovalDisconnects(boolean growable) throws IOException {
        String node = daemon.node(SIZE, "");
        String id = "hard-" + growable;
        Path file = daemon.export(node, id, ", 'writable': true, 'growable': " + growable);
        var open = new RandomAccessFile(file.toFile(), "rw");
        open.write(1);
        daemon.remove(file, "hard");
        assertEquals(
                "Input/output error",
                assertThrows(IOException.class, () -> open.write(2)).getMessage());
        assertThrows(IOException.class, open::close);
        assertEquals(1, daemon.deletions(id));
        assertEquals(0, Files.readAllBytes(daemon.image(node))[1], "nothing was written");
    }

    @Test
    void unmountingEndsTheExport() throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, "unmounted", "");
        Program.run("umount", file.toString()).ok();
        FuseDaemon.until(() -> daemon.deletions("unmounted") == 1);
        daemon.remove(daemon.export(node, "unmounted", ""), "safe");
    }

    @Test
    void anExportEndsWhereItsDirectoryWasRenamedTo() throws IOException {
        String node = daemon.node(SIZE, "");
        Path before = Files.createDirectory(directory.resolve("before"));
        Path after = directory.resolve("after");
        Path file = Files.createFile(before.resolve("file"));
        daemon.execute("block-export-add", FuseDaemon.arguments(node, file, ""));
        Files.move(before, after);
        daemon.remove(file, "safe");
        assertFalse(FuseDaemon.isMounted(after.resolve("file")));
        assertEquals(0, Files.size(after.resolve("file")));
    }

    /** What cannot be unmounted is at least over, for who has it open, too. */
    @ParameterizedTest
    @CsvSource({"covered, mount --bind /dev/null, umount", "lazily, umount -l, true"})
    void anExportOutOfReachEnds(String id, String hide, String show) throws IOException {
        String node = daemon.node(SIZE, "");
        Path file = daemon.export(node, id, ", 'writable': true");
        var open = new RandomAccessFile(file.toFile(), "rw");
        open.write(1);
        Program.run("bash", "-c", hide + " " + file).ok();
        daemon.execute("block-export-del", "{'id': '%s', 'mode': 'hard'}".formatted(id));
        FuseDaemon.until(() -> daemon.deletions(id) == 1);
        assertThrows(IOException.class, () -> open.write(2));
        assertThrows(IOException.class, open::close);
        Program.run("bash", "-c", show + " " + file).ok();
        if (FuseDaemon.isMounted(file)) { // the connection is over, as after kill -9
            String gone = Program.run("stat", file.toString()).failed();
            assertTrue(gone.contains("Transport endpoint is not connected"), gone);
            Program.run("umount", file.toString()).ok();
        }
        assertEquals(0, Files.size(file));
    }

    @Test
    void theEndOfTheDaemonUnmounts(@TempDir Path own) throws IOException {
        Path file;
        RandomAccessFile open;
        try (FuseDaemon other = FuseDaemon.start(own)) {
            file = other.export(other.node(SIZE, ""), "file", ", 'writable': true");
            open = new RandomAccessFile(file.toFile(), "rw");
            open.write(1);
        } // SIGTERM; demands exit status 0
        assertFalse(FuseDaemon.isMounted(file));
        assertThrows(IOException.class, open::close);
    }

    @Test
    void theMountOfAKilledDaemonIsExplained(@TempDir Path own) throws IOException {
        FuseDaemon other = FuseDaemon.start(own);
        Path file = other.export(other.node(SIZE, ""), "file", "");
        other.process().destroyForcibly();
        other.awaitEnd();
        assertTrue(FuseDaemon.isMounted(file));
        String node = daemon.node(SIZE, "");
        assertEquals(
                "Failed to stat '"
                        + file
                        + "': Transport endpoint is not connected (a FUSE server that has died left"
                        + " its mount there: unmount it with 'umount' or 'fusermount3 -u')",
                daemon.refused("block-export-add", FuseDaemon.arguments(node, file, "")));
        Program.run("umount", file.toString()).ok();
        other.close();
        daemon.execute("block-export-add", FuseDaemon.arguments(node, file, ""));
        assertEquals(SIZE, Files.size(file));
        daemon.remove(file, "safe");
    }

    /** A copy of the distribution, so that its folder of drivers can be emptied. */
    @Test
    void theEndOfTheBundleUnmounts(@TempDir Path own) throws IOException {
        Path home = own.resolve("home");
        Program.run(
                        "cp",
                        "-r",
                        FuseDaemon.program().getParent().getParent().toString(),
                        home.toString())
                .ok();
        try (FuseDaemon other =
                FuseDaemon.start(own, List.of(home.resolve("bin/blockwharf").toString()))) {
            String node = other.node(SIZE, "");
            Path file = other.export(node, "file", ", 'writable': true");
            Files.delete(home.resolve("drivers/io.blockwharf.fuse.jar"));
            FuseDaemon.until(() -> !FuseDaemon.isMounted(file));
            FuseDaemon.until(() -> other.deletions("file") == 1);
            assertEquals(
                    "Parameter 'type' does not accept value 'fuse'",
                    other.refused("block-export-add", FuseDaemon.arguments(node, file, "")));
        }
    }

    @Test
    void aWarningIsOneLineLikeAllOthers(@TempDir Path own) throws IOException {
        Path log = own.resolve("log");
        try (var _ = FuseDaemon.start(own, "io.blockwharf.fuse.threads=many")) {
            FuseDaemon.until(() -> Files.readString(log).endsWith("instead\n"));
        }
        String warning =
                "blockwharf: io\\.blockwharf\\.fuse: cannot use threads=many, [2-4] is taken"
                        + " instead\n";
        assertTrue(Files.readString(log).matches(warning), warning);
    }

    /** A daemon of somebody who may not mount: by fusermount3. */
    @Test
    void unprivileged(@TempDir Path own) throws IOException {
        Program.run("chown", "-R", "65534:65534", own.toString()).ok();
        Path device = Path.of("/dev/fuse");
        var before = Files.getPosixFilePermissions(device);
        Files.setPosixFilePermissions(device, PosixFilePermissions.fromString("rw-rw-rw-"));
        List<String> asNobody =
                List.of(
                        "setpriv",
                        "--reuid=65534",
                        "--regid=65534",
                        "--clear-groups",
                        FuseDaemon.program().toString());
        try (FuseDaemon other = FuseDaemon.start(own, asNobody)) {
            Path file = other.export(other.node(SIZE, ""), "file", "");
            String[] read = {
                "setpriv",
                "--reuid=65534",
                "--regid=65534",
                "--clear-groups",
                "cat",
                file.toString()
            };
            assertEquals(SIZE, Program.run(read).ok().length());
            String denied = Program.run("cat", file.toString()).failed();
            assertTrue(denied.contains("Permission denied"), "not even root: " + denied);
            other.remove(file, "safe");
        } finally {
            Files.setPosixFilePermissions(device, before);
        }
    }
}

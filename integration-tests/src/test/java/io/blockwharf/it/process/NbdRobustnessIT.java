package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * Clients that die, stall, flood or lie, and disks that are full: the others are served all the
 * same.
 */
class NbdRobustnessIT {
    private static final int GREETING_BYTES = 18; // proto.md, "Newstyle negotiation"
    private static final int THREADS = 100;
    private static final byte[] CLIENT_FLAGS = {0, 0, 0, 3};

    @TempDir Path directory;
    private Path socket;
    private Path image;
    private String uri;

    @BeforeEach
    void image() throws IOException {
        socket = directory.resolve("s");
        image = Image.sparse(directory.resolve("image"), 64 * MIB);
        uri = "nbd+unix:///disk?socket=" + socket;
    }

    private Daemon serving(String serverOptions, String exportOptions) throws IOException {
        return Daemon.start(
                directory, options(serverOptions, exportOptions).toArray(String[]::new));
    }

    private List<String> options(String serverOptions, String exportOptions) {
        return List.of(
                "--blockdev",
                "driver=file,node-name=disk,discard=unmap,filename=" + image,
                "--chardev",
                "socket,id=mon,server=on,wait=off,path=" + directory.resolve("qmp"),
                "--monitor",
                "mon",
                "--nbd-server",
                "addr.type=unix,addr.path=" + socket + serverOptions,
                "--export",
                "type=nbd,id=e,node-name=disk,writable=on" + exportOptions);
    }

    private void assertServes() {
        assertEquals(Long.toString(64 * MIB), Tools.run("nbdinfo", "--size", uri).ok().strip());
        Tools.run(
                        "qemu-io",
                        "-f",
                        "raw",
                        "-c",
                        "write -P 9 63M 64k",
                        "-c",
                        "read -P 9 63M 64k",
                        uri)
                .ok();
    }

    @Test
    void aClientKilledInTheMiddleOfWritesLeavesAServerThatServes()
            throws IOException, InterruptedException {
        try (var daemon = serving("", "");
                var qmp = QmpClient.unix(directory.resolve("qmp"))) {
            for (int i = 0; i < 3; i++) {
                Process client =
                        Tools.builder(
                                        List.of(
                                                "fio",
                                                "--name=w",
                                                "--ioengine=nbd",
                                                "--uri=" + uri,
                                                "--rw=randwrite",
                                                "--bs=128k",
                                                "--iodepth=64",
                                                "--size=60M",
                                                "--time_based",
                                                "--runtime=600",
                                                "--thread"))
                                .redirectErrorStream(true)
                                .redirectOutput(directory.resolve("fio").toFile())
                                .start();
                long written = writtenBytes(daemon);
                Waiting.until(
                        () -> writtenBytes(daemon) > written + 32 * MIB, () -> "fio to write");
                client.destroyForcibly().waitFor();
            }
            assertServes();
            // No client is left that would keep the export from being removed.
            Waiting.until(
                    () ->
                            !qmp.call(
                                            "{\"execute\": \"block-export-del\", \"arguments\":"
                                                    + " {\"id\": \"e\"}}")
                                    .has("error"),
                    () -> "the dead clients to be forgotten");
            qmp.event("BLOCK_EXPORT_DELETED");
        }
    }

    /** What the process has passed to write calls, proc(5). */
    private static long writtenBytes(Daemon daemon) throws IOException {
        return Files.readString(Path.of("/proc", Long.toString(daemon.pid()), "io"))
                .lines()
                .filter(line -> line.startsWith("wchar"))
                .mapToLong(line -> Long.parseLong(line.substring(7)))
                .sum();
    }

    /**
     * The acceptance of a connection, the client's flags, an option: a client may go away after
     * each.
     */
    @Test
    void twoHundredConnectionsThatAreDroppedLeaveNothingBehind() throws IOException {
        try (var daemon = serving("", "")) {
            assertServes();
            long before = daemon.descriptors();
            for (int i = 0; i < 200; i++) {
                try (SocketChannel channel = QmpClient.unixChannel(socket)) {
                    if (i % 4 > 0) {
                        receive(channel, GREETING_BYTES);
                    }
                    if (i % 4 > 1) {
                        channel.write(ByteBuffer.wrap(CLIENT_FLAGS));
                    }
                    if (i % 4 > 2) { // an option whose data never comes
                        channel.write(option(7, 1000));
                    }
                }
            }
            assertServes();
            Waiting.until(() -> daemon.descriptors() <= before + 2, () -> before + " descriptors");
        }
    }

    @Test
    void twoHundredConnectionsAtTheSameTimeAreServedOneAfterTheOther() throws IOException {
        try (var _ = serving(",max-connections=10", "")) {
            var channels = new ArrayList<SocketChannel>();
            try {
                for (int i = 0; i < 200; i++) {
                    var channel = QmpClient.unixChannel(socket);
                    channels.add(channel);
                    if (i < 10) {
                        receive(channel, GREETING_BYTES);
                    } else {
                        // Ten are in; each that leaves lets the next one in.
                        channels.get(i - 10).close();
                        receive(channel, GREETING_BYTES);
                    }
                }
            } finally {
                for (SocketChannel channel : channels) {
                    channel.close();
                }
            }
            assertServes();
        }
    }

    /** Whoever gets none is sent away; when others have left, there are threads again. */
    @Test
    void threadsThatRunOutEndNobodyElse() throws IOException {
        assumeFalse(Daemon.REFERENCE, "has no threads for clients");
        assumeTrue("root".equals(System.getProperty("user.name")), "root has no limit, others do");
        List<String> command =
                new ArrayList<>(
                        List.of(
                                "prlimit",
                                "--nproc=" + THREADS,
                                "setpriv",
                                "--reuid=54321",
                                "--clear-groups",
                                "--inh-caps=+dac_override",
                                "--ambient-caps=+dac_override",
                                Daemon.PROGRAM));
        command.addAll(options(",max-connections=0", ""));
        try (var daemon = Daemon.launch(directory, command)) {
            assertServes();
            var channels = new ArrayList<SocketChannel>();
            try {
                boolean greeted = true;
                while (greeted) {
                    SocketChannel channel = QmpClient.unixChannel(socket);
                    channels.add(channel);
                    greeted = channel.read(ByteBuffer.allocate(GREETING_BYTES)) > 0;
                }
            } finally {
                for (SocketChannel channel : channels) {
                    channel.close();
                }
            }
            Waiting.until(() -> threads(daemon) < THREADS / 2, () -> "the threads of clients");
            assertServes();
        }
    }

    private static long threads(Daemon daemon) throws IOException {
        try (var tasks = Files.list(Path.of("/proc", Long.toString(daemon.pid()), "task"))) {
            return tasks.count();
        }
    }

    /** QEMU 7.2 has no option for the time: there it is ten seconds. */
    @Test
    void aClientThatNeverFinishesTheHandshakeIsDropped() throws IOException {
        try (var _ = serving(Daemon.REFERENCE ? "" : ",handshake-max-seconds=1", "");
                var silent = QmpClient.unixChannel(socket);
                var halfWay = QmpClient.unixChannel(socket)) {
            receive(halfWay, GREETING_BYTES);
            halfWay.write(ByteBuffer.wrap(CLIENT_FLAGS));
            halfWay.write(option(7, 1000));
            receive(silent, GREETING_BYTES);
            assertEnd(silent);
            assertEnd(halfWay);
            assertServes();
        }
    }

    @ParameterizedTest(name = "{0}")
    @ValueSource(
            strings = {
                "ffffffff", // flags that do not exist
                "00000003 0000000000000000 00000007 00000000", // a wrong option magic
                "00000003 49484156454F5054 00000007 7fffffff", // data that nobody would buffer
                "00000003 49484156454F5054 00000007 ffffffff",
                "00000003 49484156454F5054 0000000a 00000004 ffffffff", // a name longer than its
                // option
                "00000003 49484156454F5054 00000001 00000003 787878", // EXPORT_NAME of what is not
                // there
            })
    void aClientThatBreaksTheProtocolHarmsOnlyItself(String hex) throws IOException {
        try (var _ = serving("", "");
                var channel = QmpClient.unixChannel(socket)) {
            receive(channel, GREETING_BYTES);
            channel.write(ByteBuffer.wrap(java.util.HexFormat.of().parseHex(hex.replace(" ", ""))));
            assertServes();
        }
    }

    /** proto.md, "Request message": without the magic the stream has no meaning any more. */
    @Test
    void aRequestWithoutItsMagicEndsTheConnection() throws IOException {
        try (var _ = serving("", "");
                var channel = QmpClient.unixChannel(socket)) {
            receive(channel, GREETING_BYTES);
            channel.write(ByteBuffer.wrap(CLIENT_FLAGS));
            var name = ByteBuffer.allocate(16 + 4).putLong(0x49484156454F5054L).putInt(1).putInt(4);
            channel.write(name.put(new byte[] {'d', 'i', 's', 'k'}).flip()); // EXPORT_NAME
            receive(channel, 10); // size and transmission flags
            channel.write(ByteBuffer.allocate(28));
            assertEnd(channel);
            assertServes();
        }
    }

    /**
     * A tmpfs of 4 MiB under an image of 64: the client sees ENOSPC, and when there is room again,
     * none.
     */
    @Test
    void aFullDiskIsTheClientsErrorAndNotTheDaemonsEnd() throws IOException {
        assumeTrue("root".equals(System.getProperty("user.name")), "mount needs root");
        Path mount = Files.createDirectory(directory.resolve("mount"));
        Tools.run("mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", mount.toString()).ok();
        try {
            image = Image.sparse(mount.resolve("image"), 64 * MIB);
            try (var _ = serving("", "")) {
                Tools.nbdsh(
                        """
                        M = 1 << 20
                        h.connect_uri("%s")
                        written = 0
                        try:
                            while written < 16:
                                h.pwrite(b"x" * M, written * M)
                                written += 1
                        except nbd.Error as e:
                            assert e.errno == "ENOSPC", e.errno
                        assert 1 <= written <= 4, written
                        assert h.pread(M, 0) == b"x" * M
                        assert h.pread(M, 32 * M) == bytes(M)
                        h.trim(written * M, 0)
                        h.pwrite(b"y" * M, 48 * M)
                        h.flush()
                        assert h.pread(M, 48 * M) == b"y" * M
                        assert h.pread(M, 0) == bytes(M)
                        h.shutdown()
                        """
                                .formatted(uri));
                Tools.run("nbdinfo", "--size", uri).ok();
            }
        } finally {
            Tools.run("umount", mount.toString()).ok();
        }
    }

    /** Reads nothing of what it asked for until the end; others must not wait for it. */
    @Test
    void aClientThatDoesNotReadItsRepliesStopsNobodyElse() throws IOException {
        try (var _ = serving("", "");
                var channel = QmpClient.unixChannel(socket)) {
            receive(channel, GREETING_BYTES);
            channel.write(ByteBuffer.wrap(CLIENT_FLAGS));
            var name = ByteBuffer.allocate(16 + 4).putLong(0x49484156454F5054L).putInt(1).putInt(4);
            channel.write(name.put(new byte[] {'d', 'i', 's', 'k'}).flip());
            receive(channel, 10);
            channel.configureBlocking(false);
            var request = ByteBuffer.allocate(28);
            request.putInt(0x25609513)
                    .putShort((short) 0)
                    .putShort((short) 0)
                    .putLong(1)
                    .putLong(0)
                    .putInt((int) MIB);
            for (int i = 0; i < 16; i++) {
                channel.write(request.rewind());
            }
            assertServes();
        }
    }

    private static ByteBuffer option(int option, int length) {
        return ByteBuffer.allocate(16)
                .putLong(0x49484156454F5054L)
                .putInt(option)
                .putInt(length)
                .flip();
    }

    private static void receive(SocketChannel channel, int length) throws IOException {
        var buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            assertTrue(
                    channel.read(buffer) >= 0,
                    "closed after " + buffer.position() + " of " + length + " bytes");
        }
    }

    /** Reads until the server closes the connection. */
    private static void assertEnd(SocketChannel channel) throws IOException {
        var buffer = ByteBuffer.allocate(4096);
        try {
            while (channel.read(buffer.clear()) >= 0) {}
        } catch (IOException reset) {
            // a server that closes with unread data resets the connection
        }
    }
}

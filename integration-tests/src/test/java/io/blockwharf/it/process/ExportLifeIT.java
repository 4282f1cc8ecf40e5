package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.DisabledIfEnvironmentVariable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.EOFException;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** Exports come and go over QMP while clients are connected (block-export.json). */
class ExportLifeIT {
    @TempDir Path directory;
    private Path socket;
    private Daemon daemon;
    private QmpClient qmp;

    @BeforeEach
    void start() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), 16 * MIB);
        Path monitor = directory.resolve("qmp");
        socket = directory.resolve("s");
        daemon =
                Daemon.start(
                        directory,
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + monitor,
                        "--monitor",
                        "m",
                        "--object",
                        "iothread,id=t",
                        "--blockdev",
                        "driver=file,node-name=disk,filename=" + image,
                        "--blockdev",
                        "null-co,node-name=nothing,size=65536,read-only=on",
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket);
        qmp = QmpClient.unix(monitor);
    }

    @AfterEach
    void stop() throws IOException {
        qmp.close();
        daemon.close();
    }

    private void add(String id, String more) throws IOException {
        qmp.execute(
                "block-export-add",
                "{\"type\": \"nbd\", \"node-name\": \"disk\", \"id\": \"%s\"%s}"
                        .formatted(id, more));
    }

    /** A client in transmission phase: NBD_OPT_EXPORT_NAME, with its size and flags read. */
    private SocketChannel client(String export) {
        try {
            SocketChannel channel = QmpClient.unixChannel(socket);
            receive(channel, 18);
            var hello =
                    ByteBuffer.allocate(20 + export.length())
                            .putInt(3)
                            .putLong(0x49484156454F5054L);
            channel.write(hello.putInt(1).putInt(export.length()).put(export.getBytes()).flip());
            receive(channel, 10);
            return channel;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void receive(SocketChannel channel, int length) throws IOException {
        var buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw new EOFException("closed");
            }
        }
    }

    private List<String> ids() throws IOException {
        var ids = new ArrayList<String>();
        qmp.execute("query-block-exports").forEach(export -> ids.add(export.get("id").asText()));
        return ids;
    }

    @Test
    void theNewestExportIsListedFirst() throws IOException {
        add("a", "");
        add("b", ", \"name\": \"other\"");
        assertEquals(List.of("b", "a"), ids());
        assertEquals(
                QmpClient.json(
                        """
                        {"id": "b", "type": "nbd", "node-name": "disk", "shutting-down": false}
                        """),
                qmp.execute("query-block-exports").get(0));
    }

    @Test
    void anIdleExportIsGoneWhenItsRemovalReturns() throws IOException {
        for (int i = 0; i < 20; i++) {
            add("e", "");
            qmp.execute("block-export-del", "{\"id\": \"e\"}");
            assertEquals(1, qmp.pendingEvents(), "the event comes before the return");
            assertEquals("e", qmp.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
        }
    }

    @Test
    void safeRemovalRefusesWhileAClientIsConnected() throws IOException {
        add("e", "");
        try (var _ = client("disk")) {
            assertEquals(
                    "GenericError: export 'e' still in use",
                    qmp.error("block-export-del", "{\"id\": \"e\"}"));
            assertEquals(
                    "GenericError: export 'e' still in use",
                    qmp.error("block-export-del", "{\"id\": \"e\", \"mode\": \"safe\"}"));
        }
        Waiting.until(
                () ->
                        qmp.call(
                                        "{\"execute\": \"block-export-del\", \"arguments\":"
                                                + " {\"id\": \"e\"}}")
                                .has("return"),
                () -> "the client to be gone");
        qmp.event("BLOCK_EXPORT_DELETED");
    }

    @Test
    void hardRemovalDisconnectsTheClientsOfThatExportOnly() throws IOException {
        add("e", "");
        add("f", ", \"name\": \"other\"");
        try (var gone = client("disk");
                var staying = client("other")) {
            qmp.execute("block-export-del", "{\"id\": \"e\", \"mode\": \"hard\"}");
            assertEquals("e", qmp.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
            assertEquals(-1, gone.read(ByteBuffer.allocate(1)));
            staying.write(request(0));
            receive(staying, 16 + 512);
            assertEquals(List.of("f"), ids());
            add("e", "");
        }
    }

    /** A read of 512 bytes. */
    private static ByteBuffer request(long offset) {
        return ByteBuffer.allocate(28)
                .putInt(0x25609513)
                .putInt(0)
                .putLong(1)
                .putLong(offset)
                .putInt(512)
                .flip();
    }

    @Test
    @DisabledIfEnvironmentVariable(
            named = "BLOCKWHARF_IT_DAEMON",
            matches = ".*qemu-storage-daemon",
            disabledReason = "7.2.22 hangs while a client negotiates")
    void stoppingTheServerEndsItsExportsAndAllClients() throws IOException {
        add("a", "");
        add("b", ", \"name\": \"other\"");
        try (var client = client("disk");
                var negotiating = QmpClient.unixChannel(socket)) {
            receive(negotiating, 18);
            qmp.execute("nbd-server-stop");
            var ended = new ArrayList<String>();
            ended.add(qmp.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
            ended.add(qmp.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
            assertEquals(List.of("a", "b"), ended.stream().sorted().toList());
            assertEquals(-1, client.read(ByteBuffer.allocate(1)));
            assertEquals(-1, negotiating.read(ByteBuffer.allocate(1)));
            assertTrue(Files.notExists(socket));
            assertEquals(
                    "GenericError: NBD server not running", qmp.error("nbd-server-stop", "{}"));
        }
        qmp.execute(
                "nbd-server-start",
                "{\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"%s\"}}}".formatted(socket));
        add("a", "");
        client("disk").close();
    }

    @Test
    void aClientOfAnExportThatIsNotThereIsClosed() throws IOException {
        add("e", "");
        assertThrows(UncheckedIOException.class, () -> client("nope"));
    }

    @Test
    void theDeprecatedCommandsStillWork() throws IOException {
        qmp.execute("nbd-server-add", "{\"device\": \"disk\", \"writable\": true}");
        assertEquals(List.of("disk"), ids());
        client("disk").close();
        qmp.execute("nbd-server-remove", "{\"name\": \"disk\", \"mode\": \"hard\"}");
        qmp.event("BLOCK_EXPORT_DELETED");
        assertEquals(List.of(), ids());
    }

    @Test
    void aNodeThatIsExportedStays() throws IOException {
        add("e", ", \"writable\": true");
        assertTrue(qmp.error("blockdev-del", "{\"node-name\": \"disk\"}").endsWith("is in use"));
        qmp.execute("block-export-del", "{\"id\": \"e\"}");
        qmp.execute("block_resize", "{\"node-name\": \"disk\", \"size\": 1048576}");
        qmp.execute("blockdev-del", "{\"node-name\": \"disk\"}");
        assertEquals(MIB, Files.size(directory.resolve("image")));
    }

    /** QEMU refuses to resize what is exported over NBD; we let new clients see the new size. */
    @Test
    @DisabledIfEnvironmentVariable(
            named = "BLOCKWHARF_IT_DAEMON",
            matches = ".*qemu-storage-daemon",
            disabledReason = "QEMU refuses")
    void aResizeReachesTheNextClient() throws IOException {
        add("e", ", \"writable\": true");
        try (var old = client("disk")) {
            qmp.execute("block_resize", "{\"node-name\": \"disk\", \"size\": 33554432}");
            old.write(request(0));
            receive(old, 16 + 512);
            assertEquals(
                    Long.toString(32 * MIB),
                    Tools.run("nbdinfo", "--size", "nbd+unix:///disk?socket=" + socket)
                            .ok()
                            .strip());
        }
    }

    /** What each wrong command answers, in the order of QEMU's checks. Export e is there. */
    @ParameterizedTest(name = "{0} {1}")
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '`',
            textBlock =
                    """
                    block-export-add | {}                                                        | Parameter 'type' is missing
                    block-export-add | {"type": "nbd"}                                           | Parameter 'id' is missing
                    block-export-add | {"type": "nbd", "id": "x"}                                | Parameter 'node-name' is missing
                    block-export-add | {"type": "nope", "id": "x", "node-name": "disk"}          | Parameter 'type' does not accept value 'nope'
                    block-export-add | {"type": "nbd", "id": "", "node-name": "disk"}            | Invalid block export id
                    block-export-add | {"type": "nbd", "id": "#x", "node-name": "disk"}          | Invalid block export id
                    block-export-add | {"type": "nbd", "id": "e", "node-name": "nope"}           | Block export id 'e' is already in use
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "nope"}           | Cannot find device='' nor node-name='nope'
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "disk"}           | NBD server already has export named 'disk'
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "disk", "bogus": 1} | Parameter 'bogus' is unexpected
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "disk", "iothread": "nope"} | iothread "nope" not found
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "nothing", "writable": true} | Cannot export read-only node as writable
                    block-export-add | {"type": "nbd", "id": "x", "node-name": "disk", "writable": 1} | Invalid parameter type for 'writable', expected: boolean
                    block-export-del | {"id": "nope"}                                            | Export 'nope' is not found
                    block-export-del | {"id": "e", "mode": "nope"}                               | Parameter 'mode' does not accept value 'nope'
                    nbd-server-remove | {"name": "nope"}                                         | Export 'nope' is not found
                    nbd-server-add   | {"device": "nope"}                                        | Cannot find device='nope' nor node-name='nope'
                    nbd-server-start | {"addr": {"type": "unix", "data": {"path": "/nonexistent/x"}}} | NBD server already running
                    nbd-server-start | {"addr": {"type": "unix", "data": {}}}                    | Parameter 'addr.data.path' is missing
                    blockdev-del     | {"node-name": "nope"}                                     | Failed to find node with node-name='nope'
                    object-del       | {"id": "nope"}                                            | object 'nope' not found
                    object-add       | {"qom-type": "iothread", "id": "t"}                       | attempt to add duplicate property 't' to object (type 'container')
                    """)
    void aWrongCommandIsRefused(String command, String arguments, String message)
            throws IOException {
        add("e", "");
        assertEquals("GenericError: " + message, qmp.error(command, arguments));
        assertEquals(List.of("e"), ids());
    }

    @Test
    @DisabledIfEnvironmentVariable(
            named = "BLOCKWHARF_IT_DAEMON",
            matches = ".*qemu-storage-daemon",
            disabledReason = "7.2.22 aborts when the client leaves")
    void anExportRunsInItsIothread() throws IOException {
        add("e", ", \"iothread\": \"t\", \"writable\": true");
        Tools.run(
                        "qemu-io",
                        "-f",
                        "raw",
                        "-c",
                        "write -P 1 0 1M",
                        "-c",
                        "read -P 1 0 1M",
                        "nbd+unix:///disk?socket=" + socket)
                .ok();
    }

    /** QEMU allows it and aborts at the next removal; we differ on purpose. */
    @Test
    @DisabledIfEnvironmentVariable(
            named = "BLOCKWHARF_IT_DAEMON",
            matches = ".*qemu-storage-daemon",
            disabledReason = "QEMU deletes it, and aborts later")
    void anIothreadInUseStays() throws IOException {
        add("e", ", \"iothread\": \"t\"");
        assertTrue(qmp.error("object-del", "{\"id\": \"t\"}").contains("in use"));
        qmp.execute("block-export-del", "{\"id\": \"e\"}");
        qmp.execute("object-del", "{\"id\": \"t\"}");
    }
}

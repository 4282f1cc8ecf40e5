package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** What {@code --trace} and {@code trace-event-set-state} make the daemon tell. */
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class TraceIT {
    @TempDir Path directory;
    private Path monitor;
    private Path nbd;

    @BeforeEach
    void names() {
        assumeFalse(Daemon.REFERENCE); // its events are others
        monitor = directory.resolve("qmp");
        nbd = directory.resolve("nbd");
    }

    private Daemon start(String... trace) throws IOException {
        List<String> options =
                List.of(
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + monitor,
                        "--monitor",
                        "m",
                        "--blockdev",
                        "null-co,node-name=n,size=1048576,read-zeroes=on",
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + nbd,
                        "--export",
                        "nbd,id=e,node-name=n");
        var all = new java.util.ArrayList<>(List.of(trace));
        all.addAll(options);
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    @Test
    void eventsGoToAFile() throws IOException {
        Path file = directory.resolve("trace");
        try (var _ = start("-T", "enable=*,file=" + file, "--trace", "-nbd_option");
                var qmp = QmpClient.unix(monitor)) {
            Tools.run("nbdinfo", "--size", "nbd+unix:///n?socket=" + nbd).ok();
            qmp.execute("block-dirty-bitmap-add", "{\"node\": \"n\", \"name\": \"b\"}");
            qmp.execute("block-dirty-bitmap-remove", "{\"node\": \"n\", \"name\": \"b\"}");
            qmp.error("block-export-del", "{\"id\": \"nope\"}");
            Waiting.until(
                    () -> Files.readString(file).contains("nbd_client_left"),
                    () -> "the client's leaving");
            qmp.execute("block-export-del", "{\"id\": \"e\"}");
            qmp.execute("blockdev-del", "{\"node-name\": \"n\"}");
            String all = Files.readString(file);
            for (String line :
                    List.of(
                            "block_node_opened node n driver null-co",
                            "block_export_added export e type nbd node n",
                            "qmp_client_connected monitor m",
                            "qmp_command_in monitor m command qmp_capabilities",
                            "qmp_command_out monitor m command qmp_capabilities: ok",
                            "nbd_client_connected client 1",
                            "nbd_client_attached client 1 export n",
                            "nbd_client_left client 1",
                            "dirty_bitmap_added node n bitmap b",
                            "dirty_bitmap_removed node n bitmap b",
                            "qmp_event BLOCK_EXPORT_DELETED",
                            "block_export_removed export e",
                            "block_node_closed node n")) {
                assertTrue(all.lines().anyMatch(line::equals), () -> line + " in\n" + all);
            }
            assertTrue(all.contains("command block-export-del: {class=GenericError, desc=Export"));
            assertTrue(!all.contains("nbd_option"), all);
        }
    }

    @Test
    void eventsGoToStandardErrorWhileTheyAreOn() throws IOException {
        try (var daemon = start("-Tblock_node*");
                var qmp = QmpClient.unix(monitor)) {
            Waiting.until(
                    () -> daemon.stderr().equals("block_node_opened node n driver null-co\n"),
                    () -> "the opening of the node");
            assertEquals(
                    "{\"return\":[{\"name\":\"block_node_opened\",\"state\":\"enabled\"},"
                            + "{\"name\":\"block_node_closed\",\"state\":\"enabled\"}]}",
                    qmp.call(
                                    "{\"execute\": \"trace-event-get-state\", \"arguments\":"
                                            + " {\"name\": \"block_node*\"}}")
                            .toString());
            qmp.execute("trace-event-set-state", "{\"name\": \"*\", \"enable\": false}");
            qmp.execute("blockdev-add", "{\"driver\": \"null-co\", \"node-name\": \"quiet\"}");
            qmp.execute(
                    "trace-event-set-state", "{\"name\": \"block_node_closed\", \"enable\": true}");
            qmp.execute("blockdev-del", "{\"node-name\": \"quiet\"}");
            assertEquals(
                    "GenericError: unknown event \"nope\"",
                    qmp.error("trace-event-get-state", "{\"name\": \"nope\"}"));
            Waiting.until(
                    () ->
                            daemon.stderr()
                                    .equals(
                                            "block_node_opened node n driver null-co\n"
                                                    + "block_node_closed node quiet\n"),
                    () -> "the closing of the node: " + Waiting.get(daemon::stderr));
        }
    }

    @Test
    void helpListsTheEvents() {
        String help = Tools.run(Daemon.PROGRAM, "--trace", "help").ok();
        assertTrue(help.lines().allMatch(line -> line.matches("[a-z_]+")), help);
        assertTrue(help.lines().anyMatch("nbd_option"::equals), help);
        assertEquals(help, Tools.run(Daemon.PROGRAM, "-T?").ok());
        assertEquals(help, Tools.run(Daemon.PROGRAM, "-T", "enable=help").ok());
    }
}

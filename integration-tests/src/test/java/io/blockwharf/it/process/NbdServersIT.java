package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * What QEMU does not have: several NBD servers, sockets of a service manager, and a view of who is
 * connected and what they do.
 */
class NbdServersIT {
    @TempDir Path directory;
    private Path monitor;

    @BeforeEach
    void oursAlone() {
        assumeFalse(Daemon.REFERENCE);
        monitor = directory.resolve("qmp");
    }

    private Path socket(String name) {
        return directory.resolve(name);
    }

    private String uri(String server, String export) {
        return "nbd+unix:///" + export + "?socket=" + socket(server);
    }

    /** A daemon with a node of 1 MiB, one of 2 MiB, and a monitor. */
    private Daemon start(String... arguments) throws IOException {
        return Daemon.start(directory, options(arguments).toArray(String[]::new));
    }

    private List<String> options(String... more) {
        var all =
                new ArrayList<>(
                        List.of(
                                "--blockdev",
                                "null-co,node-name=one,read-zeroes=on,size=1048576",
                                "--blockdev",
                                "null-co,node-name=two,read-zeroes=on,size=2097152",
                                "--chardev",
                                "socket,id=mon,server=on,wait=off,path=" + monitor,
                                "--monitor",
                                "mon"));
        all.addAll(List.of(more));
        return all;
    }

    private static TreeSet<String> exportsAt(String uri) throws IOException {
        JsonNode list = QmpClient.json(Tools.run("nbdinfo", "--list", "--json", uri).ok());
        var names = new TreeSet<String>();
        list.get("exports")
                .forEach(
                        export ->
                                names.add(
                                        export.get("export-name").asText()
                                                + " "
                                                + export.get("export-size").asLong()));
        return names;
    }

    @Test
    void serversHaveAddressesLimitsAndExportsOfTheirOwn() throws IOException {
        int port = Ports.free();
        try (var _ =
                        start(
                                "--nbd-server",
                                "addr.type=unix,addr.path=" + socket("main"),
                                "--object",
                                "nbd-server,id=backup,max-connections=1,addr.type=inet,"
                                        + "addr.host=127.0.0.1,addr.port="
                                        + port,
                                "--export",
                                "nbd,id=a,node-name=one,name=disk",
                                "--export",
                                "nbd,id=b,node-name=two,name=disk,server=backup");
                var qmp = QmpClient.unix(monitor)) {
            assertEquals(
                    new TreeSet<>(List.of("disk " + MIB)), exportsAt(uri("main", "")), "QEMU's");
            String tcp = "nbd://127.0.0.1:" + port + "/";
            assertEquals(new TreeSet<>(List.of("disk " + 2 * MIB)), exportsAt(tcp));
            assertTrue(abilities(uri("main", "disk")).get("can_multi_conn").asBoolean());
            assertFalse(abilities(tcp + "disk").get("can_multi_conn").asBoolean());

            qmp.execute(
                    "object-add",
                    """
                    {"qom-type": "nbd-server", "id": "third",
                     "addr": {"type": "unix", "path": "%s"}}
                    """
                            .formatted(socket("third"))
                            .replace("\n", ""));
            assertEquals(new TreeSet<>(), exportsAt(uri("third", "")));
            JsonNode servers = qmp.execute("query-nbd-servers");
            assertEquals(3, servers.size());
            assertFalse(servers.get(0).has("id"));
            assertEquals(socket("main").toString(), servers.at("/0/addresses/0").asText());
            assertEquals("backup", servers.at("/1/id").asText());
            assertEquals("127.0.0.1:" + port, servers.at("/1/addresses/0").asText());
            assertEquals(1, servers.at("/1/max-connections").asInt());
            assertEquals("disk", servers.at("/1/exports/0").asText());
            assertEquals("third", servers.at("/2/id").asText());

            assertEquals(
                    "GenericError: NBD server 'nope' not found",
                    qmp.error(
                            "block-export-add",
                            "{\"type\": \"nbd\", \"id\": \"x\", \"node-name\": \"one\","
                                    + " \"server\": \"nope\"}"));
            assertEquals(
                    "GenericError: NBD server already has export named 'disk'",
                    qmp.error(
                            "block-export-add",
                            "{\"type\": \"nbd\", \"id\": \"x\", \"node-name\": \"one\","
                                    + " \"name\": \"disk\", \"server\": \"backup\"}"));
            assertEquals(
                    "GenericError: object 'backup' is in use, can not be deleted",
                    qmp.error("object-del", "{\"id\": \"backup\"}"));

            // Stopping QEMU's server is of no concern to the others
            qmp.execute("nbd-server-stop");
            qmp.event("BLOCK_EXPORT_DELETED");
            assertFalse(Files.exists(socket("main")));
            assertEquals("b", qmp.execute("query-block-exports").at("/0/id").asText());
            Tools.run("nbdinfo", "--size", tcp + "disk").ok();

            qmp.execute("block-export-del", "{\"id\": \"b\"}");
            qmp.event("BLOCK_EXPORT_DELETED");
            qmp.execute("object-del", "{\"id\": \"backup\"}");
            Tools.run("nbdinfo", "--size", tcp + "disk").failed();
            qmp.execute("object-del", "{\"id\": \"third\"}");
            assertFalse(Files.exists(socket("third")));
            assertEquals(0, qmp.execute("query-nbd-servers").size());
        }
    }

    private static JsonNode abilities(String uri) throws IOException {
        return QmpClient.json(Tools.run("nbdinfo", "--json", uri).ok()).at("/exports/0");
    }

    @Test
    void aServerThatCannotListenLeavesNothingBehind() throws IOException {
        try (var _ = start();
                var qmp = QmpClient.unix(monitor)) {
            String path = socket("s").toString();
            assertEquals(
                    "GenericError: No TLS credentials with id 'nope'",
                    qmp.error(
                            "object-add",
                            ("{\"qom-type\": \"nbd-server\", \"id\": \"x\", \"tls-creds\":"
                                            + " \"nope\", \"addr\": {\"type\": \"unix\", \"path\":"
                                            + " \"%s\"}}")
                                    .formatted(path)));
            assertFalse(Files.exists(Path.of(path)));
            assertEquals(
                    "GenericError: File descriptor named '7' has not been found",
                    qmp.error(
                            "object-add",
                            "{\"qom-type\": \"nbd-server\", \"id\": \"x\", \"addr\": {\"type\":"
                                    + " \"fd\", \"str\": \"7\"}}"));
            assertEquals(0, qmp.execute("query-nbd-servers").size());
            assertEquals(
                    "GenericError: object 'x' not found",
                    qmp.error("object-del", "{\"id\": \"x\"}"));
        }
    }

    /** Binds what a service manager would, listens for what it would hear, becomes the daemon. */
    private static final String MANAGER =
            """
            import os, socket, sys
            folder = sys.argv[1]
            notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            notify.bind(folder + "/notify")
            if os.fork() == 0:
                with open(folder + "/heard", "w", buffering=1) as heard:
                    while True:
                        message = notify.recv(4096).decode()
                        heard.write(message + "\\n")
                        if "STOPPING=1" in message:
                            os._exit(0)
            listening = []
            for name in ["first", "second"]:
                s = socket.socket(socket.AF_UNIX)
                s.bind(folder + "/" + name)
                s.listen(5)
                listening.append(os.dup(s.fileno()))
            high = [os.dup2(fd, 50 + i) for i, fd in enumerate(listening)]
            for i, fd in enumerate(high):
                os.dup2(fd, 3 + i)
                os.close(fd)
            os.closerange(5, 64)
            os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS="2",
                              LISTEN_FDNAMES="first:second", NOTIFY_SOCKET=folder + "/notify")
            os.execv(sys.argv[2], sys.argv[2:])
            """;

    @Test
    void socketsOfTheServiceManagerAreServedByName() throws IOException {
        var command =
                new ArrayList<>(
                        List.of("python3", "-c", MANAGER, directory.toString(), Daemon.PROGRAM));
        command.addAll(options("--nbd-server", "addr.type=fd,addr.str=first"));
        command.addAll(List.of("--export", "nbd,id=a,node-name=one,name=disk"));
        Path heard = directory.resolve("heard");
        try (var _ = Daemon.launch(directory, command);
                var qmp = QmpClient.unix(monitor)) {
            assertEquals(new TreeSet<>(List.of("disk " + MIB)), exportsAt(uri("first", "")));
            Waiting.until(
                    () -> Files.readString(heard).equals("READY=1\n"), () -> "word of being ready");

            // Over QMP as well; a number is nothing there
            qmp.execute(
                    "object-add",
                    "{\"qom-type\": \"nbd-server\", \"id\": \"s\", \"addr\": {\"type\": \"fd\","
                            + " \"str\": \"second\"}}");
            qmp.execute(
                    "block-export-add",
                    "{\"type\": \"nbd\", \"id\": \"b\", \"node-name\": \"two\", \"server\":"
                            + " \"s\"}");
            assertEquals(new TreeSet<>(List.of("two " + 2 * MIB)), exportsAt(uri("second", "")));

            // The manager's socket stays: clients that come while the server is stopped are served
            qmp.execute("nbd-server-stop");
            qmp.event("BLOCK_EXPORT_DELETED");
            try (var early = QmpClient.unixChannel(socket("first"))) {
                assertEquals(
                        "GenericError: File descriptor named '3' has not been found",
                        qmp.error(
                                "nbd-server-start",
                                "{\"addr\": {\"type\": \"fd\", \"data\": {\"str\": \"3\"}}}"));
                qmp.execute(
                        "nbd-server-start",
                        "{\"addr\": {\"type\": \"fd\", \"data\": {\"str\": \"first\"}}}");
                var greeting = java.nio.ByteBuffer.allocate(18);
                while (greeting.hasRemaining()) {
                    assertTrue(early.read(greeting) > 0);
                }
                assertEquals(0x4e42444d41474943L, greeting.getLong(0)); // NBDMAGIC
            }
        }
        Waiting.until(
                () -> Files.readString(heard).equals("READY=1\nSTOPPING=1\n"),
                () -> "word of the end");
    }

    @Test
    void aDaemonInTheBackgroundLeavesTheFolderOfItsCaller() throws IOException {
        Path pidFile = directory.resolve("pid");
        var command = new ArrayList<>(List.of(Daemon.PROGRAM, "--daemonize", "--pidfile", "pid"));
        command.addAll(options());
        Process caller =
                Tools.builder(command)
                        .directory(directory.toFile())
                        .redirectOutput(ProcessBuilder.Redirect.DISCARD)
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
        assertEquals(0, Waiting.exit(caller));
        String pid = Files.readString(pidFile).strip();
        assertEquals(
                "/", Files.readSymbolicLink(Path.of("/proc", pid, "cwd")).toString(), "folder");
        try (var qmp = QmpClient.unix(monitor)) {
            qmp.execute("quit");
        }
        Waiting.until(() -> Files.notExists(pidFile), () -> "the end");
    }

    @Test
    void whoIsConnectedAndWhatTheyDoCanBeSeen() throws IOException, InterruptedException {
        try (var _ =
                        start(
                                "--nbd-server",
                                "addr.type=unix,addr.path=" + socket("main"),
                                "--export",
                                "nbd,id=a,node-name=one,writable=on");
                var qmp = QmpClient.unix(monitor)) {
            Process client =
                    Tools.builder(
                                    List.of(
                                            "nbdsh",
                                            "-u",
                                            uri("main", "one"),
                                            "-c",
                                            """
                                            for i in range(10):
                                                h.pread(4096, 4096 * i)
                                            for i in range(5):
                                                h.pwrite(bytes(512), 512 * i)
                                            h.flush()
                                            try:
                                                h.set_strict_mode(0)
                                                h.pread(4096, 1 << 30)
                                            except nbd.Error:
                                                print("ready", flush=True)
                                            try:
                                                input()
                                                h.pread(1, 0)
                                            except nbd.Error:
                                                print("gone", flush=True)
                                            """))
                            .start();
            try (var said = client.inputReader();
                    var tell = client.outputWriter()) {
                assertEquals("ready", said.readLine());
                JsonNode one = qmp.execute("query-nbd-clients").get(0);
                assertEquals("one", one.get("export").asText());
                assertEquals(client.pid(), one.get("pid").asLong());
                assertDone(one);
                assertDone(qmp.execute("query-nbd-exports").get(0));
                assertEquals(1, qmp.execute("query-nbd-servers").at("/0/clients").asInt());
                qmp.execute("nbd-client-disconnect", "{\"id\": " + one.get("id") + "}");
                Waiting.until(
                        () -> qmp.execute("query-nbd-clients").isEmpty(), () -> "it to be gone");
                tell.write("\n");
                tell.flush();
                assertEquals("gone", said.readLine());
            } finally {
                client.destroyForcibly().waitFor();
            }
            // An export remembers what its clients have done
            assertDone(qmp.execute("query-nbd-exports").get(0));
        }
    }

    /** Ten reads, five writes, a flush, a read that was refused. */
    private static void assertDone(JsonNode done) {
        assertEquals(10, done.get("reads").asLong(), done::toString);
        assertEquals(40960, done.get("bytes-read").asLong());
        assertEquals(5, done.get("writes").asLong());
        assertEquals(2560, done.get("bytes-written").asLong());
        assertEquals(1, done.get("others").asLong());
        assertEquals(1, done.get("errors").asLong());
        assertEquals(0, done.get("in-flight").asLong());
        assertEquals(10, requests(done.at("/latency/read")), done::toString);
        assertEquals(5, requests(done.at("/latency/write")), done::toString);
        assertEquals(1, requests(done.at("/latency/other")), done::toString);
    }

    private static long requests(JsonNode histogram) {
        assertEquals(histogram.get("boundaries").size() + 1, histogram.get("bins").size());
        long sum = 0;
        for (JsonNode bin : histogram.get("bins")) {
            sum += bin.asLong();
        }
        return sum;
    }
}

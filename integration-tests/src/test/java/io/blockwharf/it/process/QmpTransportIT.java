package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.file.Path;
import java.util.List;

/** QMP over everything that it can be spoken over, with clients in Java, Python and a shell. */
class QmpTransportIT {
    @TempDir Path directory;

    private Path socket() {
        return directory.resolve("qmp");
    }

    private Daemon listening() throws IOException {
        return Daemon.start(
                directory,
                "--chardev",
                "socket,id=m,server=on,wait=off,path=" + socket(),
                "--monitor",
                "chardev=m");
    }

    @Test
    void overAUnixSocketClientsComeOneAfterTheOther() throws IOException {
        try (var _ = listening()) {
            for (int i = 0; i < 3; i++) {
                try (var qmp = QmpClient.unix(socket())) {
                    assertTrue(qmp.execute("query-version").path("qemu").has("major"));
                }
            }
        }
    }

    @Test
    void aSecondClientWaitsUntilTheFirstHasLeft() throws IOException {
        try (var _ = listening()) {
            var first = QmpClient.unix(socket());
            try (var second = QmpClient.unixChannel(socket())) {
                first.execute("query-commands");
                first.close();
                QmpClient.over(second).negotiate().execute("query-commands");
            }
        }
    }

    @Test
    void nothingButNegotiationWorksBeforeNegotiation() throws IOException {
        try (var _ = listening();
                var qmp = QmpClient.over(QmpClient.unixChannel(socket()))) {
            assertEquals(
                    "CommandNotFound: Expecting capabilities negotiation with 'qmp_capabilities'",
                    qmp.error("query-version", "{}"));
            qmp.negotiate();
            assertEquals(
                    "CommandNotFound: Capabilities negotiation is already complete, command"
                            + " ignored",
                    qmp.error("qmp_capabilities", "{}"));
            assertEquals(
                    "CommandNotFound: The command nope has not been found",
                    qmp.error("nope", "{}"));
        }
    }

    @Test
    void theIdComesBackWhateverItIs() throws IOException {
        try (var _ = listening();
                var qmp = QmpClient.unix(socket())) {
            for (String id : List.of("1", "\"x\"", "{\"a\":[1,2]}", "null", "true")) {
                JsonNode reply =
                        qmp.call("{\"execute\": \"query-block-exports\", \"id\": " + id + "}");
                assertEquals("{\"return\":[],\"id\":" + id + "}", reply.toString());
                reply = qmp.call("{\"execute\": \"nope\", \"id\": " + id + "}");
                assertEquals(id, reply.get("id").toString());
            }
            assertFalse(qmp.call("{\"execute\": \"query-block-exports\"}").has("id"));
        }
    }

    @Test
    void whatIsNoRequestIsAnErrorAndNotTheEnd() throws IOException {
        try (var _ = listening();
                var qmp = QmpClient.unix(socket())) {
            assertTrue(qmp.error("{ bad }").startsWith("GenericError: JSON parse error"));
            assertEquals("GenericError: QMP input must be a JSON object", qmp.error("[]"));
            assertEquals(
                    "GenericError: QMP input member 'bad' is unexpected",
                    qmp.error("{\"execute\": \"query-version\", \"bad\": 1}"));
            assertEquals("GenericError: QMP input lacks member 'execute'", qmp.error("{}"));
            assertEquals(
                    "GenericError: Parameter 'x' is unexpected",
                    qmp.error("query-version", "{\"x\": 1}"));
            qmp.execute("query-version");
        }
    }

    @Test
    void severalRequestsInOneWriteAndOneInSeveral() throws IOException {
        try (var _ = listening();
                var qmp = QmpClient.unix(socket())) {
            qmp.send(
                    "{\"execute\": \"query-block-exports\", \"id\": 1}"
                            + " {\"execute\":\"query-block-exports\",\"id\":2}\n");
            assertEquals(1, qmp.read().get("id").asInt());
            assertEquals(2, qmp.read().get("id").asInt());
            qmp.send("{\"execute\": \"query-bl");
            qmp.send("ock-exports\",\n\n \"id\": 3}");
            assertEquals(3, qmp.read().get("id").asInt());
        }
    }

    @Test
    void overTcp() throws IOException {
        int port = Ports.free();
        try (var _ =
                        Daemon.start(
                                directory,
                                "--chardev",
                                "socket,id=m,server=on,wait=off,host=127.0.0.1,port=" + port,
                                "--monitor",
                                "m");
                var qmp = QmpClient.tcp(port)) {
            qmp.execute("query-commands");
        }
    }

    @Test
    void overStandardInputAndOutput() throws IOException {
        Process process =
                Tools.builder(List.of(Daemon.PROGRAM, "--chardev", "stdio,id=m", "--monitor", "m"))
                        .redirectError(ProcessBuilder.Redirect.DISCARD)
                        .start();
        try (var qmp = QmpClient.over(process).negotiate()) {
            assertEquals("{}", qmp.execute("quit").toString());
            assertEquals(0, Waiting.exit(process));
        } finally {
            process.destroyForcibly();
        }
    }

    /** How Python's qemu.machine starts it: a connected socket, passed by number. */
    @Test
    void overAnInheritedDescriptor() throws IOException {
        String script =
                """
                import json, os, socket, subprocess, sys
                ours, theirs = socket.socketpair()
                daemon = subprocess.Popen(
                    [sys.argv[1], "--chardev", "socket,id=m,fd=%d" % theirs.fileno(), "--monitor", "m"],
                    pass_fds=[theirs.fileno()])
                theirs.close()
                stream = ours.makefile("rw")
                def receive():
                    return json.loads(stream.readline())
                def call(command):
                    stream.write(json.dumps({"execute": command}) + "\\n")
                    stream.flush()
                    return receive()
                assert "QMP" in receive()
                assert call("qmp_capabilities") == {"return": {}}
                assert call("query-block-exports") == {"return": []}
                assert call("quit") == {"return": {}}
                assert daemon.wait(60) == 0
                """;
        Tools.run("python3", "-c", script, Daemon.PROGRAM).ok();
    }

    /** The daemon as the client: iotests' harness listens before it starts it. */
    @Test
    void theDaemonCanBeTheOneThatConnects() throws IOException {
        try (var listener = ServerSocketChannel.open(StandardProtocolFamily.UNIX)) {
            listener.bind(UnixDomainSocketAddress.of(socket()));
            try (var daemon =
                            Daemon.start(
                                    directory,
                                    "--chardev",
                                    "socket,id=m,path=" + socket(),
                                    "--monitor",
                                    "m");
                    var qmp = QmpClient.over(listener.accept()).negotiate()) {
                assertEquals("{}", qmp.execute("quit").toString());
                assertEquals(0, daemon.awaitExit());
            }
        }
    }

    @Test
    void socatCanTalkToIt() throws IOException {
        try (var daemon = listening()) {
            String output =
                    Tools.run(
                                    "sh",
                                    "-c",
                                    "printf '%s\\n"
                                        + "' '{\"execute\":\"qmp_capabilities\"}'"
                                        + " '{\"execute\":\"query-block-exports\",\"id\":\"last\"}'"
                                        + " '{\"execute\":\"quit\"}' | socat STDIO,ignoreeof"
                                        + " UNIX-CONNECT:"
                                            + socket())
                            .ok();
            assertTrue(output.replace(" ", "").contains("{\"return\":[],\"id\":\"last\"}"), output);
            assertEquals(0, daemon.awaitExit());
        }
    }

    @Test
    void severalMonitorsSeeTheSameDaemonAndTheSameEvents() throws IOException {
        Path other = directory.resolve("other");
        try (var _ =
                        Daemon.start(
                                directory,
                                "--chardev",
                                "socket,id=a,server=on,wait=off,path=" + socket(),
                                "--chardev",
                                "socket,id=b,server=on,wait=off,path=" + other,
                                "--monitor",
                                "a",
                                "--monitor",
                                "chardev=b,pretty=off",
                                "--blockdev",
                                "null-co,node-name=n,size=1048576",
                                "--nbd-server",
                                "addr.type=unix,addr.path=" + directory.resolve("s"));
                var a = QmpClient.unix(socket());
                var b = QmpClient.unix(other)) {
            a.execute(
                    "block-export-add", "{\"type\": \"nbd\", \"id\": \"e\", \"node-name\": \"n\"}");
            JsonNode exports = b.execute("query-block-exports");
            assertEquals("e", exports.path(0).path("id").asText());
            a.execute("block-export-del", "{\"id\": \"e\"}");
            assertEquals("e", a.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
            assertEquals("e", b.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
        }
    }
}

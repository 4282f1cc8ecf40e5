package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;

/**
 * Who is let in, told by the clients that people use: libnbd's (GnuTLS through URIs) and QEMU's
 * (GnuTLS through objects). One daemon; every test starts the NBD server in its own way.
 */
class TlsIT {
    private static final int SIZE = (int) (4 * MIB);

    @TempDir static Path directory;
    private static Pki pki;
    private static Path image;
    private static Daemon daemon;
    private static QmpClient qmp;

    @BeforeAll
    static void start() throws IOException {
        pki = new Pki(Files.createDirectory(directory.resolve("pki")));
        image = Image.random(directory.resolve("image"), SIZE);
        Path password = Files.writeString(directory.resolve("password"), Pki.PASSWORD);
        Path monitor = directory.resolve("qmp");
        daemon =
                Daemon.start(
                        directory,
                        "--object",
                        "secret,id=password,file=" + password,
                        "--object",
                        "tls-creds-x509,id=server,endpoint=server,passwordid=password,dir="
                                + pki.of("server"),
                        "--object",
                        "tls-creds-x509,id=open,endpoint=server,verify-peer=off,dir="
                                + pki.of("open-server"),
                        "--object",
                        "tls-creds-x509,id=expired,endpoint=server,sanity-check=off,dir="
                                + pki.of("expired-server"),
                        "--object",
                        "tls-creds-psk,id=psk,endpoint=server,dir=" + pki.of("users"),
                        "--blockdev",
                        "driver=file,node-name=disk,filename=" + image,
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + monitor,
                        "--monitor",
                        "m");
        qmp = QmpClient.unix(monitor);
    }

    @AfterAll
    static void stop() throws IOException {
        qmp.close();
        daemon.close();
    }

    /** An NBD server of the daemon, up to its end. */
    private static final class Server implements AutoCloseable {
        private final int port = Ports.free();

        /**
         * @param options more members of nbd-server-start, each with a comma in front
         */
        Server(String options) throws IOException {
            qmp.execute(
                    "nbd-server-start",
                    """
                    {"addr": {"type": "inet", "data": {"host": "localhost", "port": "%d"}}%s}
                    """
                            .formatted(port, options)
                            .strip());
        }

        static Server with(String credentials) throws IOException {
            return new Server(
                    credentials.equals("none") ? "" : ", \"tls-creds\": \"" + credentials + "\"");
        }

        Server export(String name, String options) throws IOException {
            TlsIT.export(name, options);
            return this;
        }

        @Override
        public void close() throws IOException {
            qmp.execute("nbd-server-stop");
        }
    }

    private static void export(String name, String options) throws IOException {
        qmp.execute(
                "block-export-add",
                """
                {"type": "nbd", "id": "%1$s", "name": "%1$s", "node-name": "disk"%2$s}
                """
                        .formatted(name, options)
                        .strip());
    }

    /** How a client comes: in the words of libnbd and in those of QEMU. */
    private record Client(String scheme, String user, String query, List<String> object) {
        static final Client PLAIN = new Client("nbd", "", "", List.of());

        static Client certificate(String name, String... qemuOptions) {
            Path folder = pki.of(name);
            return new Client(
                    "nbds",
                    "",
                    "?tls-certificates=" + folder,
                    List.of(
                            "--object",
                            "tls-creds-x509,id=t,endpoint=client,sanity-check=off,dir="
                                    + folder
                                    + String.join("", qemuOptions)));
        }

        static Client key(String folder, String user, String... qemuOptions) {
            Path keys = pki.of(folder);
            return new Client(
                    "nbds",
                    user + "@",
                    "?tls-psk-file=" + keys.resolve("keys.psk"),
                    List.of(
                            "--object",
                            "tls-creds-psk,id=t,endpoint=client,username="
                                    + user
                                    + ",dir="
                                    + keys
                                    + String.join("", qemuOptions)));
        }

        static Client of(String name) {
            return switch (name) {
                case "plain" -> PLAIN;
                case "alice", "bob", "carol" -> key("users", name);
                case "alice with a wrong key" -> key("wrong-users", "alice");
                case "mallory" -> key("wrong-users", "mallory");
                default -> certificate(name);
            };
        }

        String uri(Server server, String export) {
            return "%s://%slocalhost:%d/%s%s".formatted(scheme, user, server.port, export, query);
        }

        List<String> qemu(String program, Server server, String export, String... arguments) {
            List<String> command = new ArrayList<>(List.of(program));
            command.addAll(List.of(arguments));
            command.addAll(object);
            command.addAll(
                    List.of(
                            "--image-opts",
                            "driver=nbd,host=localhost,port=%d,export=%s%s"
                                    .formatted(
                                            server.port,
                                            export,
                                            object.isEmpty() ? "" : ",tls-creds=t")));
            return command;
        }
    }

    /** Reads the whole export with four programs, or fails with all of them. */
    private static void assertReads(Server server, Client client, boolean succeeds)
            throws IOException {
        Path copy = directory.resolve("copy");
        Path converted = directory.resolve("converted");
        List<String> convert = client.qemu("qemu-img", server, "disk", "convert", "-O", "raw");
        convert.add(converted.toString());
        List<List<String>> commands =
                List.of(
                        List.of("nbdinfo", "--size", client.uri(server, "disk")),
                        List.of("nbdcopy", client.uri(server, "disk"), copy.toString()),
                        convert,
                        client.qemu("qemu-io", server, "disk", "-r", "-c", "read 0 1M"));
        for (List<String> command : commands) {
            Tools.Result result = Tools.run(command);
            if (succeeds) {
                result.ok();
            } else {
                result.failed();
            }
        }
        if (succeeds) {
            assertEquals(Image.sha256(image), Image.sha256(copy), "nbdcopy");
            assertEquals(Image.sha256(image), Image.sha256(converted), "qemu-img convert");
        }
        Files.deleteIfExists(copy);
        Files.deleteIfExists(converted);
    }

    @ParameterizedTest(name = "server {0}, client {1}: {2}")
    @CsvSource({
        "none, plain, true",
        "none, client, false",
        "none, alice, false",
        "server, client, true",
        "server, plain, false",
        "server, alice, false",
        "server, expired-client, false",
        "server, stranger, false",
        "server, revoked, false",
        "server, nobody, false",
        "server, distrustful, false",
        "expired, client, false",
        "open, nobody, true",
        "psk, alice, true",
        "psk, plain, false",
        "psk, client, false",
        "psk, alice with a wrong key, false",
        "psk, mallory, false",
    })
    void matrix(String credentials, String client, boolean letIn) throws IOException {
        try (Server server = Server.with(credentials).export("disk", "")) {
            assertReads(server, Client.of(client), letIn);
        }
    }

    /** GnuTLS decides for TLS 1.3 if it may; here it may not. */
    @ParameterizedTest
    @CsvSource({"server, 1.2", "server, 1.3", "psk, 1.2", "psk, 1.3"})
    void bothVersions(String credentials, String version) throws IOException {
        String priority = ",priority=NORMAL:-VERS-ALL:+VERS-TLS" + version;
        Client client =
                credentials.equals("psk")
                        ? Client.key("users", "alice", priority)
                        : Client.certificate("client", priority);
        try (Server server = Server.with(credentials).export("disk", ", \"writable\": true")) {
            Tools.run(
                            client.qemu(
                                    "qemu-io",
                                    server,
                                    "disk",
                                    "-c",
                                    "write -P 85 1M 512k",
                                    "-c",
                                    "read -P 85 1M 512k"))
                    .ok();
        }
    }

    /** The file of the list counts as it is when somebody comes; so do the objects. */
    @Test
    void authorizersOfTheServerAreAskedForEachClient() throws IOException {
        Path list = directory.resolve("list.json");
        String allow =
                """
                {"rules": [{"match": "CN=client,O=Blockwharf", "policy": "allow"}]}
                """;
        Files.writeString(list, allow);
        object("authz-list-file", "list", ", \"filename\": \"" + list + "\"");
        object(
                "tls-creds-x509",
                "passing",
                ", \"endpoint\": \"server\", \"dir\": \"" + pki.of("open-server") + "\"");
        Client client = Client.of("client");
        try (Server server =
                new Server(", \"tls-creds\": \"passing\", \"tls-authz\": \"list\"")
                        .export("disk", "")) {
            qmp.execute("object-del", "{\"id\": \"passing\"}"); // the server keeps what it has
            String uri = client.uri(server, "disk");
            Tools.run("nbdinfo", uri).ok();
            Files.writeString(list, allow.replace("CN=client", "CN=clienT"));
            Tools.run("nbdinfo", uri).failed();
            Files.writeString(list, allow);
            Tools.run("nbdinfo", uri).ok();
            qmp.execute("object-del", "{\"id\": \"list\"}");
            Tools.run("nbdinfo", uri).failed();
            object("authz-simple", "list", ", \"identity\": \"CN=client,O=Blockwharf\"");
            Tools.run("nbdinfo", uri).ok();
        } finally {
            qmp.execute("object-del", "{\"id\": \"list\"}");
        }
    }

    private static void object(String type, String id, String properties) throws IOException {
        qmp.execute(
                "object-add",
                "{\"qom-type\": \"%s\", \"id\": \"%s\"%s}".formatted(type, id, properties));
    }

    /** Carol may see the disk, bob may read it, alice may write to it. */
    @Test
    void authorizersOfExportsTellUsersApart() throws IOException {
        object("authz-simple", "writers", ", \"identity\": \"alice\"");
        object(
                "authz-list",
                "readers",
                """
                , "rules": [{"match": "alice", "policy": "allow"}, {"match": "bob", "policy": "allow"}]
                """
                        .strip());
        object("authz-list", "everybody", ", \"policy\": \"allow\"");
        try (Server server =
                Server.with("psk")
                        .export(
                                "disk",
                                ", \"writable\": true, \"list-authz\": \"everybody\","
                                        + " \"read-authz\": \"readers\","
                                        + " \"write-authz\": \"writers\"")
                        .export("secret", ", \"read-authz\": \"writers\"")) {
            assertEquals("disk secret", listed(server, "alice"));
            assertEquals("disk", listed(server, "bob"));
            assertEquals("disk", listed(server, "carol"));
            assertEquals(false, readOnly(server, "alice"));
            assertEquals(true, readOnly(server, "bob"));
            assertEquals("export 'disk' is not for this client", reason(server, "carol", "disk"));
            assertEquals("export 'secret' not present", reason(server, "bob", "secret"));
            String write = "write -P 90 0 64k";
            Tools.run(Client.of("alice").qemu("qemu-io", server, "disk", "-c", write)).ok();
            Tools.run(
                            Client.of("bob")
                                    .qemu(
                                            "qemu-io",
                                            server,
                                            "disk",
                                            "-r",
                                            "-c",
                                            "read -P 90 0 64k"))
                    .ok();
            Tools.run(Client.of("bob").qemu("qemu-io", server, "disk", "-c", write)).failed();
        } finally {
            for (String id : List.of("writers", "readers", "everybody")) {
                qmp.execute("object-del", "{\"id\": \"" + id + "\"}");
            }
        }
    }

    private static String listed(Server server, String user) {
        return Tools.nbdsh(
                        """
                        h.set_opt_mode(True)
                        h.set_uri_allow_local_file(True)
                        h.connect_uri("%s")
                        names = []
                        h.opt_list(lambda name, description: names.append(name))
                        h.opt_abort()
                        print(" ".join(names))
                        """
                                .formatted(Client.of(user).uri(server, "")))
                .strip();
    }

    /** What the server tells a client that it refuses; libnbd keeps it to itself. */
    private static String reason(Server server, String user, String export) {
        String message =
                Tools.run(Client.of(user).qemu("qemu-img", server, export, "info")).failed();
        String before = "server reported: ";
        assertTrue(message.contains(before), message);
        return message.substring(message.indexOf(before) + before.length()).strip();
    }

    private static boolean readOnly(Server server, String user) throws IOException {
        JsonNode info =
                QmpClient.json(
                        Tools.run("nbdinfo", "--json", Client.of(user).uri(server, "disk")).ok());
        return info.at("/exports/0/is_read_only").asBoolean();
    }

    /**
     * Without TLS the kernel tells who a process is, and the file of the socket who may connect.
     */
    @Test
    void processesAreKnownOnLocalSockets() throws IOException {
        Path socket = directory.resolve("s");
        Object uid = Files.getAttribute(directory, "unix:uid");
        object(
                "authz-list",
                "me",
                """
                , "rules": [{"match": "uid=%s,gid=*", "policy": "allow", "format": "glob"}]
                """
                        .formatted(uid)
                        .strip());
        object("authz-simple", "somebody", ", \"identity\": \"uid=4294967294,gid=4294967294\"");
        qmp.execute(
                "nbd-server-start",
                """
                {"addr": {"type": "unix", "data": {"path": "%s", "mode": "0660", "owner": "%s"}}}
                """
                        .formatted(socket, uid)
                        .strip());
        try {
            assertEquals(
                    "rw-rw----",
                    PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
            export("mine", ", \"read-authz\": \"me\"");
            export("theirs", ", \"read-authz\": \"somebody\"");
            Tools.run("nbdinfo", "nbd+unix:///mine?socket=" + socket).ok();
            Tools.run("nbdinfo", "nbd+unix:///theirs?socket=" + socket).failed();
        } finally {
            qmp.execute("nbd-server-stop");
            qmp.execute("object-del", "{\"id\": \"me\"}");
            qmp.execute("object-del", "{\"id\": \"somebody\"}");
        }
    }
}

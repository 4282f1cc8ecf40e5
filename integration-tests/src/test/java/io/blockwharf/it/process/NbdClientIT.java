package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The daemon between two NBD peers: a node is an export of nbdkit, of QEMU's server or of another
 * daemon, and is exported again to QEMU's and libnbd's tools.
 */
@Timeout(600)
class NbdClientIT {
    private static final long SIZE = 32 * MIB;

    @TempDir static Path shared;
    private static Pki pki;
    private static Path source;

    @TempDir Path directory;
    private Path remote;
    private Path socket;
    private String uri;
    private Path image;

    @BeforeAll
    static void once() throws IOException {
        pki = new Pki(Files.createDirectory(shared.resolve("pki")));
        source = Image.random(shared.resolve("source"), SIZE);
    }

    @BeforeEach
    void paths() {
        remote = directory.resolve("remote");
        socket = directory.resolve("s");
        uri = "nbd+unix:///n?socket=" + socket;
        image = directory.resolve("image");
    }

    /** A server of somebody else. */
    private static final class Server implements AutoCloseable {
        private final Process process;

        /** Starts it and waits until it takes connections. */
        Server(Path socket, String... command) throws IOException {
            Files.deleteIfExists(socket);
            Path log = socket.resolveSibling("server.log");
            process =
                    Tools.builder(List.of(command))
                            .redirectOutput(log.toFile())
                            .redirectErrorStream(true)
                            .start();
            Waiting.until(
                    () -> listens(socket),
                    () ->
                            String.join(" ", command)
                                    + "\n"
                                    + Waiting.get(() -> Files.readString(log)));
        }

        private static boolean listens(Path socket) {
            try (var channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
                return channel.connect(UnixDomainSocketAddress.of(socket));
            } catch (IOException e) {
                return false;
            }
        }

        /** As if the machine had lost its power. */
        void kill() {
            process.destroyForcibly();
            Waiting.exit(process);
        }

        @Override
        public void close() {
            kill();
        }
    }

    /** Whose server serves the image. */
    enum Kind {
        NBDKIT,
        QEMU,
        OURS
    }

    /** A server of any kind. */
    private interface Running extends AutoCloseable {
        @Override
        void close() throws IOException;
    }

    private Running serve(Kind kind, Path file) throws IOException {
        return switch (kind) {
            case NBDKIT ->
                    new Server(
                                    remote,
                                    "nbdkit",
                                    "-f",
                                    "-U",
                                    remote.toString(),
                                    "file",
                                    file.toString())
                            ::close;
            case QEMU -> qemuNbd(file)::close;
            case OURS ->
                    Daemon.start(
                                    directory,
                                    "--blockdev",
                                    "driver=file,node-name=disk,discard=unmap,filename=" + file,
                                    "--nbd-server",
                                    "addr.type=unix,addr.path=" + remote,
                                    "--export",
                                    "type=nbd,id=e,node-name=disk,name=,writable=on")
                            ::close;
        };
    }

    private Server qemuNbd(Path file, String... more) throws IOException {
        var command =
                new ArrayList<>(
                        List.of("qemu-nbd", "-t", "-e", "0", "-f", "raw", "--discard=unmap", "-k"));
        command.add(remote.toString());
        command.addAll(List.of(more));
        command.add(file.toString());
        return new Server(remote, command.toArray(String[]::new));
    }

    /** The daemon whose node n is the export without a name, and is exported again. */
    private Daemon between(String options, String... first) throws IOException {
        var all = new ArrayList<>(List.of(first));
        all.addAll(
                List.of(
                        "--blockdev",
                        "driver=nbd,node-name=n,discard=unmap,server.type=unix,server.path="
                                + remote
                                + options));
        all.addAll(export("n", ",writable=on"));
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    private List<String> export(String node, String options) {
        return List.of(
                "--nbd-server",
                "addr.type=unix,addr.path=" + socket,
                "--export",
                "type=nbd,id=e,name=n,node-name=" + node + options);
    }

    private void qemuIo(String... commands) {
        var all = new ArrayList<>(List.of("qemu-io", "-f", "raw"));
        for (String command : commands) {
            all.addAll(List.of("-c", command));
        }
        all.add(uri);
        Tools.run(all).ok();
    }

    private static void assertSame(String left, String right) {
        Tools.run("qemu-img", "compare", "-f", "raw", "-F", "raw", left, right).ok();
    }

    // --- Data --------------------------------------------------------------------------------

    @ParameterizedTest
    @EnumSource(Kind.class)
    void dataPassesInBothDirections(Kind kind) throws Exception {
        Image.sparse(image, SIZE);
        try (var _ = serve(kind, image);
                var _ = between("")) {
            Tools.run(
                            "qemu-img",
                            "convert",
                            "-n",
                            "-f",
                            "raw",
                            "-O",
                            "raw",
                            "-m",
                            "16",
                            "-W",
                            source.toString(),
                            uri)
                    .ok();
            assertSame(uri, source.toString());
            qemuIo(
                    "write -P 1 512 100k",
                    "write -f -P 2 3M 5M",
                    "write -z -u 9M 1M",
                    "write -z 10M 1M",
                    "discard 11M 1M",
                    "flush",
                    "read -P 1 512 100k",
                    "read -P 2 3M 5M",
                    "read -P 0 9M 2M");
            assertSame(uri, image.toString());
            Path copy = directory.resolve("copy");
            Tools.run("nbdcopy", "--requests=32", uri, copy.toString()).ok();
            assertSame(copy.toString(), image.toString());
        }
    }

    @ParameterizedTest
    @EnumSource(Kind.class)
    void mapsPass(Kind kind) throws Exception {
        Image.sparse(image, SIZE);
        Image.fill(image, 4 * MIB, (int) MIB, 1);
        Image.fill(image, 16 * MIB, 64 << 10, 1);
        try (var _ = serve(kind, image);
                var _ = between("")) {
            String direct = map("nbd+unix:///?socket=" + remote);
            assertEquals(direct, map(uri));
            assertEquals(5, direct.lines().count(), direct);
        }
    }

    private static String map(String uri) {
        return Tools.run("nbdinfo", "--map", uri).ok();
    }

    @Test
    void aDirtyBitmapAppearsAsTheStatus() throws IOException {
        Path qcow2 = directory.resolve("qcow2");
        Tools.run("qemu-img", "create", "-q", "-f", "qcow2", qcow2.toString(), "32M").ok();
        Tools.run("qemu-img", "bitmap", "--add", "-g", "64k", qcow2.toString(), "b").ok();
        Tools.run("qemu-io", "-f", "qcow2", "-c", "write 1M 128k", qcow2.toString()).ok();
        try (var _ =
                        new Server(
                                remote,
                                "qemu-nbd",
                                "-t",
                                "-r",
                                "-e",
                                "0",
                                "-f",
                                "qcow2",
                                "-B",
                                "b",
                                "-k",
                                remote.toString(),
                                qcow2.toString());
                var _ = readOnly(",x-dirty-bitmap=qemu:dirty-bitmap:b")) {
            assertTrue(
                    map(uri).matches("(?s) *0 +1048576 +0 .*\n *1048576 +131072 +1 .*"), map(uri));
        }
    }

    private Daemon readOnly(String options) throws IOException {
        var all =
                new ArrayList<>(
                        List.of(
                                "--blockdev",
                                "driver=nbd,node-name=n,read-only=on,server.type=unix,server.path="
                                        + remote
                                        + options));
        all.addAll(export("n", ""));
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    @Test
    void limitsOfTheServerAreKept() throws IOException {
        Image.sparse(image, SIZE);
        try (var _ =
                        new Server(
                                remote,
                                "nbdkit",
                                "-f",
                                "-U",
                                remote.toString(),
                                "--filter=blocksize-policy",
                                "file",
                                image.toString(),
                                "blocksize-minimum=4096",
                                "blocksize-preferred=8192",
                                "blocksize-maximum=64k",
                                "blocksize-error-policy=error");
                var _ = between("")) {
            qemuIo(
                    "write -P 7 1000 300k",
                    "write -z 5000 3000",
                    "write -P 9 4M 8M",
                    "read -P 7 1000 4000",
                    "read -P 0 5000 3000",
                    "read -P 7 8000 100k",
                    "read -P 9 4M 8M",
                    "discard 4097 100000");
            assertSame(uri, image.toString());
        }
    }

    @Test
    void aServerThatCanDoLittleIsEnough() throws IOException {
        Image.sparse(image, SIZE);
        try (var _ =
                        new Server(
                                remote,
                                "nbdkit",
                                "-f",
                                "-U",
                                remote.toString(),
                                "--no-sr",
                                "--filter=nozero",
                                "file",
                                image.toString(),
                                "zeromode=none");
                var _ = between("")) {
            qemuIo(
                    "write -f -P 7 0 1M",
                    "write -z 4k 100k",
                    "discard 1M 1M",
                    "read -P 0 4k 100k",
                    "read -P 7 104k 100k");
            assertSame(uri, image.toString());
        }
    }

    // --- Read-only -----------------------------------------------------------------------------

    @ParameterizedTest(name = "{0}")
    @ValueSource(strings = {",read-only=on", ",auto-read-only=on"})
    void aServerThatIsReadOnlyIsRead(String options) throws IOException {
        try (var _ = qemuNbd(source, "-r");
                var _ = readOnlyExport(options)) {
            assertSame(uri, source.toString());
        }
    }

    private Daemon readOnlyExport(String options) throws IOException {
        var all =
                new ArrayList<>(
                        List.of(
                                "--blockdev",
                                "driver=nbd,node-name=n,server.type=unix,server.path="
                                        + remote
                                        + options));
        all.addAll(export("n", ""));
        return Daemon.start(directory, all.toArray(String[]::new));
    }

    @Test
    void aServerThatIsReadOnlyIsNotWritten() throws IOException {
        try (var _ = qemuNbd(source, "-r")) {
            String said =
                    Tools.run(
                                    Daemon.PROGRAM,
                                    "--blockdev",
                                    "driver=nbd,node-name=n,server.type=unix,server.path=" + remote)
                            .failed();
            assertTrue(
                    Daemon.REFERENCE || said.contains("request on write denied without write"),
                    said);
        }
    }

    // --- TLS ---------------------------------------------------------------------------------

    private Server tlsServer(String... options) throws IOException {
        var command =
                new ArrayList<>(
                        List.of("nbdkit", "-f", "-r", "-U", remote.toString(), "--tls=require"));
        command.addAll(List.of(options));
        command.addAll(List.of("file", source.toString()));
        return new Server(remote, command.toArray(String[]::new));
    }

    private String certificate(String folder) {
        return "tls-creds-x509,id=t,endpoint=client,dir=" + pki.of(folder);
    }

    @ParameterizedTest(name = "client {0}, server for {1}: {2}")
    @CsvSource({
        "client,      localhost, true",
        "client,      elsewhere, false",
        "distrustful, localhost, false",
        "stranger,    localhost, false"
    })
    void certificatesDecide(String client, String host, boolean succeeds) throws IOException {
        String object =
                certificate(client) + (client.equals("stranger") ? ",sanity-check=off" : "");
        String[] arguments = {
            "--object",
            object,
            "--blockdev",
            "driver=nbd,node-name=n,read-only=on,tls-creds=t,server.type=unix,server.path="
                    + remote
                    + ",tls-hostname="
                    + host
        };
        try (var _ =
                tlsServer("--tls-verify-peer", "--tls-certificates=" + pki.of("open-server"))) {
            if (succeeds) {
                var all = new ArrayList<>(List.of(arguments));
                all.addAll(export("n", ""));
                try (var _ = Daemon.start(directory, all.toArray(String[]::new))) {
                    assertSame(uri, source.toString());
                }
            } else {
                var all = new ArrayList<>(List.of(Daemon.PROGRAM));
                all.addAll(List.of(arguments));
                Tools.run(all).failed();
            }
        }
    }

    @ParameterizedTest(name = "{0} from {1}: {2}")
    @CsvSource({"alice, users, true", "alice, wrong-users, false", "mallory, wrong-users, false"})
    void keysDecide(String user, String folder, boolean succeeds) throws IOException {
        String object =
                "tls-creds-psk,id=t,endpoint=client,username=%s,dir=%s"
                        .formatted(user, pki.of(folder));
        try (var _ = tlsServer("--tls-psk=" + pki.of("users").resolve("keys.psk"))) {
            if (succeeds) {
                try (var _ =
                        Daemon.start(
                                directory,
                                concat(
                                        List.of(
                                                "--object",
                                                object,
                                                "--blockdev",
                                                "driver=nbd,node-name=n,read-only=on,tls-creds=t,"
                                                        + "server.type=unix,server.path="
                                                        + remote),
                                        export("n", "")))) {
                    assertSame(uri, source.toString());
                }
            } else {
                Tools.run(
                                Daemon.PROGRAM,
                                "--object",
                                object,
                                "--blockdev",
                                "driver=nbd,node-name=n,read-only=on,tls-creds=t,server.type=unix,"
                                        + "server.path="
                                        + remote)
                        .failed();
            }
        }
    }

    private static String[] concat(List<String> first, List<String> second) {
        var all = new ArrayList<>(first);
        all.addAll(second);
        return all.toArray(String[]::new);
    }

    /** Over TCP the name is that of the address; writes, too. */
    @ParameterizedTest
    @ValueSource(strings = {"x509", "psk"})
    void twoDaemonsSpeakInSecret(String kind) throws IOException {
        Image.sparse(image, SIZE);
        int port = Ports.free();
        boolean keys = kind.equals("psk");
        try (var _ =
                        Daemon.start(
                                directory,
                                "--object",
                                keys
                                        ? "tls-creds-psk,id=t,endpoint=server,dir="
                                                + pki.of("users")
                                        : "tls-creds-x509,id=t,endpoint=server,dir="
                                                + pki.of("open-server"),
                                "--blockdev",
                                "driver=file,node-name=disk,filename=" + image,
                                "--nbd-server",
                                "addr.type=inet,addr.host=localhost,tls-creds=t,addr.port=" + port,
                                "--export",
                                "type=nbd,id=e,node-name=disk,name=x,writable=on");
                var _ =
                        Daemon.start(
                                directory,
                                concat(
                                        List.of(
                                                "--object",
                                                keys
                                                        ? "tls-creds-psk,id=t,endpoint=client,"
                                                                + "username=bob,dir="
                                                                + pki.of("users")
                                                        : certificate("client"),
                                                "--blockdev",
                                                "driver=nbd,node-name=n,tls-creds=t,export=x,"
                                                        + "server.type=inet,server.host=localhost,"
                                                        + "server.port="
                                                        + port),
                                        export("n", ",writable=on")))) {
            Tools.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source.toString(), uri)
                    .ok();
            assertSame(uri, source.toString());
            assertSame(image.toString(), source.toString());
        }
    }

    // --- Servers that die ----------------------------------------------------------------------

    @Test
    void writesSurviveServersThatAreKilled() throws Exception {
        Image.sparse(image, SIZE);
        var server = qemuNbd(image);
        try (var _ = between(",reconnect-delay=3600")) {
            Process copy =
                    Tools.builder(
                                    List.of(
                                            "qemu-img",
                                            "convert",
                                            "-n",
                                            "-W",
                                            "-m",
                                            "8",
                                            "-r",
                                            "8M",
                                            "-f",
                                            "raw",
                                            "-O",
                                            "raw",
                                            source.toString(),
                                            uri))
                            .inheritIO()
                            .start();
            for (int i = 1; i <= 3; i++) {
                long mark = i * SIZE / 4 & -MIB;
                Waiting.until(
                        () -> !copy.isAlive() || hasData(image, mark), () -> "data at " + mark);
                server.kill();
                server = qemuNbd(image);
            }
            assertEquals(0, Waiting.exit(copy));
            assertSame(uri, source.toString());
        } finally {
            server.close();
        }
        assertSame(image.toString(), source.toString());
    }

    private static boolean hasData(Path file, long bytes) throws IOException {
        String used = Tools.run("du", "-B1", file.toString()).ok();
        return Long.parseLong(used.split("\\s")[0]) >= bytes;
    }

    @Test
    void withoutADelayErrorsComeAtOnceAndTheServerIsFoundAgain() throws IOException {
        Image.sparse(image, SIZE);
        var server = qemuNbd(image);
        try (var _ = between("")) {
            qemuIo("write -P 3 0 1M");
            server.kill();
            Tools.run("qemu-io", "-f", "raw", "-c", "read 0 4k", uri).failed();
            server = qemuNbd(image);
            // QEMU's daemon only begins to reconnect with the first request that fails
            Waiting.until(
                    () ->
                            Tools.run("qemu-io", "-f", "raw", "-c", "read -P 3 0 1M", uri).status()
                                    == 0,
                    () -> "the server to be found again");
        } finally {
            server.close();
        }
    }

    @Test
    void openingWaitsForAServer() throws Exception {
        Process daemon =
                Tools.builder(
                                List.of(
                                        concat(
                                                List.of(
                                                        Daemon.PROGRAM,
                                                        "--blockdev",
                                                        "driver=nbd,node-name=n,read-only=on,"
                                                                + "open-timeout=3600,"
                                                                + "server.type=unix,server.path="
                                                                + remote),
                                                export("n", ""))))
                        .inheritIO()
                        .start();
        try {
            Server late = qemuNbd(source, "-r");
            try (late) {
                Waiting.until(
                        () -> Tools.run("nbdinfo", "--size", uri).status() == 0,
                        () -> "the daemon");
                assertSame(uri, source.toString());
            }
        } finally {
            daemon.destroy();
            assertEquals(0, Waiting.exit(daemon));
        }
    }

    // --- As a part of others -------------------------------------------------------------------

    @Test
    void aQcow2ImageLiesOnAServer() throws IOException {
        Tools.run("qemu-img", "create", "-q", "-f", "qcow2", image.toString(), "32M").ok();
        // the server's file cannot grow, so it is as large as it may become
        Tools.run("truncate", "-s", "48M", image.toString()).ok();
        try (var _ = qemuNbd(image);
                var _ =
                        Daemon.start(
                                directory,
                                concat(
                                        List.of(
                                                "--blockdev",
                                                "driver=qcow2,node-name=q,discard=unmap,"
                                                        + "file.driver=nbd,file.server.type=unix,"
                                                        + "file.server.path="
                                                        + remote),
                                        export("q", ",writable=on")))) {
            Tools.run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", source.toString(), uri)
                    .ok();
            assertSame(uri, source.toString());
        }
        Tools.run("qemu-img", "check", "-f", "qcow2", image.toString()).ok();
        Tools.run(
                        "qemu-img",
                        "compare",
                        "-f",
                        "qcow2",
                        "-F",
                        "raw",
                        image.toString(),
                        source.toString())
                .ok();
    }

    /** By node, and by the names that images have for their backing files. */
    @ParameterizedTest(name = "{0}")
    @ValueSource(strings = {"node", "uri", "old name", "json"})
    void anExportIsABackingFile(String way) throws IOException {
        String name =
                switch (way) {
                    case "old name" -> "nbd:unix:" + remote;
                    case "json" ->
                            "json:{\"driver\": \"raw\", \"file\": {\"driver\": \"nbd\","
                                    + " \"server.type\": \"unix\","
                                    + " \"server.path\": \"%s\"}}".formatted(remote);
                    default -> "nbd+unix:///?socket=" + remote;
                };
        Tools.run(
                        "qemu-img",
                        "create",
                        "-q",
                        "-u",
                        "-f",
                        "qcow2",
                        "-b",
                        name,
                        "-F",
                        "raw",
                        image.toString(),
                        "32M")
                .ok();
        List<String> base =
                way.equals("node")
                        ? List.of(
                                "--blockdev",
                                "driver=nbd,node-name=b,read-only=on,server.type=unix,server.path="
                                        + remote)
                        : List.of();
        String backing = way.equals("node") ? ",backing=b" : "";
        var all = new ArrayList<>(base);
        all.addAll(
                List.of(
                        "--blockdev",
                        "driver=qcow2,node-name=q,file.driver=file,file.filename="
                                + image
                                + backing));
        try (var _ = qemuNbd(source, "-r");
                var _ = Daemon.start(directory, concat(all, export("q", ",writable=on")))) {
            assertSame(uri, source.toString());
            qemuIo("write -P 5 1M 1M", "read -P 5 1M 1M");
        }
        try (var _ = qemuNbd(source, "-r")) {
            Tools.run("qemu-img", "check", "-f", "qcow2", image.toString()).ok();
        }
    }
}

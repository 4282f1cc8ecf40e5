package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Arrays;

/**
 * The folders of a running daemon. The NBD driver is removed, replaced and put back in drivers/
 * while qemu-io is connected and another export runs; a type is switched off and on in conf/.
 */
@Timeout(120)
class HotInstallIT {
    private static final String DRIVER = "io.blockwharf.nbd.jar";
    private static final String EXPORT =
            """
            {"type": "nbd", "id": "disk", "node-name": "disk", "writable": true}
            """;

    @TempDir Path dir;

    private Path drivers;
    private Path disk;
    private Process daemon;
    private Qmp qmp;

    @BeforeEach
    void start() throws IOException {
        Path home = dir.resolve("home");
        drivers = home.resolve("drivers");
        try (var files = Files.walk(Distribution.HOME)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                Files.copy(
                        file,
                        home.resolve(Distribution.HOME.relativize(file).toString()),
                        StandardCopyOption.COPY_ATTRIBUTES);
            }
        }
        disk = Files.write(dir.resolve("disk"), new byte[1 << 20]);
        ProcessBuilder builder =
                new ProcessBuilder(
                        home.resolve("bin/blockwharf").toString(),
                        "--blockdev",
                        "file,node-name=disk,filename=" + disk,
                        "--blockdev",
                        "null-co,node-name=other,size=1048576",
                        "--export",
                        "vhost-user-blk,id=other,node-name=other,addr.type=unix,addr.path="
                                + dir.resolve("other"),
                        "--chardev",
                        "stdio,id=qmp",
                        "--monitor",
                        "qmp");
        builder.environment().put("BLOCKWHARF_JAVA", System.getProperty("java.home"));
        daemon = builder.redirectError(ProcessBuilder.Redirect.INHERIT).start();
        qmp = new Qmp(daemon.inputReader(), daemon.outputWriter());
    }

    @AfterEach
    void stop() throws InterruptedException {
        daemon.destroyForcibly().waitFor();
    }

    @Test
    void removedUnderAClientAndPutBack() throws Exception {
        export();
        try (Client client = new Client()) {
            assertTrue(client.run("write -P 5 0 64k").contains("wrote 65536/65536"));
            Files.delete(drivers.resolve(DRIVER));
            assertEquals("BLOCK_EXPORT_DELETED {\"id\":\"disk\"}", qmp.event());
            assertFalse(client.run("read 0 64k").contains("read 65536/65536"));
        }
        byte[] acknowledged = new byte[65536];
        Arrays.fill(acknowledged, (byte) 5);
        assertTrue(Arrays.equals(acknowledged, Arrays.copyOf(Files.readAllBytes(disk), 65536)));
        await(() -> !commands().contains("\"nbd-server"));
        assertEquals(
                "CommandNotFound",
                qmp.execute("nbd-server-stop", "{}").at("/error/class").textValue());
        theOtherExportHasNotNoticed();

        install();
        await(this::exported);
        try (Client client = new Client()) {
            assertTrue(client.run("read -P 5 0 64k").contains("read 65536/65536"));
        }
        quit();
    }

    @Test
    void replacedUnderAClient() throws Exception {
        export();
        try (Client client = new Client()) {
            assertTrue(client.run("write -P 6 0 64k").contains("wrote 65536/65536"));
            install();
            assertEquals("BLOCK_EXPORT_DELETED {\"id\":\"disk\"}", qmp.event());
            assertFalse(client.run("read 0 64k").contains("read 65536/65536"));
        }
        theOtherExportHasNotNoticed();
        // The event comes while the old bundle stops: its commands may be there for a moment still.
        await(this::exported);
        try (Client client = new Client()) {
            assertTrue(client.run("read -P 6 0 64k").contains("read 65536/65536"));
        }
        quit();
    }

    /** Without its driver there are no images; put back, it opens what was written before. */
    @Test
    void theDriverOfQcow2ComesAndGoes() throws Exception {
        String qcow2 = "io.blockwharf.qcow2.jar";
        Path image = dir.resolve("a.qcow2");
        assertEquals(
                0,
                new ProcessBuilder("qemu-img", "create", "-q", "-f", "qcow2", image + "", "1M")
                        .start()
                        .waitFor());
        String add =
                """
                {"driver": "qcow2", "node-name": "q",
                 "file": {"driver": "file", "filename": "%s"}}
                """
                        .formatted(image);
        ok("nbd-server-start", server());
        ok("blockdev-add", add);
        ok("block-export-add", EXPORT.replace("\"node-name\": \"disk\"", "\"node-name\": \"q\""));
        ok("block-export-del", "{\"id\": \"disk\"}");
        assertEquals("BLOCK_EXPORT_DELETED {\"id\":\"disk\"}", qmp.event());
        ok("blockdev-del", "{\"node-name\": \"q\"}");
        Files.delete(drivers.resolve(qcow2));
        String nowhere = add.replace(image.toString(), "/nowhere");
        await(
                () ->
                        qmp.execute("blockdev-add", nowhere)
                                .at("/error/desc")
                                .asText()
                                .contains("'qcow2'"));
        theOtherExportHasNotNoticed();
        Path draft = drivers.resolve("draft");
        Files.copy(Distribution.HOME.resolve("drivers").resolve(qcow2), draft);
        Files.move(draft, drivers.resolve(qcow2), StandardCopyOption.ATOMIC_MOVE);
        await(() -> qmp.execute("blockdev-add", add).has("return"));
        quit();
    }

    @Test
    void aTypeSwitchedOffInConfLosesItsExports() throws Exception {
        Path conf = dir.resolve("home/conf/io.blockwharf.config.cfg");
        Files.writeString(conf, "CONFIG_VHOST_USER_BLK_SERVER = n\n");
        assertEquals("BLOCK_EXPORT_DELETED {\"id\":\"other\"}", qmp.event());
        await(() -> !schema().contains("\"vhost-user-blk\""));
        String again =
                """
                {"type": "vhost-user-blk", "id": "other", "node-name": "other",
                 "addr": {"type": "unix", "path": "%s"}}
                """
                        .formatted(dir.resolve("again"));
        assertEquals(
                "Parameter 'type' does not accept value 'vhost-user-blk'",
                qmp.execute("block-export-add", again).at("/error/desc").textValue());
        Files.writeString(conf, "CONFIG_VHOST_USER_BLK_SERVER = y\n");
        await(() -> schema().contains("\"vhost-user-blk\""));
        ok("block-export-add", again);
        quit();
    }

    private String schema() throws IOException {
        return ok("query-qmp-schema", "{}").toString();
    }

    private void export() throws IOException {
        ok("nbd-server-start", server());
        ok("block-export-add", EXPORT);
    }

    private boolean exported() throws IOException {
        qmp.execute("nbd-server-start", server());
        return qmp.execute("block-export-add", EXPORT).has("return");
    }

    private String server() {
        return "{\"addr\": {\"type\": \"unix\", \"data\": {\"path\": \"%s\"}}}"
                .formatted(dir.resolve("nbd"));
    }

    /** A jar of another date, put in place with one rename. */
    private void install() throws IOException {
        Path draft = drivers.resolve("draft");
        Files.copy(Distribution.HOME.resolve("drivers").resolve(DRIVER), draft);
        Files.move(draft, drivers.resolve(DRIVER), StandardCopyOption.ATOMIC_MOVE);
    }

    private void theOtherExportHasNotNoticed() throws IOException {
        assertEquals(
                "[{\"id\":\"other\",\"type\":\"vhost-user-blk\",\"node-name\":\"other\","
                        + "\"shutting-down\":false}]",
                ok("query-block-exports", "{}").toString());
        try (SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX)) {
            assertTrue(channel.connect(UnixDomainSocketAddress.of(dir.resolve("other"))));
        }
    }

    private void quit() throws Exception {
        ok("quit", "{}");
        assertEquals(0, daemon.waitFor());
    }

    private String commands() throws IOException {
        return ok("query-commands", "{}").toString();
    }

    private JsonNode ok(String command, String arguments) throws IOException {
        JsonNode answer = qmp.execute(command, arguments);
        assertTrue(answer.has("return"), answer::toString);
        return answer.get("return");
    }

    /** A condition that may ask the daemon. */
    private interface Condition {
        boolean holds() throws IOException;
    }

    private static void await(Condition condition) throws Exception {
        boolean holds = condition.holds();
        for (int i = 0; i < 3000 && !holds; i++) {
            Thread.sleep(10);
            holds = condition.holds();
        }
        assertTrue(holds);
    }

    /** qemu-io, connected and waiting for commands. */
    private final class Client implements AutoCloseable {
        private static final String PROMPT = "qemu-io> ";
        private final Process process;
        private final BufferedReader in;
        private final Writer out;

        Client() throws IOException {
            String address = "nbd+unix:///disk?socket=" + dir.resolve("nbd");
            process =
                    new ProcessBuilder("qemu-io", "-f", "raw", address)
                            .redirectErrorStream(true)
                            .start();
            in = process.inputReader();
            out = process.outputWriter();
            answer();
        }

        String run(String command) throws IOException {
            out.write(command + "\n");
            out.flush();
            return answer();
        }

        /** All output up to the next prompt. */
        private String answer() throws IOException {
            StringBuilder text = new StringBuilder();
            while (!text.toString().endsWith(PROMPT)) {
                int c = in.read();
                if (c < 0) {
                    throw new IOException("qemu-io has ended: " + text);
                }
                text.append((char) c);
            }
            return text.toString();
        }

        @Override
        public void close() {
            process.destroyForcibly();
        }
    }
}

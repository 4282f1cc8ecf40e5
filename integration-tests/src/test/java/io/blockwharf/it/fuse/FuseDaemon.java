package io.blockwharf.it.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/**
 * A daemon without exports that is told by QMP what to mount, so that a class of tests needs to
 * start only one. Closing it demands that it ends in order and leaves nothing mounted.
 */
final class FuseDaemon implements AutoCloseable {
    /** What only a program that hangs takes. */
    static final long LIMIT_SECONDS = 120;

    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path directory;
    private final Process process;
    private final Path log;
    private final SocketChannel monitor;
    private final BufferedReader answers;
    private final List<JsonNode> events = new ArrayList<>();
    private int images;

    private FuseDaemon(Path directory, Process process, Path log, SocketChannel monitor)
            throws IOException {
        this.directory = directory;
        this.process = process;
        this.log = log;
        this.monitor = monitor;
        answers =
                new BufferedReader(
                        new InputStreamReader(
                                Channels.newInputStream(monitor), StandardCharsets.UTF_8));
        answers.readLine(); // the greeting
        execute("qmp_capabilities", "{}");
    }

    /** The distribution's program. */
    static Path program() {
        return Path.of(System.getProperty("blockwharf.distribution"), "bin", "blockwharf")
                .normalize();
    }

    /**
     * Starts a daemon.
     *
     * @param settings framework properties
     */
    static FuseDaemon start(Path directory, String... settings) throws IOException {
        return start(directory, List.of(program().toString()), settings);
    }

    static FuseDaemon start(Path directory, List<String> program, String... settings)
            throws IOException {
        Path socket = directory.resolve("qmp");
        Path pidFile = directory.resolve("pid");
        Path log = directory.resolve("log");
        var command = new ArrayList<>(program);
        command.addAll(
                List.of(
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + socket,
                        "--monitor",
                        "m",
                        "--pidfile",
                        pidFile.toString()));
        var builder = new ProcessBuilder(command).redirectErrorStream(true);
        builder.redirectOutput(log.toFile());
        var options = new StringBuilder();
        for (String setting : settings) {
            options.append(" -D").append(setting);
        }
        builder.environment().merge("BLOCKWHARF_OPTS", options.toString(), String::concat);
        Process process = builder.start();
        until(
                () -> {
                    assertTrue(process.isAlive(), () -> "ended: " + read(log));
                    return Files.exists(pidFile) && read(pidFile).endsWith("\n");
                });
        var channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(socket));
        return new FuseDaemon(directory, process, log, channel);
    }

    /** Something that may take a while. */
    interface Condition {
        boolean holds() throws IOException;
    }

    static void until(Condition condition) throws IOException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(LIMIT_SECONDS);
        while (!condition.holds()) {
            assertTrue(System.nanoTime() < deadline, "waited in vain");
            LockSupport.parkNanos(2_000_000);
        }
    }

    private static String read(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            return "";
        }
    }

    Process process() {
        return process;
    }

    // QMP

    private JsonNode call(String command, String arguments) throws IOException {
        String line = "{\"execute\": \"%s\", \"arguments\": %s}\n".formatted(command, arguments);
        monitor.write(ByteBuffer.wrap(line.getBytes(StandardCharsets.UTF_8)));
        while (true) {
            String answer = answers.readLine();
            if (answer == null) {
                return fail("the monitor was closed: " + read(log));
            }
            JsonNode json = JSON.readTree(answer);
            if (!json.has("event")) {
                return json;
            }
            events.add(json);
        }
    }

    /** Runs a command, which must succeed. */
    JsonNode execute(String command, String arguments) throws IOException {
        JsonNode answer = call(command, arguments.replace('\'', '"'));
        assertTrue(answer.has("return"), () -> command + " " + arguments + ": " + answer);
        return answer.get("return");
    }

    /** Runs a command, which must fail; its description of that. */
    String refused(String command, String arguments) throws IOException {
        JsonNode answer = call(command, arguments.replace('\'', '"'));
        assertTrue(answer.has("error"), () -> command + " " + arguments + ": " + answer);
        assertEquals("GenericError", answer.at("/error/class").asText());
        return answer.at("/error/desc").asText();
    }

    /** How often the end of an export was reported so far. */
    long deletions(String id) throws IOException {
        execute("query-block-exports", "{}"); // events come in between
        return events.stream()
                .filter(event -> event.path("event").asText().equals("BLOCK_EXPORT_DELETED"))
                .filter(event -> event.at("/data/id").asText().equals(id))
                .count();
    }

    // Nodes and exports

    /** A node on a new raw image; its name. */
    String node(long size, String options) throws IOException {
        String name = "node" + images++;
        Path image = image(name);
        try (var file =
                java.nio.channels.FileChannel.open(
                        image,
                        java.nio.file.StandardOpenOption.CREATE_NEW,
                        java.nio.file.StandardOpenOption.WRITE)) {
            file.write(ByteBuffer.wrap(new byte[1]), size - 1);
        }
        forAnyUser(image);
        execute(
                "blockdev-add",
                "{'driver': 'file', 'node-name': '%s', 'filename': '%s'%s}"
                        .formatted(name, image, options));
        return name;
    }

    private static void forAnyUser(Path file) throws IOException {
        Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rw-rw-rw-"));
    }

    /** The image below a node. */
    Path image(String node) {
        return directory.resolve(node + ".raw");
    }

    /** Mounts a node; the file. The export has the name of the file. */
    Path export(String node, String file, String options) throws IOException {
        Path mountpoint = directory.resolve(file);
        if (Files.notExists(mountpoint)) {
            forAnyUser(Files.createFile(mountpoint));
        }
        execute("block-export-add", arguments(node, mountpoint, options));
        return mountpoint;
    }

    static String arguments(String node, Path mountpoint, String options) {
        return "{'type': 'fuse', 'id': '%s', 'node-name': '%s', 'mountpoint': '%s'%s}"
                .formatted(mountpoint.getFileName(), node, mountpoint, options);
    }

    void remove(Path mountpoint, String mode) throws IOException {
        String id = mountpoint.getFileName().toString();
        execute("block-export-del", "{'id': '%s', 'mode': '%s'}".formatted(id, mode));
        until(() -> !isMounted(mountpoint));
    }

    static boolean isMounted(Path mountpoint) throws IOException {
        return Files.readString(Path.of("/proc/self/mountinfo")).contains(" " + mountpoint + " ");
    }

    /** Waits for the end that was brought about; the exit status. */
    int awaitEnd() throws IOException {
        try {
            assertTrue(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS), () -> read(log));
            return process.exitValue();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    @Override
    public void close() throws IOException {
        try {
            if (process.isAlive()) {
                process.destroy();
                assertEquals(0, awaitEnd(), () -> read(log));
            }
            String mounts = Files.readString(Path.of("/proc/self/mountinfo"));
            assertTrue(!mounts.contains(" " + directory + "/"), mounts);
        } finally {
            monitor.close();
            process.destroyForcibly();
        }
    }
}

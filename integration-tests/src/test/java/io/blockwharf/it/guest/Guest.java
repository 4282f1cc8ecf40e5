package io.blockwharf.it.guest;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.BufferedReader;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A virtual machine that runs one script and ends with its status: {@code guest/run-guest.sh}. What
 * it boots is built once and kept; {@code BLOCKWHARF_GUEST} names one that is there already.
 */
final class Guest implements AutoCloseable {
    private static final Path SCRIPTS = Path.of("guest").toAbsolutePath();
    private static final int LIMIT_SECONDS = 180;

    private final Process process;
    private final BufferedReader output;
    private final StringBuilder seen = new StringBuilder();

    private final int limitSeconds;

    private Guest(Process process, int limitSeconds) {
        this.process = process;
        this.limitSeconds = limitSeconds;
        this.output = process.inputReader();
    }

    /** What all guests boot. */
    static Path image() throws IOException, InterruptedException {
        Optional<String> ready = Optional.ofNullable(System.getenv("BLOCKWHARF_GUEST"));
        if (ready.isPresent()) {
            return Path.of(ready.get());
        }
        Path out = Path.of("target", "guest").toAbsolutePath();
        Files.createDirectories(out.getParent());
        var builder = new ProcessBuilder(SCRIPTS.resolve("build-guest.sh").toString());
        builder.environment().put("OUT", out.toString());
        builder.redirectErrorStream(true);
        Process build = builder.start();
        String log = new String(build.getInputStream().readAllBytes());
        assertEquals(0, build.waitFor(), log);
        return out;
    }

    /**
     * QEMU's options for a disk behind a vhost-user socket, to which it connects again when it is
     * lost. It is in a port of its own, so that it can be unplugged.
     *
     * @param id of the device
     * @param properties more of the device, each with a comma before it
     */
    static List<String> disk(String id, Path socket, String properties) {
        return List.of(
                "-chardev",
                "socket,id=%s-socket,reconnect-ms=100,path=%s".formatted(id, socket),
                "-device",
                "pcie-root-port,id=%s-port,chassis=%d".formatted(id, id.hashCode() & 0xff),
                "-device",
                device(id, properties));
    }

    /** The device that {@link #disk} makes, for {@code -device} and {@code device_add}. */
    static String device(String id, String properties) {
        return "vhost-user-blk-pci,id=%s,bus=%1$s-port,chardev=%1$s-socket%s"
                .formatted(id, properties);
    }

    /**
     * Boots a guest.
     *
     * @param script of {@code guest/tests}, which finds {@code blk-verify.sh} in its home
     * @param options QEMU's
     */
    static Guest start(Path image, String script, List<String> options, String... environment)
            throws IOException {
        return start(image, script, LIMIT_SECONDS, List.of(), options, environment);
    }

    /**
     * The same with more processors than two: a Linux guest uses no more queues of a disk than it
     * has processors.
     */
    static Guest startWithProcessors(
            int processors, Path image, String script, List<String> options, String... environment)
            throws IOException {
        var switches = List.of("-c", Integer.toString(processors));
        return start(image, script, LIMIT_SECONDS, switches, options, environment);
    }

    /**
     * Boots a guest, and starts another QEMU to which it can migrate.
     *
     * @param there options of the other one, instead of {@code here}
     */
    static Guest startMigratable(
            Path image, String script, List<String> here, List<String> there, String... environment)
            throws IOException {
        return start(
                image,
                script,
                LIMIT_SECONDS,
                List.of("-i", String.join(" ", there)),
                here,
                environment);
    }

    /**
     * Boots a guest whose kernel is the daemon's host: the distribution and this Java are where
     * they are here, so that the AOT cache fits, and named by {@code BLOCKWHARF} and {@code
     * BLOCKWHARF_JAVA}.
     *
     * @param limitSeconds for the whole run: under emulation Java takes half a minute to start
     */
    static Guest withDaemon(Path image, String script, int limitSeconds) throws IOException {
        Path java = Path.of(System.getProperty("java.home")).toRealPath();
        Path home = Path.of(System.getProperty("blockwharf.distribution")).toRealPath();
        var switches = new ArrayList<>(List.of("-m", "1024M"));
        switches.addAll(List.of("-s", "java=" + java + ":" + java));
        switches.addAll(List.of("-s", "blockwharf=" + home + ":" + home));
        return start(
                image,
                script,
                limitSeconds,
                switches,
                List.of(),
                "BLOCKWHARF=" + home,
                "BLOCKWHARF_JAVA=" + java);
    }

    private static Guest start(
            Path image,
            String script,
            int limitSeconds,
            List<String> switches,
            List<String> options,
            String... environment)
            throws IOException {
        var command = new ArrayList<>(List.of(SCRIPTS.resolve("run-guest.sh").toString()));
        command.addAll(List.of("-q", "-S", "-m", "512M", "-o", image.toString()));
        command.addAll(List.of("-t", Integer.toString(limitSeconds)));
        command.addAll(
                List.of("-p", SCRIPTS.resolve("tests/blk-verify.sh") + ":/root/blk-verify.sh"));
        command.addAll(switches);
        for (String variable : environment) {
            command.addAll(List.of("-e", variable));
        }
        command.add(SCRIPTS.resolve("tests").resolve(script).toString());
        command.add("--");
        command.addAll(options);
        return new Guest(
                new ProcessBuilder(command).redirectErrorStream(true).start(), limitSeconds);
    }

    /** Waits until the script prints this line. */
    void await(String line) throws IOException {
        for (String next; (next = output.readLine()) != null; ) {
            seen.append(next).append('\n');
            if (next.strip().equals(line)) {
                return;
            }
        }
        fail("the guest never said " + line + ":\n" + seen);
    }

    /** Waits until the script has ended, demands that it succeeded, answers what it printed. */
    String succeeds() throws IOException, InterruptedException {
        output.lines().forEach(line -> seen.append(line).append('\n'));
        if (!process.waitFor(limitSeconds, TimeUnit.SECONDS)) {
            fail("the guest does not end:\n" + seen);
        }
        assertEquals(0, process.exitValue(), seen::toString);
        return seen.toString();
    }

    @Override
    public void close() throws IOException {
        process.destroy(); // its script ends QEMU
        output.close();
    }
}

package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * A daemon that runs, started from the distribution. Closing it sends SIGTERM and demands exit
 * status 0, so that every test that uses one also tests its end.
 */
final class Daemon implements AutoCloseable {
    /** The program under test: the distribution's, or what BLOCKWHARF_IT_DAEMON names. */
    static final String PROGRAM =
            Optional.ofNullable(System.getenv("BLOCKWHARF_IT_DAEMON"))
                    .orElseGet(
                            () ->
                                    Path.of(
                                                    System.getProperty("blockwharf.distribution"),
                                                    "bin",
                                                    "blockwharf")
                                            .normalize()
                                            .toString());

    /** Whether the tests run against QEMU's daemon, to prove that they are fair. */
    static final boolean REFERENCE = PROGRAM.endsWith("qemu-storage-daemon");

    /** What the program calls itself in its messages. */
    static final String NAME = Path.of(PROGRAM).getFileName().toString();

    private final Process process;
    private final Path pidFile;
    private final Path stdout;
    private final Path stderr;

    private Daemon(Path directory, List<String> command) throws IOException {
        Path own = Files.createTempDirectory(directory, "daemon");
        pidFile = own.resolve("pid");
        stdout = own.resolve("stdout");
        stderr = own.resolve("stderr");
        // Whoever runs the tests in the background may have had signals ignored, for all
        // descendants
        var all = new ArrayList<>(List.of("env", "--default-signal=HUP,INT"));
        all.addAll(command);
        all.addAll(List.of("--pidfile", pidFile.toString()));
        process =
                Tools.builder(all)
                        .redirectOutput(stdout.toFile())
                        .redirectError(stderr.toFile())
                        .start();
    }

    /** Starts the daemon and waits until it serves, which it says by writing its pid file. */
    static Daemon start(Path directory, String... arguments) throws IOException {
        var command = new ArrayList<>(List.of(PROGRAM));
        command.addAll(List.of(arguments));
        return launch(directory, command);
    }

    /** The same through another program that ends by executing the daemon. */
    static Daemon launch(Path directory, List<String> command) throws IOException {
        var daemon = new Daemon(directory, command);
        Waiting.until(
                () -> {
                    if (!daemon.process.isAlive()) {
                        fail("ended: " + command + "\n" + daemon.stderr());
                    }
                    return Files.exists(daemon.pidFile)
                            && Files.readString(daemon.pidFile).endsWith("\n");
                },
                () -> "the pid file of " + command);
        assertEquals(daemon.process.pid() + "\n", Files.readString(daemon.pidFile));
        return daemon;
    }

    /** Starts a daemon that serves one image over NBD on a unix socket. */
    static Daemon serving(Path directory, Path socket, Path image, String exportOptions)
            throws IOException {
        return start(
                directory,
                "--blockdev",
                "driver=file,node-name=disk,discard=unmap,filename=" + image,
                "--nbd-server",
                "addr.type=unix,addr.path=" + socket,
                "--export",
                "type=nbd,id=e,node-name=disk" + exportOptions);
    }

    long pid() {
        return process.pid();
    }

    Process process() {
        return process;
    }

    Path pidFile() {
        return pidFile;
    }

    String stderr() throws IOException {
        return Files.readString(stdout) + Files.readString(stderr);
    }

    boolean isAlive() {
        return process.isAlive();
    }

    /** Open descriptors of the process. */
    long descriptors() {
        try (var files = Files.list(Path.of("/proc", Long.toString(pid()), "fd"))) {
            return files.count();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Sends a signal by its name without SIG. */
    void signal(String name) {
        Tools.run("kill", "-" + name, Long.toString(pid())).ok();
    }

    /** Waits for the end that the test has brought about, and answers the exit status. */
    int awaitExit() {
        try {
            if (!process.waitFor(Tools.LIMIT_SECONDS, TimeUnit.SECONDS)) {
                fail("does not end:\n" + stderr());
            }
            return process.exitValue();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** Ends the daemon in order if it still runs. */
    @Override
    public void close() throws IOException {
        try {
            if (process.isAlive()) {
                signal("TERM");
            }
            int status = awaitExit();
            assertEquals(
                    0, status, () -> "exit status of " + NAME + "\n" + Waiting.get(this::stderr));
        } finally {
            process.destroyForcibly();
        }
    }
}

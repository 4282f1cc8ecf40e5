package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.it.stub.FrontEnd;
import io.blockwharf.it.stub.Trace;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;

/**
 * bin/blockwharf as a process, with a front end that does what the test says: what a script that
 * starts a storage daemon relies on.
 */
@Timeout(120)
class LauncherIT {
    @TempDir static Path home;
    @TempDir Path dir;

    private Path temporary;
    private Path pidFile;
    private final List<ProcessHandle> started = new ArrayList<>();

    /** A run that has ended. */
    private record Ended(int status, String out, String err) {}

    /** The platform's bundles and the stub: nothing of Blockwharf's but the launcher. */
    @BeforeAll
    static void distribution() throws IOException {
        try (var files = Files.walk(Distribution.HOME)) {
            for (Path file : (Iterable<Path>) files::iterator) {
                Path copy = home.resolve(Distribution.HOME.relativize(file).toString());
                if (Files.isDirectory(file)) {
                    Files.createDirectories(copy);
                } else if (!file.getFileName().toString().startsWith("io.blockwharf.")) {
                    Files.copy(file, copy, StandardCopyOption.COPY_ATTRIBUTES);
                }
            }
        }
        TestBundle.write(home.resolve("bundles/stub.jar"), "stub", FrontEnd.class, Map.of());
    }

    @BeforeEach
    void freshFolders() throws IOException {
        temporary = Files.createDirectory(dir.resolve("tmp"));
        pidFile = dir.resolve("pid");
        Files.deleteIfExists(home.resolve("drivers/driver.jar"));
    }

    @AfterEach
    void nothingRunsOn() throws Exception {
        for (ProcessHandle process : started) {
            process.destroyForcibly();
            process.onExit().get();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"TERM", "INT", "HUP"})
    void aSignalEndsTheDaemonInOrderWithStatus0(String signal) throws Exception {
        Process daemon = start("--pidfile", pidFile.toString());
        await(() -> Files.exists(pidFile));
        assertEquals(daemon.pid() + "\n", Files.readString(pidFile));
        run("kill", "-" + signal, Long.toString(daemon.pid()));
        assertEquals(new Ended(0, "", ""), end(daemon));
        assertFalse(Files.exists(pidFile));
        assertEquals(List.of(), list(temporary));
    }

    @Test
    void quitEndsTheDaemonWithStatus0() throws Exception {
        assertEquals(new Ended(0, "", ""), end(start("quit")));
        assertEquals(List.of(), list(temporary));
    }

    @Test
    void aCommandLineThatOnlyShowsSomethingEndsWithStatus0() throws Exception {
        assertEquals(new Ended(0, "types\n", ""), end(start("say", "types", "fail", "")));
        assertEquals(
                new Ended(0, "types\n", ""), end(start("--daemonize", "say", "types", "fail", "")));
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            quoteCharacter = '"',
            textBlock =
                    """
                    fail,--export fuse: Parameter 'id' is missing | --export fuse: Parameter 'id' is missing
                    extra                | extra: Unexpected argument
                    --pidfile            | option '--pidfile' requires an argument
                    --help=3             | option '--help' doesn't allow an argument
                    --pidfile,/no/where  | cannot create PID file: Could not create '/no/where': No such file or directory
                    """)
    void aFailedStartSaysWhyAndEndsWithStatus1(String args, String message) throws Exception {
        assertEquals(
                new Ended(1, "", "blockwharf: " + message + "\n"), end(start(args.split(","))));
        assertEquals(List.of(), list(temporary));
        assertEquals(
                new Ended(1, "", "blockwharf: " + message + "\n"),
                end(start(("--daemonize," + args).split(","))));
    }

    @Test
    void helpAndVersionNeedNoFramework() throws Exception {
        Ended help = end(start("--help"));
        assertTrue(help.out().startsWith("Usage: blockwharf [options]\n"));
        assertEquals(0, help.status());
        Ended version = end(start("--bogus", "-V"));
        assertTrue(version.out().startsWith("blockwharf version "));
        assertEquals(0, version.status());
        assertEquals(new Ended(0, version.out(), ""), end(start("--daemonize", "--version")));
    }

    /**
     * As a relative name, which cd would look for in CDPATH, and through links to file and folder.
     */
    @ParameterizedTest
    @ValueSource(strings = {"bin/blockwharf", "./bin/blockwharf", "linked/blockwharf", "command"})
    void itFindsItsFolderHoweverItIsCalled(String command) throws Exception {
        Path there = Files.createDirectory(dir.resolve("there"));
        Files.createDirectories(dir.resolve("elsewhere/bin"));
        Files.createDirectory(dir.resolve("elsewhere/linked"));
        Files.createSymbolicLink(there.resolve("linked"), home.resolve("bin"));
        Files.createSymbolicLink(there.resolve("command"), Path.of("linked/blockwharf"));
        Path folder = command.contains("bin") ? home : there;
        ProcessBuilder builder = new ProcessBuilder("sh", "-c", "exec ./" + command + " --version");
        if (!command.startsWith("./")) {
            builder.command("sh", "-c", "PATH=.:$PATH; exec " + command + " --version");
        }
        builder.directory(folder.toFile());
        builder.environment().put("CDPATH", dir.resolve("elsewhere").toString());
        Ended version = end(builder.start());
        assertEquals("", version.err());
        assertEquals(0, version.status());
    }

    /** Services often run without a locale; the JVM would take all but ASCII for question marks. */
    @ParameterizedTest
    @ValueSource(strings = {"C", "POSIX", "nowhere"})
    void argumentsAreUtf8InAnyLocale(String locale) throws Exception {
        String say = "exec \"$0\" say \"$(printf '\\303\\244')\" fail ''";
        String program = home.resolve("bin/blockwharf").toString();
        ProcessBuilder builder = new ProcessBuilder("sh", "-c", say, program);
        builder.environment().put("LC_ALL", locale);
        assertEquals(new Ended(0, "\u00e4\n", ""), end(builder.start()));
    }

    @Test
    void aJavaThatWasNamedAndIsNoJdk25IsNotReplaced() throws Exception {
        ProcessBuilder builder = new ProcessBuilder(home.resolve("bin/blockwharf") + "", "-V");
        builder.environment().put("BLOCKWHARF_JAVA", dir.toString());
        assertEquals(
                new Ended(
                        1,
                        "",
                        "blockwharf: BLOCKWHARF_JAVA=%s is not the folder of a JDK 25\n"
                                .formatted(dir)),
                end(builder.start()));
    }

    @Test
    void theSecondDaemonWithTheSamePidFileIsRefused() throws Exception {
        Process first = start("--pidfile", pidFile.toString());
        await(() -> Files.exists(pidFile));
        assertEquals(
                new Ended(
                        1,
                        "",
                        "blockwharf: cannot create PID file: Cannot lock pid file:"
                                + " Resource temporarily unavailable\n"),
                end(start("--pidfile", pidFile.toString())));
        assertEquals(first.pid() + "\n", Files.readString(pidFile));
        first.toHandle().destroy();
        assertEquals(0, end(first).status());
    }

    @Test
    void aKilledDaemonsPidFileIsReplaced() throws Exception {
        Process killed = start("--pidfile", pidFile.toString());
        await(() -> Files.exists(pidFile));
        killed.toHandle().destroyForcibly();
        killed.waitFor();
        Process next = start("--pidfile", pidFile.toString());
        await(() -> read(pidFile).equals(next.pid() + "\n"));
        next.toHandle().destroy();
        assertEquals(0, end(next).status());
    }

    /** QEMU's daemon writes to where the link leads, too. */
    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void aPidFileMayBeALink(boolean stale) throws Exception {
        Path target = dir.resolve("target");
        Files.createSymbolicLink(pidFile, Path.of("target"));
        if (stale) {
            Files.writeString(target, "1\n");
        }
        Process daemon = start("--pidfile", pidFile.toString());
        await(() -> read(target).equals(daemon.pid() + "\n"));
        assertTrue(Files.isSymbolicLink(pidFile));
        daemon.toHandle().destroy();
        assertEquals(new Ended(0, "", ""), end(daemon));
        assertFalse(Files.exists(target));
    }

    @ParameterizedTest
    @ValueSource(strings = {"--daemonize", "--daem"})
    void aDaemonizedParentEndsWhenEverythingIsReady(String option) throws Exception {
        Path copy = dir.resolve("copy");
        // end() reads both streams to their end: it would hang if the daemon kept them.
        Ended parent =
                end(start(option, "say", "hello", "--pidfile=" + pidFile, "copy", "3", copy + ""));
        assertEquals(new Ended(0, "hello\n", ""), parent);
        assertEquals("inherited", Files.readString(copy));
        ProcessHandle daemon =
                ProcessHandle.of(Long.parseLong(Files.readString(pidFile).strip())).orElseThrow();
        started.add(daemon);
        assertNotEquals(started.getFirst().pid(), daemon.pid());
        run("kill", "-INT", Long.toString(daemon.pid()));
        daemon.onExit().get(60, TimeUnit.SECONDS);
        assertFalse(Files.exists(pidFile));
        assertEquals(List.of(), list(temporary));
    }

    @Test
    void inheritedDescriptorsReachTheDaemon() throws Exception {
        Path copy = dir.resolve("copy");
        assertEquals(0, end(start("copy", "3", copy.toString(), "quit")).status());
        assertEquals("inherited", Files.readString(copy));
    }

    @Test
    void driversAreThereBeforeTheCommandLineAndOnlyOnce() throws Exception {
        Path trace = dir.resolve("trace");
        Path bundles = dir.resolve("bundles");
        driver(trace, "1.0.0");
        assertEquals(new Ended(0, "", ""), end(start("bundles", bundles.toString(), "quit")));
        assertEquals(1, Files.readAllLines(bundles).stream().filter("driver 32"::equals).count());
        assertEquals(List.of("start 1.0.0", "stop 1.0.0"), Files.readAllLines(trace));
    }

    @Test
    void aDriverIsInstalledUpdatedAndRemovedWithItsFile() throws Exception {
        Path trace = dir.resolve("trace");
        Process daemon = start("--pidfile", pidFile.toString());
        await(() -> Files.exists(pidFile));
        Path jar = driver(trace, "1.0.0");
        await(() -> read(trace).equals("start 1.0.0\n"));
        driver(trace, "1.1.0");
        await(() -> read(trace).equals("start 1.0.0\nstop 1.0.0\nstart 1.1.0\n"));
        Files.delete(jar);
        await(() -> read(trace).equals("start 1.0.0\nstop 1.0.0\nstart 1.1.0\nstop 1.1.0\n"));
        daemon.toHandle().destroy();
        assertEquals(new Ended(0, "", ""), end(daemon));
    }

    /** Half a jar ends the driver that it replaces, and a whole one begins it again. */
    @Test
    void aJarThatIsNoBundleIsReported() throws Exception {
        Path trace = dir.resolve("trace");
        Process daemon = start("--pidfile", pidFile.toString());
        await(() -> Files.exists(pidFile));
        Path jar = driver(trace, "1.0.0");
        await(() -> read(trace).equals("start 1.0.0\n"));
        Path half = dir.resolve("half");
        Files.write(half, Arrays.copyOf(Files.readAllBytes(jar), 300));
        Files.move(half, jar, StandardCopyOption.ATOMIC_MOVE);
        await(() -> read(trace).equals("start 1.0.0\nstop 1.0.0\n"));
        driver(trace, "1.1.0");
        await(() -> read(trace).equals("start 1.0.0\nstop 1.0.0\nstart 1.1.0\n"));
        daemon.toHandle().destroy();
        String message = "blockwharf: " + jar + " is not a bundle any more, and is uninstalled\n";
        assertEquals(new Ended(0, "", message), end(daemon));
    }

    private Path driver(Path trace, String version) throws IOException {
        return TestBundle.write(
                home.resolve("drivers/driver.jar"),
                "driver",
                Trace.class,
                Map.of("Bundle-Version", version, "Trace-File", trace.toString()));
    }

    /** Starts the daemon with descriptor 3 open on a file that says "inherited". */
    private Process start(String... args) throws IOException {
        Path inherited = Files.writeString(dir.resolve("inherited"), "inherited");
        List<String> command = new ArrayList<>();
        // Signals that somebody had ignored for all that he starts would not reach the daemon
        command.addAll(List.of("env", "--default-signal=HUP,INT"));
        command.addAll(List.of("sh", "-c", "exec \"$@\" 3<\"$0\"", inherited.toString()));
        command.add(home.resolve("bin/blockwharf").toString());
        command.addAll(List.of(args));
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().put("TMPDIR", temporary.toString());
        builder.environment().put("BLOCKWHARF_JAVA", System.getProperty("java.home"));
        Process process = builder.start();
        started.add(process.toHandle());
        return process;
    }

    private static Ended end(Process process) throws Exception {
        process.getOutputStream().close();
        String out = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        String err = new String(process.getErrorStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Ended(process.waitFor(), out, err);
    }

    private static void run(String... command) throws Exception {
        assertEquals(0, new ProcessBuilder(command).inheritIO().start().waitFor());
    }

    private static List<Path> list(Path folder) throws IOException {
        try (var files = Files.list(folder)) {
            return files.toList();
        }
    }

    private static String read(Path file) {
        try {
            return Files.exists(file) ? Files.readString(file) : "";
        } catch (IOException e) {
            return "";
        }
    }

    private static void await(BooleanSupplier condition) throws InterruptedException {
        boolean holds = condition.getAsBoolean();
        for (int i = 0; i < 3000 && !holds; i++) {
            Thread.sleep(10);
            holds = condition.getAsBoolean();
        }
        assertTrue(holds);
    }
}

package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * How the daemon begins and how it ends: command line, pid file, background, signals, exit status.
 */
class LifeIT {
    @TempDir Path directory;

    @ParameterizedTest(name = "SIG{0}")
    @ValueSource(strings = {"TERM", "INT", "HUP"})
    void aSignalEndsItInOrder(String signal) throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        Path socket = directory.resolve("s");
        try (var daemon = Daemon.serving(directory, socket, image, ",writable=on")) {
            Tools.run(
                            "qemu-io",
                            "-f",
                            "raw",
                            "-c",
                            "write -P 7 0 64k",
                            "nbd+unix:///disk?socket=" + socket)
                    .ok();
            daemon.signal(signal);
            assertEquals(0, daemon.awaitExit(), daemon::toString);
            assertFalse(Files.exists(daemon.pidFile()), "the pid file is left");
            assertTrue(
                    Files.exists(socket),
                    "the socket goes, although scripts for QEMU's daemon remove it");
        }
        Tools.run("qemu-io", "-f", "raw", "-c", "read -P 7 0 64k", image.toString()).ok();
    }

    @Test
    void aSignalEndsItWhileAClientIsConnected() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        Path socket = directory.resolve("s");
        try (var daemon = Daemon.serving(directory, socket, image, "");
                var _ = QmpClient.unixChannel(socket)) {
            daemon.signal("TERM");
            assertEquals(0, daemon.awaitExit());
        }
    }

    @Test
    void quitEndsItAfterTheEventsOfItsExports() throws IOException {
        Path monitor = directory.resolve("qmp");
        try (var daemon =
                        Daemon.start(
                                directory,
                                "--chardev",
                                "socket,id=m,server=on,wait=off,path=" + monitor,
                                "--monitor",
                                "m",
                                "--blockdev",
                                "null-co,node-name=n,size=1048576",
                                "--nbd-server",
                                "addr.type=unix,addr.path=" + directory.resolve("s"),
                                "--export",
                                "nbd,id=e,node-name=n");
                var qmp = QmpClient.unix(monitor)) {
            assertEquals("{}", qmp.execute("quit").toString());
            assertEquals(1, qmp.pendingEvents());
            assertEquals("e", qmp.event("BLOCK_EXPORT_DELETED").at("/data/id").asText());
            assertEquals(0, daemon.awaitExit());
            assertFalse(Files.exists(daemon.pidFile()));
        }
    }

    @Test
    void aSecondDaemonDoesNotTakeThePidFile() throws IOException {
        try (var daemon = Daemon.start(directory)) {
            Tools.Result second =
                    Tools.run(Daemon.PROGRAM, "--pidfile", daemon.pidFile().toString());
            assertEquals(1, second.status());
            assertEquals(
                    Daemon.NAME
                            + ": cannot create PID file: Cannot lock pid file: Resource temporarily"
                            + " unavailable\n",
                    second.stderr());
            assertEquals(daemon.pid() + "\n", Files.readString(daemon.pidFile()));
        }
    }

    @Test
    void inTheBackgroundItServesWhenTheCommandReturns() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        Path socket = directory.resolve("s");
        Path pidFile = directory.resolve("pid");
        Tools.run(
                        Daemon.PROGRAM,
                        "--daemonize",
                        "--pidfile",
                        pidFile.toString(),
                        "--blockdev",
                        "driver=file,node-name=disk,filename=" + image,
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "nbd,id=e,node-name=disk")
                .ok();
        long pid = Long.parseLong(Files.readString(pidFile).strip());
        try {
            Tools.run("nbdinfo", "--size", "nbd+unix:///disk?socket=" + socket).ok();
        } finally {
            Tools.run("kill", Long.toString(pid)).ok();
            Waiting.until(
                    () -> !Files.exists(pidFile), () -> "the daemon in the background to end");
        }
    }

    @Test
    void inTheBackgroundItsFailureIsTheCommands() {
        Tools.Result result =
                Tools.run(Daemon.PROGRAM, "--daemonize", "--blockdev", "driver=nope,node-name=n");
        assertEquals(1, result.status(), result::toString);
        assertTrue(
                result.stderr().contains("Parameter 'driver' does not accept value 'nope'"),
                result.stderr());
    }

    /** The command line's errors, which scripts grep for: PROGRAM: OPTION: MESSAGE on one line. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    --export fuse                            | Parameter 'id' is missing
                    --export nbd,id=e,node-name=x,writable=maybe | Parameter 'writable' expects 'on' or 'off'
                    --export nbd,id=e,node-name=x            | Cannot find device='' nor node-name='x'
                    --export nbd,id=1x,node-name=x           | Invalid block export id
                    --export type=nope,id=e,node-name=x      | Parameter 'type' does not accept value 'nope'
                    --blockdev driver=file,node-name=a       | Parameter 'filename' is missing
                    --blockdev driver=file,filename=/nonexistent/x,node-name=a | Could not open '/nonexistent/x': No such file or directory
                    --blockdev driver=nope,node-name=a       | Parameter 'driver' does not accept value 'nope'
                    --blockdev null-co,node-name=a,size=1M   | Parameter 'size' expects integer
                    --blockdev null-co,node-name=a,bogus=1   | Parameter 'bogus' is unexpected
                    --nbd-server addr.type=unix,addr.path=/nonexistent/x | Failed to bind socket to /nonexistent/x: No such file or directory
                    --nbd-server addr.type=inet              | Parameter 'addr.host' is missing
                    --nbd-server addr.type=unix,addr.path=z,max-connections=x | Parameter 'max-connections' expects integer
                    --object iothread                        | Parameter 'id' is missing
                    --object nope,id=x                       | Parameter 'qom-type' does not accept value 'nope'
                    --chardev null                           | chardev: no id specified
                    --monitor nope                           | chardev "nope" not found
                    --monitor chardev=nope                   | chardev "nope" not found
                    """)
    void aWrongOptionIsNamedAndEndsTheStart(String commandLine, String message) {
        List<String> command = new ArrayList<>(List.of(Daemon.PROGRAM));
        command.addAll(List.of(commandLine.split(" ", 2)));
        Tools.Result result = Tools.run(command);
        assertEquals(Daemon.NAME + ": " + commandLine + ": " + message + "\n", result.stderr());
        assertEquals(1, result.status());
    }

    /** In the background nobody is at the other end of standard input and output. */
    @Test
    void inTheBackgroundTheStandardStreamsCannotBeUsed() {
        for (String option :
                Daemon.REFERENCE
                        ? List.of("--chardev stdio,id=c")
                        : List.of("--chardev stdio,id=c", "--shell stdio")) {
            List<String> command = new ArrayList<>(List.of(Daemon.PROGRAM, "--daemonize"));
            command.addAll(List.of(option.split(" ")));
            Tools.Result result = Tools.run(command);
            assertEquals(
                    Daemon.NAME + ": " + option + ": cannot use stdio with -daemonize\n",
                    result.stderr());
            assertEquals(1, result.status());
        }
    }

    /** What is wrong with the JSON each parser says in its own words. */
    @Test
    void jsonThatIsNoneEndsTheStart() {
        Tools.Result result = Tools.run(Daemon.PROGRAM, "--blockdev", "{bad");
        assertTrue(
                result.stderr().startsWith(Daemon.NAME + ": --blockdev {bad: JSON parse error, "),
                result.stderr());
        assertEquals(1, result.status());
    }

    /** Options run in order: what follows sees what came before, and nothing else. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    --bogus | unrecognized option '--bogus'
                    --export | option '--export' requires an argument
                    extra | extra: Unexpected argument
                    --pidfile /nonexistent/pid | cannot create PID file: Could not create '/nonexistent/pid': No such file or directory
                    --blockdev null-co,node-name=a --blockdev null-co,node-name=a | --blockdev null-co,node-name=a: Duplicate nodes with node-name='a'
                    --blockdev null-co,node-name=a --export nbd,id=e,node-name=a | --export nbd,id=e,node-name=a: NBD server not running
                    --export nbd,id=e,node-name=a --blockdev null-co,node-name=a | --export nbd,id=e,node-name=a: Cannot find device='' nor node-name='a'
                    --blockdev null-co,node-name=a --nbd-server addr.type=unix,addr.path=@ --nbd-server addr.type=unix,addr.path=@ | --nbd-server addr.type=unix,addr.path=@: NBD server already running
                    --blockdev null-co,node-name=a,read-only=on --nbd-server addr.type=unix,addr.path=@ --export nbd,id=e,node-name=a,writable=on | --export nbd,id=e,node-name=a,writable=on: Cannot export read-only node as writable
                    --blockdev null-co,node-name=a --nbd-server addr.type=unix,addr.path=@ --export nbd,id=e,node-name=a --export nbd,id=e,node-name=a | --export nbd,id=e,node-name=a: Block export id 'e' is already in use
                    --blockdev null-co,node-name=a --nbd-server addr.type=unix,addr.path=@ --export nbd,id=e,node-name=a --export nbd,id=f,node-name=a | --export nbd,id=f,node-name=a: NBD server already has export named 'a'
                    --blockdev null-co,node-name=a --nbd-server addr.type=unix,addr.path=@ --export nbd,id=e,node-name=a,iothread=t | --export nbd,id=e,node-name=a,iothread=t: iothread "t" not found
                    """)
    void theFirstFailureEndsTheStart(String commandLine, String message) {
        String socket = directory.resolve("s").toString();
        List<String> command = new ArrayList<>(List.of(Daemon.PROGRAM));
        command.addAll(List.of(commandLine.replace("@", socket).split(" ")));
        Tools.Result result = Tools.run(command);
        assertEquals(Daemon.NAME + ": " + message.replace("@", socket) + "\n", result.stderr());
        assertEquals(1, result.status());
    }

    @Test
    void keyvalAndJsonSayTheSame() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        Path socket = directory.resolve("s");
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "{\"driver\": \"raw\", \"node-name\": \"r\", \"file\": {\"driver\":"
                                + " \"file\", \"filename\": \""
                                + image
                                + "\"}}",
                        "--blockdev",
                        "raw,node-name=k,offset=4096,size=8192,file.driver=null-co,file.size=65536",
                        "--nbd-server",
                        "{\"addr\": {\"type\": \"unix\", \"path\": \"" + socket + "\"}}",
                        "--export",
                        "{\"type\": \"nbd\", \"id\": \"e\", \"node-name\": \"r\", \"writable\":"
                                + " true}",
                        "--export",
                        "nbd,id=f,node-name=k,name=a,,comma")) {
            assertEquals("1048576", size(socket, "r"));
            assertEquals("8192", size(socket, "a%2ccomma"));
        }
    }

    private static String size(Path socket, String export) {
        return Tools.run("nbdinfo", "--size", "nbd+unix:///" + export + "?socket=" + socket)
                .ok()
                .strip();
    }

    /** A listening socket passed by number, as libnbd's own tests do. */
    @Test
    void theNbdServerTakesAListeningDescriptor() throws IOException {
        Path image = Image.sparse(directory.resolve("image"), MIB);
        Path socket = directory.resolve("s");
        String script =
                """
                import os, socket, sys
                listener = socket.socket(socket.AF_UNIX)
                listener.bind(sys.argv[1])
                listener.listen()
                listener.set_inheritable(True)
                os.execv(sys.argv[2], [sys.argv[2], "--nbd-server", "addr.type=fd,addr.str=%d" % listener.fileno()] + sys.argv[3:])
                """;
        String program = Tools.run("sh", "-c", "command -v \"$0\"", Daemon.PROGRAM).ok().strip();
        try (var _ =
                Daemon.launch(
                        directory,
                        List.of(
                                "python3",
                                "-c",
                                script,
                                socket.toString(),
                                program,
                                "--blockdev",
                                "driver=file,node-name=disk,filename=" + image,
                                "--export",
                                "nbd,id=e,node-name=disk"))) {
            assertEquals("1048576", size(socket, "disk"));
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"--help", "-h", "--version", "-V"})
    void helpAndVersionSucceed(String option) {
        String output = Tools.run(Daemon.PROGRAM, option).ok();
        assertTrue(
                output.contains(option.toLowerCase().contains("v") ? "version" : "--blockdev"),
                output);
    }
}

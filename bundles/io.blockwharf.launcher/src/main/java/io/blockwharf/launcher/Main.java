package io.blockwharf.launcher;

import static java.nio.charset.StandardCharsets.US_ASCII;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The process: options, pid file, readiness, signals, exit status.
 *
 * <p>It ends with 0 after SIGTERM, SIGINT, SIGHUP or the {@code quit} command, and with 1 and one
 * line on standard error if it could not start. System properties, set by {@code bin/blockwharf}:
 * {@code blockwharf.home}, the distribution's folder; {@code blockwharf.ready}, with {@code
 * --daemonize} the descriptor of a pipe on which the waiting parent reads the exit status that it
 * shall end with.
 */
public final class Main {
    private final Optional<Path> readyPipe =
            Optional.ofNullable(System.getProperty("blockwharf.ready"))
                    .map(fd -> Path.of("/proc/self/fd/" + fd));

    /** Set before the shutdown begins, read by the shutdown hook. */
    private volatile int status;

    private volatile Daemon daemon;
    private volatile PidFile pidFile;

    private Main() {}

    /** Runs until the daemon is told to end. */
    public static void main(String[] args) {
        Main main = new Main();
        // A JVM ends with 128 + the signal's number, but only if the hooks let it get there.
        Runtime.getRuntime().addShutdownHook(new Thread(main::end, "shutdown"));
        try {
            main.run(List.of(args));
        } catch (StartException e) {
            main.fail(e.getMessage());
        } catch (Exception | LinkageError e) {
            main.fail("cannot start: " + e);
        }
        System.out.flush();
        main.tellParent(); // that this was all; after ready() nobody listens any more
        System.exit(main.status);
    }

    private void run(List<String> args) throws InterruptedException {
        Options options = Options.parse(args);
        if (options.help()) {
            System.out.print(Options.USAGE);
            return;
        }
        if (options.version()) {
            System.out.println("blockwharf version " + version());
            return;
        }
        if (options.daemonize() && readyPipe.isEmpty()) {
            throw new StartException("--daemonize needs bin/blockwharf");
        }
        daemon = Daemon.start(home());
        if (!daemon.commandLine(options.rest())) {
            return;
        }
        pidFile = options.pidFile().map(PidFile::create).orElse(null);
        daemon.ready(options.daemonize());
        ready();
        daemon.waitForStop();
    }

    private static Path home() {
        String home = System.getProperty("blockwharf.home");
        if (home == null) {
            throw new StartException("the property blockwharf.home is not set: use bin/blockwharf");
        }
        return Path.of(home);
    }

    private static String version() {
        return Optional.ofNullable(Main.class.getPackage().getImplementationVersion())
                .orElse("(unpacked)");
    }

    private void fail(String message) {
        status = 1;
        TerminalLog.print(message);
    }

    /** Lets the caller's process go: no descriptor that it may be reading stays open here. */
    private void ready() {
        if (readyPipe.isEmpty()) {
            return;
        }
        try {
            // For descriptors 0 to 2 the JDK's close means: redirect to /dev/null.
            new FileInputStream(FileDescriptor.in).close();
            new FileOutputStream(FileDescriptor.out).close();
            new FileOutputStream(FileDescriptor.err).close();
        } catch (IOException e) {
            throw new StartException("cannot let the terminal go: %s", e.getMessage());
        }
        tellParent();
    }

    private void tellParent() {
        readyPipe.ifPresent(
                pipe -> {
                    // For reading too, or the open would wait for a reader that may be gone.
                    try (FileChannel channel = FileChannel.open(pipe, READ, WRITE)) {
                        channel.write(ByteBuffer.wrap((status + "\n").getBytes(US_ASCII)));
                    } catch (IOException e) {
                        // Then the parent sees the end of the pipe.
                    }
                });
    }

    /** Shutdown hook: everything in order, then the exit status that a daemon owes. */
    private void end() {
        if (daemon != null) {
            daemon.close();
        }
        if (pidFile != null) {
            pidFile.close();
        }
        System.out.flush();
        Runtime.getRuntime().halt(status);
    }
}

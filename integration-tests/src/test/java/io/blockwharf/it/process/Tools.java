package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** Runs other programs, each with a limit of time that only a hanging one reaches. */
final class Tools {
    static final long LIMIT_SECONDS = 60;

    private Tools() {}

    /** What a program left. */
    record Result(List<String> command, int status, String stdout, String stderr) {

        /** Demands that the program succeeded, and answers what it printed. */
        String ok() {
            assertEquals(0, status, this::toString);
            return stdout;
        }

        /** Demands that the program failed, and answers all that it printed. */
        String failed() {
            if (status == 0) {
                fail("succeeded against expectation: " + this);
            }
            return stdout + stderr;
        }

        @Override
        public String toString() {
            return String.join(" ", command) + "\nstatus " + status + "\n" + stdout + stderr;
        }
    }

    static Result run(String... command) {
        return run(List.of(command));
    }

    static Result run(List<String> command) {
        try {
            Path out = Files.createTempFile("out", null);
            Path err = Files.createTempFile("err", null);
            try {
                Process process =
                        builder(command)
                                .redirectOutput(out.toFile())
                                .redirectError(err.toFile())
                                .start();
                process.getOutputStream().close();
                if (!process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS)) {
                    process.destroyForcibly().waitFor();
                    fail(command + " hangs\n" + Files.readString(out) + Files.readString(err));
                }
                return new Result(
                        command, process.exitValue(), Files.readString(out), Files.readString(err));
            } finally {
                Files.delete(out);
                Files.delete(err);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /**
     * A process whose search path begins with the system's folders: nbdsh runs whatever python3
     * comes first, but only the distribution's has libnbd's module.
     */
    static ProcessBuilder builder(List<String> command) {
        var builder = new ProcessBuilder(command);
        builder.environment()
                .merge("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", (old, first) -> first + ":" + old);
        return builder;
    }

    /**
     * Runs Python statements in nbdsh, where {@code h} is a handle of libnbd that is not connected
     * yet.
     */
    static String nbdsh(String script) {
        return run("nbdsh", "-n", "-c", "import nbd, errno\nh = nbd.NBD()\n" + script).ok();
    }
}

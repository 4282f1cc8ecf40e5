package io.blockwharf.it.fuse;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * What a program printed and how it ended.
 *
 * @param command with its arguments
 * @param status 0 if all went well
 * @param output of both kinds
 */
record Program(List<String> command, int status, String output) {
    /** Runs a program to its end. */
    static Program run(String... command) {
        try {
            Path output = Files.createTempFile("output", null);
            try {
                Process process =
                        new ProcessBuilder(command)
                                .redirectErrorStream(true)
                                .redirectOutput(output.toFile())
                                .start();
                process.getOutputStream().close();
                if (!process.waitFor(FuseDaemon.LIMIT_SECONDS, TimeUnit.SECONDS)) {
                    process.destroyForcibly();
                    fail(String.join(" ", command) + " hangs");
                }
                return new Program(List.of(command), process.exitValue(), Files.readString(output));
            } finally {
                Files.delete(output);
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    /** It must have succeeded; what it printed. */
    String ok() {
        assertEquals(0, status, this::toString);
        return output;
    }

    /** It must have failed; what it printed. */
    String failed() {
        assertNotEquals(0, status, this::toString);
        return output;
    }
}

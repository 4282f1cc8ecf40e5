package io.blockwharf.it.transcript;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/**
 * A daemon that both can be.
 *
 * @param path its file
 * @param name what it calls itself in its messages
 */
record Program(String path, String name) {
    static final Program OURS =
            new Program(
                    Path.of(System.getProperty("blockwharf.distribution"), "bin", "blockwharf")
                            .toString(),
                    "blockwharf");

    static final Program THEIRS = new Program("qemu-storage-daemon", "qemu-storage-daemon");

    private static final long LIMIT_SECONDS = 60;

    /** How a program ended. */
    record Ended(int status, String stdout, String stderr) {}

    /**
     * Runs it with nothing to read until it ends, which it must.
     *
     * @param directory the folder that it runs in
     */
    Ended run(Path directory, List<String> arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of(path));
        command.addAll(arguments);
        Path out = Files.createTempFile(directory, "out", null);
        Path err = Files.createTempFile(directory, "err", null);
        Process process =
                new ProcessBuilder(command)
                        .directory(directory.toFile())
                        .redirectInput(Path.of("/dev/null").toFile())
                        .redirectOutput(out.toFile())
                        .redirectError(err.toFile())
                        .start();
        try {
            assertTrue(process.waitFor(LIMIT_SECONDS, TimeUnit.SECONDS), () -> command + " runs");
            String errors = Files.readString(err, StandardCharsets.UTF_8);
            return new Ended(
                    process.exitValue(),
                    Files.readString(out, StandardCharsets.UTF_8),
                    errors.replaceAll(name + ": ?", ""));
        } finally {
            process.destroyForcibly();
        }
    }

    @Override
    public String toString() {
        return name;
    }
}

package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.charset.StandardCharsets;

/** A block device that is a file, made by losetup(8). */
final class LoopDevice implements AutoCloseable {
    private final String path;

    LoopDevice(String file) throws IOException {
        path = run("losetup", "--find", "--show", file);
    }

    String path() {
        return path;
    }

    private static String run(String... command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output =
                new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8).strip();
        // The end of its output is that of the program
        assertEquals(0, process.onExit().join().exitValue(), output);
        return output;
    }

    @Override
    public void close() throws IOException {
        run("losetup", "--detach", path);
    }
}

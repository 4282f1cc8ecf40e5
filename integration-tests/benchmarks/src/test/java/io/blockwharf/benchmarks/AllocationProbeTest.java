package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.nio.file.Path;

/** Against a process of its own that allocates on demand. */
class AllocationProbeTest {
    private static final int MIB = 1 << 20;

    @Test
    void itCountsWhatTheOtherProcessAllocatesAndNothingElse() throws IOException {
        Process process =
                new ProcessBuilder(
                                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                                "-XX:+UseSerialGC",
                                "-cp",
                                System.getProperty("java.class.path"),
                                Allocator.class.getName())
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        try (var probe = AllocationProbe.attach(process.pid())) {
            allocate(
                    process,
                    3); // so that what the process loads for its first answer is not counted
            probe.reset();
            assertEquals(0, probe.bytes());
            allocate(process, 3);
            long bytes = probe.bytes();
            assertTrue(bytes >= 3 * MIB && bytes < 3 * MIB + 4096, bytes + " bytes");
        } finally {
            process.destroyForcibly();
        }
    }

    private static void allocate(Process process, int mebibytes) throws IOException {
        process.getOutputStream().write(mebibytes);
        process.getOutputStream().flush();
        assertEquals(mebibytes, process.getInputStream().read());
    }

    /** Allocates as many MiB as each byte of its standard input says, and echoes the byte. */
    static final class Allocator {
        private static byte[] last;

        private Allocator() {}

        public static void main(String[] arguments) throws IOException {
            for (int mebibytes; (mebibytes = System.in.read()) >= 0; ) {
                for (int i = 0; i < mebibytes; i++) {
                    last = new byte[MIB];
                }
                System.out.write(last == null ? 0 : mebibytes);
                System.out.flush();
            }
        }
    }
}

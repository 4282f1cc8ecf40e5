package io.blockwharf.it.process;

import java.io.IOException;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;

/**
 * Programs newer than those of the distribution, unpacked by {@code integration-tests/newer-peers}:
 * libnbd 1.22, QEMU 10.
 */
public final class NewerPeers {
    private static final long DOWNLOAD_LIMIT_SECONDS = 600;

    private static Path programs;

    private NewerPeers() {}

    /** A program to be run. */
    public static synchronized String program(String name) throws IOException {
        if (programs == null) {
            programs = unpacked();
        }
        return programs.resolve(name).toString();
    }

    private static Path unpacked() throws IOException {
        Process process =
                new ProcessBuilder(Path.of("newer-peers").toAbsolutePath().toString())
                        .redirectError(ProcessBuilder.Redirect.INHERIT)
                        .start();
        try {
            if (!process.waitFor(DOWNLOAD_LIMIT_SECONDS, TimeUnit.SECONDS)
                    || process.exitValue() != 0) {
                process.destroyForcibly();
                throw new IOException("newer-peers has not unpacked any");
            }
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
        return Path.of(new String(process.getInputStream().readAllBytes()).strip());
    }
}

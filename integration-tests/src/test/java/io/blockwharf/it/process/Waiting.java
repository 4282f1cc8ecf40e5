package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.fail;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.concurrent.locks.LockSupport;
import java.util.function.Supplier;

/**
 * Waits for what another process does, for as long as a hanging one deserves; a passing test never
 * waits that long.
 */
final class Waiting {
    private static final long STEP_NANOS = 2_000_000;

    private Waiting() {}

    /** A question to the file system or to a process. */
    interface Question<T> {
        T ask() throws IOException;
    }

    static void until(Question<Boolean> condition, Supplier<String> what) {
        long deadline = System.nanoTime() + Tools.LIMIT_SECONDS * 1_000_000_000L;
        while (!get(condition)) {
            if (System.nanoTime() - deadline > 0) {
                fail("waited in vain for " + what.get());
            }
            LockSupport.parkNanos(STEP_NANOS);
        }
    }

    /** Waits for a process to end, and answers its exit status. */
    static int exit(Process process) {
        until(() -> !process.isAlive(), () -> "the end of process " + process.pid());
        return process.exitValue();
    }

    static <T> T get(Question<T> question) {
        try {
            return question.ask();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}

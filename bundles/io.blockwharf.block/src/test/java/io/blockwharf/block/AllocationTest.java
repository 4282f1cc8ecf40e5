package io.blockwharf.block;

import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.IoVector;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;
import java.util.Optional;

/** Requests leave nothing for the garbage collector. */
@Timeout(120)
class AllocationTest {
    private static final com.sun.management.ThreadMXBean THREADS =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static final int ROUNDS = 20_000;
    private static final int ATTEMPTS = 40;

    /** What a compilation in between may take; not a byte per request. */
    private static final long NOISE = ROUNDS / 20;

    private interface Request {
        void run() throws IOException;
    }

    @TempDir Path directory;

    /** Tries until compiled code runs: interpreted foreign calls do allocate. */
    private static void assertAllocatesNothing(String name, Request request) throws IOException {
        long least = Long.MAX_VALUE;
        for (int attempt = 0; attempt < ATTEMPTS && least > NOISE; attempt++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < ROUNDS; i++) {
                request.run();
            }
            least = Math.min(least, THREADS.getCurrentThreadAllocatedBytes() - before);
        }
        assertTrue(least <= NOISE, name + ": " + least / (double) ROUNDS + " bytes a request");
    }

    @Test
    void files() throws IOException {
        Path path = directory.resolve("disk.raw");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(1 << 20);
        }
        IoVector one = whole(zeroes(4096));
        IoVector two = Images.pieces(zeroes(4096), 2048);
        FakeNode child = new FakeNode(Images.file(path, Images.WRITABLE));
        BlockImage raw =
                new RawDriver().open(Images.raw(child, Optional.of(4096L), Optional.empty()));
        try (child;
                BlockQueue queue = raw.openQueue(4).orElseThrow()) {
            BlockQueue.Completion ignore = (_, _) -> {};
            assertAllocatesNothing("write", () -> raw.write(0, one, 0));
            assertAllocatesNothing("write pieces", () -> raw.write(0, two, 0));
            assertAllocatesNothing("tryWrite", () -> raw.tryWrite(0, two, 0));
            assertAllocatesNothing("read", () -> raw.read(0, one));
            assertAllocatesNothing("read pieces", () -> raw.read(0, two));
            assertAllocatesNothing("tryRead", () -> raw.tryRead(0, one));
            assertAllocatesNothing("tryRead pieces", () -> raw.tryRead(0, two));
            assertAllocatesNothing("extentAt", () -> raw.extentAt(0, 4096));
            assertAllocatesNothing(
                    "queue",
                    () -> {
                        queue.read(1, 0, one);
                        queue.read(2, 0, two);
                        queue.submit();
                        while (queue.inFlight() > 0) {
                            queue.reap(ignore);
                        }
                    });
        }
    }
}

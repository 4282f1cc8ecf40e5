package io.blockwharf.block;

import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.testing.Allocation;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.RandomAccessFile;
import java.nio.file.Path;
import java.util.Optional;

/** Requests leave nothing for the garbage collector. */
@Timeout(120)
class AllocationTest {
    @TempDir Path directory;

    @Test
    void files() throws Exception {
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
            Allocation.assertNone("write", () -> raw.write(0, one, 0));
            Allocation.assertNone("write pieces", () -> raw.write(0, two, 0));
            Allocation.assertNone("tryWrite", () -> raw.tryWrite(0, two, 0));
            Allocation.assertNone("read", () -> raw.read(0, one));
            Allocation.assertNone("read pieces", () -> raw.read(0, two));
            Allocation.assertNone("tryRead", () -> raw.tryRead(0, one));
            Allocation.assertNone("tryRead pieces", () -> raw.tryRead(0, two));
            Allocation.assertNone("extentAt", () -> raw.extentAt(0, 4096));
            Allocation.assertNone(
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

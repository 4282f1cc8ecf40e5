package io.blockwharf.block;

import static io.blockwharf.block.Images.DIRECT;
import static io.blockwharf.block.Images.WRITABLE;
import static io.blockwharf.block.Images.pattern;
import static io.blockwharf.block.Images.pieces;
import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/** The queue of {@code file} and {@code host_device}: the contract of {@link BlockQueue}. */
@Timeout(120)
class RingQueueTest {
    private static final int SIZE = 4 << 20;

    @TempDir Path directory;
    private Path path;

    @BeforeEach
    void create() throws IOException {
        path = directory.resolve("disk.raw");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(SIZE);
        }
    }

    /** Waits at the descriptor, as a serving thread does. */
    private static Map<Long, Errno> collect(BlockQueue queue) throws LinuxException {
        Map<Long, Errno> results = new HashMap<>();
        Poll poll = new Poll(1);
        poll.set(0, queue.fd(), Poll.IN);
        queue.submit();
        while (queue.inFlight() > 0) {
            poll.await(-1);
            int reported = queue.reap(results::put);
            assertTrue(reported >= 0);
        }
        return results;
    }

    @ParameterizedTest(name = "direct: {0}, FUA: {1}, in pieces: {2}")
    @CsvSource({
        "false, false, false",
        "false, true, true",
        "true, false, true",
        "true, true, false"
    })
    void aBatchIsWrittenAndRead(boolean direct, boolean fua, boolean split) throws IOException {
        try (FileImage image = Images.file(path, direct ? DIRECT : WRITABLE);
                BlockQueue queue = image.openQueue(32).orElseThrow()) {
            MemorySegment data = pattern(32 * 8192, 1);
            MemorySegment back = zeroes(32 * 8192);
            for (int i = 0; i < 32; i++) {
                MemorySegment part = data.asSlice(i * 8192L, 8192);
                queue.write(
                        100 + i,
                        i * 65_536L,
                        split ? pieces(part, 4096) : whole(part),
                        fua ? RequestFlags.FUA : 0);
            }
            assertEquals(32, queue.inFlight());
            Map<Long, Errno> results = collect(queue);
            assertEquals(32, results.size());
            for (long i = 0; i < 32; i++) {
                assertEquals(Errno.OK, results.get(100 + i));
            }
            for (int i = 0; i < 32; i++) {
                MemorySegment part = back.asSlice(i * 8192L, 8192);
                queue.read(i, i * 65_536L, split ? pieces(part, 4096) : whole(part));
            }
            collect(queue);
            assertEquals(-1, data.mismatch(back));
        }
    }

    @Test
    void coldBytesAreRead() throws IOException {
        try (FileImage image = Images.file(path, WRITABLE);
                BlockQueue queue = image.openQueue(64).orElseThrow()) {
            MemorySegment data = pattern(SIZE, 3);
            image.write(0, whole(data), 0);
            image.flush();
            image.file().dropCache(0, 0);
            MemorySegment back = zeroes(SIZE);
            for (int i = 0; i < 64; i++) {
                queue.read(i, i * 65_536L, whole(back.asSlice(i * 65_536L, 65_536)));
            }
            assertEquals(64, collect(queue).size());
            assertEquals(-1, data.mismatch(back));
        }
    }

    @ParameterizedTest(name = "direct: {0}")
    @ValueSource(booleans = {false, true})
    void triedReadsAreOverAfterTheirSubmission(boolean direct) throws IOException {
        try (FileImage image = Images.file(path, direct ? DIRECT : WRITABLE);
                BlockQueue queue = image.openQueue(16).orElseThrow()) {
            assertTrue(queue.batchesReads());
            MemorySegment data = pattern(16 * 4096, 6);
            image.write(0, whole(data), 0);
            // Not every file system can tell what is in memory
            Errno hot = image.tryRead(0, whole(zeroes(4096))) ? Errno.OK : Errno.EAGAIN;
            MemorySegment back = zeroes(16 * 4096);
            for (int i = 0; i < 15; i++) {
                queue.tryRead(i, i * 4096L, whole(back.asSlice(i * 4096L, 4096)));
            }
            queue.tryRead(15, SIZE - 4096, whole(back.asSlice(15 * 4096L, 4096)));
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.setLength(SIZE - 2048);
            }
            Map<Long, Errno> results = new HashMap<>();
            queue.submit();
            assertEquals(16, queue.reap(results::put));
            for (long i = 0; i < 15; i++) {
                assertEquals(hot, results.get(i));
            }
            assertEquals(Errno.EAGAIN, results.get(15L), "the file ends in it");
            if (hot == Errno.OK) {
                assertEquals(-1, data.asSlice(0, 15 * 4096).mismatch(back.asSlice(0, 15 * 4096)));
            }
        }
    }

    @Test
    void oneMoreThanTheDepthIsAMistake() throws IOException {
        try (FileImage image = Images.file(path, WRITABLE);
                BlockQueue queue = image.openQueue(2).orElseThrow()) {
            queue.flush(1);
            queue.flush(2);
            assertThrows(IllegalStateException.class, () -> queue.flush(3));
            assertEquals(Map.of(1L, Errno.OK, 2L, Errno.OK), collect(queue));
            queue.flush(3);
            assertEquals(Map.of(3L, Errno.OK), collect(queue));
        }
    }

    @ParameterizedTest(name = "{0} [{1}, +{2})")
    @CsvSource({
        "zero, 8192, 16384",
        "zero, 100, 5000",
        "zero and FUA, 8192, 16384",
        "unmap, 8192, 16384",
        "discard, 8192, 16384",
        "zero, 8192, 0"
    })
    void rangesBecomeZeroes(String how, long offset, int bytes) throws IOException {
        try (FileImage image = Images.file(path, WRITABLE);
                BlockQueue queue = image.openQueue(4).orElseThrow()) {
            MemorySegment expected = pattern(65_536, 6);
            image.write(0, whole(expected), 0);
            assertTrue(image.extentAt(offset, 1).data());
            switch (how) {
                case "zero" -> queue.writeZeroes(1, offset, bytes, 0);
                case "zero and FUA" -> queue.writeZeroes(1, offset, bytes, RequestFlags.FUA);
                case "unmap" -> queue.writeZeroes(1, offset, bytes, RequestFlags.MAY_UNMAP);
                default -> queue.discard(1, offset, bytes);
            }
            assertEquals(Map.of(1L, Errno.OK), collect(queue));
            expected.asSlice(offset, bytes).fill((byte) 0);
            MemorySegment back = zeroes(65_536);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            if (how.equals("unmap") || how.equals("discard")) {
                assertFalse(image.extentAt(offset, 1).data());
            }
        }
    }

    @Test
    void aWriteFillsAKnownHole() throws IOException {
        try (FileImage image = Images.file(path, WRITABLE);
                BlockQueue queue = image.openQueue(4).orElseThrow()) {
            assertFalse(image.extentAt(4096, 1).data());
            queue.write(1, 4096, whole(pattern(4096, 1)), 0);
            collect(queue);
            assertTrue(image.extentAt(4096, 1).data());
        }
    }

    /** tmpfs has no FALLOC_FL_ZERO_RANGE, so that a thread has to write zeroes. */
    @Test
    void whatTheRingCannotDoIsDoneAside() throws IOException {
        Path shared = Files.createTempFile(Path.of("/dev/shm"), "blockwharf", ".raw");
        try (FileImage image = Images.file(shared, WRITABLE);
                BlockQueue queue = image.openQueue(16).orElseThrow()) {
            image.resize(SIZE);
            image.write(0, whole(pattern(SIZE, 7)), 0);
            queue.writeZeroes(1, 4096, 8192, RequestFlags.NO_FALLBACK);
            for (int i = 2; i < 16; i++) {
                queue.writeZeroes(i, i * 65_536L, 65_536, 0);
            }
            Map<Long, Errno> results = collect(queue);
            assertEquals(Errno.ENOTSUP, results.remove(1L));
            assertEquals(14, results.size());
            results.values().forEach(result -> assertEquals(Errno.OK, result));
            MemorySegment expected = pattern(SIZE, 7);
            expected.asSlice(2 * 65_536L, 14 * 65_536L).fill((byte) 0);
            MemorySegment back = zeroes(SIZE);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            // Left in flight: closing waits for it
            queue.writeZeroes(1, 0, 65_536, 0);
        } finally {
            Files.delete(shared);
        }
    }

    /**
     * Nobody asks a queue with nothing in flight: a readable descriptor would keep a loop awake.
     */
    @Test
    void withNothingInFlightTheDescriptorIsQuiet() throws IOException {
        onBlockDevice(
                (_, queue) -> {
                    queue.writeZeroes(1, 0, 0, 0);
                    reapAll(queue);
                    assertQuiet(queue);
                    for (int round = 0; round < 20; round++) {
                        queue.discard(1, 0, 4096);
                        reapAll(queue);
                        assertQuiet(queue);
                    }
                });
    }

    /** Asks again and again, as a thread does that polls. */
    private static void reapAll(BlockQueue queue) {
        queue.submit();
        while (queue.inFlight() > 0) {
            queue.reap((_, result) -> assertEquals(Errno.OK, result));
        }
    }

    private static void assertQuiet(BlockQueue queue) throws LinuxException {
        Poll poll = new Poll(1);
        poll.set(0, queue.fd(), Poll.IN);
        for (int i = 0; i < 3; i++) { // what is completed late may show with the next call only
            assertEquals(0, poll.await(10));
        }
    }

    @Test
    void closingWaitsForWhatIsInFlight() throws IOException {
        MemorySegment data = pattern(65_536, 9);
        try (FileImage image = Images.file(path, WRITABLE)) {
            BlockQueue queue = image.openQueue(16).orElseThrow();
            for (int i = 0; i < 16; i++) {
                queue.write(i, i * 4096L, whole(data.asSlice(i * 4096L, 4096)), 0);
            }
            queue.close();
            MemorySegment back = zeroes(65_536);
            image.read(0, whole(back));
            assertEquals(-1, data.mismatch(back));
        }
    }

    @Test
    void aShortenedFileReadsAsZeroesBehindItsEnd() throws IOException {
        try (FileImage image = Images.file(path, WRITABLE);
                BlockQueue queue = image.openQueue(4).orElseThrow()) {
            image.write(0, whole(pattern(65_536, 4)), 0);
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.setLength(10_000);
            }
            MemorySegment expected = zeroes(16_384);
            expected.asSlice(0, 10_000).copyFrom(pattern(10_000, 4));
            MemorySegment back = pattern(16_384, 5);
            queue.read(1, 0, whole(back));
            assertEquals(Map.of(1L, Errno.OK), collect(queue));
            assertEquals(-1, expected.mismatch(back));
        }
    }

    @Test
    void batchesAreAsBigAsWished() throws IOException {
        FileOptions options =
                new FileOptions(
                        path.toString(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.of(3L));
        NodeSpec<FileOptions> spec = new NodeSpec<>("node0", options, WRITABLE, Map.of());
        try (var image = new FileDriver().open(spec);
                BlockQueue queue = image.openQueue(16).orElseThrow()) {
            MemorySegment back = zeroes(16 * 4096);
            image.write(0, whole(back), 0);
            for (int i = 0; i < 16; i++) {
                queue.read(i, i * 4096L, whole(back.asSlice(i * 4096L, 4096)));
            }
            // It is in the page cache: what was submitted by itself is complete
            int reported = queue.reap((_, _) -> {});
            assertEquals(15, reported);
            assertEquals(1, collect(queue).size());
        }
    }

    @Test
    void aBlockDeviceIsDiscardedAside() throws IOException {
        onBlockDevice(
                (image, queue) -> {
                    MemorySegment data = pattern(65_536, 2);
                    queue.write(1, 0, whole(data), RequestFlags.FUA);
                    assertEquals(Map.of(1L, Errno.OK), collect(queue));
                    queue.discard(1, 0, 4096);
                    queue.discard(2, 8192, 4096);
                    queue.writeZeroes(3, 16_384, 4096, 0);
                    queue.writeZeroes(4, 20_480, 4096, RequestFlags.MAY_UNMAP);
                    queue.writeZeroes(5, 30_001, 100, 0);
                    Map<Long, Errno> results = collect(queue);
                    assertEquals(5, results.size());
                    results.values().forEach(result -> assertEquals(Errno.OK, result));
                    MemorySegment back = zeroes(8192);
                    image.read(16_384, whole(back));
                    assertEquals(-1, zeroes(8192).mismatch(back));
                });
    }

    private interface DeviceTest {
        void run(BlockImage image, BlockQueue queue) throws IOException;
    }

    private void onBlockDevice(DeviceTest test) throws IOException {
        Images.Outcome loop = Images.run("losetup", "--find", "--show", path.toString());
        assertEquals(0, loop.status(), loop.output());
        try {
            NodeSpec<FileOptions> spec =
                    Images.spec(
                            Path.of(loop.output()),
                            WRITABLE,
                            Optional.empty(),
                            FileOptions.OnOffAuto.AUTO);
            try (var image = new HostDeviceDriver().open(spec);
                    BlockQueue queue = image.openQueue(8).orElseThrow()) {
                test.run(image, queue);
            }
        } finally {
            Images.run("losetup", "--detach", loop.output());
        }
    }
}

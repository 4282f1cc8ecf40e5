package io.blockwharf.block;

import static io.blockwharf.block.Images.pattern;
import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** Driver {@code raw}: a window on a file. Reference: block/raw-format.c. */
class RawImageTest {
    private static final int SIZE = 1 << 20;

    @TempDir Path directory;
    private BlockNode child;

    @BeforeEach
    void create() throws IOException {
        Path path = directory.resolve("disk.raw");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(SIZE);
        }
        child = new FakeNode(Images.file(path, Images.WRITABLE));
    }

    @AfterEach
    void close() {
        child.close();
    }

    private BlockImage open(Optional<Long> offset, Optional<Long> size) {
        return new RawDriver().open(Images.raw(child, offset, size));
    }

    @ParameterizedTest(name = "offset {0}, size {1}: length {2}")
    @CsvSource({
        ", , 1048576",
        "0, , 1048576",
        ", 1048576, 1048576",
        "4096, , 1044480",
        ", 8192, 8192",
        "65536, 512, 512",
        "1048576, , 0"
    })
    void theLengthIsThatOfTheWindow(Long offset, Long size, long length) {
        BlockImage image = open(Optional.ofNullable(offset), Optional.ofNullable(size));
        assertEquals(length, image.length());
        assertEquals(child.limits(), image.limits());
        boolean whole = offset == null && size == null;
        assertEquals(whole, image.filename().equals(child.filename()));
        assertEquals(!whole, image.filename().startsWith("json:{\"driver\": \"raw\""));
    }

    @ParameterizedTest(name = "{2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    1048577 |         | Offset (1048577) cannot be greater than size of the containing file (1048576)
                    4096    | 1048576 | The sum of offset (4096) and size (1048576) has to be smaller or equal to the  actual size of the containing file (1048576)
                    0       | 513     | Specified size is not multiple of 512
                    """)
    void impossibleWindowsAreRefused(Long offset, Long size, String message) {
        QmpException e =
                assertThrows(
                        QmpException.class,
                        () -> open(Optional.of(offset), Optional.ofNullable(size)));
        assertEquals(message, e.getMessage());
    }

    @Test
    void requestsAreShifted() throws IOException {
        BlockImage image = open(Optional.of(65_536L), Optional.of(131_072L));
        MemorySegment data = pattern(8192, 1);
        MemorySegment back = zeroes(8192);
        image.write(4096, whole(data), 0);
        child.read(69_632, whole(back));
        assertEquals(-1, data.mismatch(back));
        back.fill((byte) 0);
        image.read(4096, whole(back));
        assertEquals(-1, data.mismatch(back));
        assertTrue(image.tryWrite(8192, whole(data), 0));
        assertTrue(image.tryRead(8192, whole(back)));
        assertEquals(-1, data.mismatch(back));
        HostExtent extent = image.hostExtent(4096, 10).orElseThrow();
        assertTrue(extent.covers(4096, 10));
        assertEquals(69_632, extent.positionOf(4096));
        assertSame(extent, image.hostExtent(0, 1).orElseThrow(), "made once");
        image.writeZeroes(4096, 4096, 0);
        image.discard(8192, 4096);
        image.flush();
        child.read(69_632, whole(back));
        assertEquals(-1, zeroes(8192).mismatch(back));
        assertTrue(image.directAccess(false).isEmpty());
    }

    @Test
    void extentsAreShifted() throws IOException {
        child.write(65_536, whole(pattern(8192, 1)), 0);
        BlockImage image = open(Optional.of(69_632L), Optional.empty());
        Extent data = image.extentAt(0, 100);
        assertEquals(Extent.data(0, 4096), data);
        assertSame(data, image.extentAt(4095, 1));
        Extent hole = image.extentAt(4096, 100);
        assertTrue(hole.zero());
        assertEquals(SIZE - 69_632, hole.end());
        List<Extent> runs = new ArrayList<>();
        image.extents(
                1024,
                100,
                (length, stored, zero, depth) -> {
                    runs.add(new Extent(1024, length, stored, zero, depth));
                    return false;
                });
        assertEquals(List.of(Extent.data(1024, 3072)), runs);
    }

    @Test
    void aWholeWindowIsTheNodeItself() throws IOException {
        BlockImage image = open(Optional.empty(), Optional.empty());
        assertSame(child.extentAt(0, 1), image.extentAt(0, 1));
        assertTrue(image.directAccess(true).isPresent());
        image.resize(2 * SIZE);
        assertEquals(2 * SIZE, child.length());
        assertEquals(2 * SIZE, image.length());
    }

    @Test
    void aWindowGrowsWithItsFileUnlessItsSizeIsFixed() throws IOException {
        BlockImage open = open(Optional.of(4096L), Optional.empty());
        BlockImage fixed = open(Optional.of(4096L), Optional.of(8192L));
        open.resize(SIZE);
        assertEquals(SIZE + 4096, child.length());
        assertEquals(SIZE, open.length());
        assertEquals(8192, fixed.length());
        BlockIoException e = assertThrows(BlockIoException.class, () -> fixed.resize(4096));
        assertEquals(Errno.ENOTSUP, e.errno());
        assertEquals("Cannot resize fixed-size raw disks", e.getMessage());
        e = assertThrows(BlockIoException.class, () -> open.resize(Long.MAX_VALUE - 4000));
        assertEquals(Errno.EINVAL, e.errno());
        child.resize(6144);
        assertEquals(2048, fixed.length());
        child.resize(0);
        assertEquals(0, fixed.length());
    }

    @ParameterizedTest(name = "offset {0}")
    @CsvSource({"0", "65536"})
    void theChildsQueueIsUsed(long offset) throws IOException {
        BlockImage image = open(Optional.of(offset), Optional.empty());
        MemorySegment data = pattern(4096, 1);
        MemorySegment back = zeroes(4096);
        try (BlockQueue queue = image.openQueue(8).orElseThrow()) {
            queue.write(1, 4096, whole(data), 0);
            collect(queue);
            queue.read(2, 4096, whole(back));
            queue.writeZeroes(3, 8192, 4096, 0);
            queue.discard(4, 12_288, 4096);
            queue.flush(5);
            assertEquals(4, collect(queue).size());
        }
        assertEquals(-1, data.mismatch(back));
        child.read(offset + 4096, whole(back));
        assertEquals(-1, data.mismatch(back));
    }

    private static Map<Long, Errno> collect(BlockQueue queue) {
        Map<Long, Errno> results = new HashMap<>();
        queue.submit();
        assertTrue(queue.fd() >= 0);
        while (queue.inFlight() > 0) {
            queue.reap(results::put);
        }
        results.values().forEach(result -> assertEquals(Errno.OK, result));
        return results;
    }
}

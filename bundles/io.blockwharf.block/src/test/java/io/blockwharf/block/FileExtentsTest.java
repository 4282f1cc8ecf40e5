package io.blockwharf.block;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Extent;
import io.blockwharf.linux.HostFile;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Path;
import java.util.Random;

/** A walk through a file tells the same as asking for each byte alone. */
class FileExtentsTest {
    private static final int BLOCK = 4096;
    private static final int BLOCKS = 6000;
    private static final long LENGTH = (long) BLOCK * BLOCKS;

    @TempDir private Path directory;
    private final MemorySegment block = Arena.ofAuto().allocate(BLOCK).fill((byte) 1);

    private HostFile file() throws IOException {
        HostFile file =
                HostFile.open(
                        directory.resolve("image").toString(),
                        HostFile.Flag.WRITE,
                        HostFile.Flag.CREATE);
        file.truncate(LENGTH);
        return file;
    }

    /** What stands at each block: {@code d} or {@code .}, by fresh eyes. */
    private static String blockByBlock(HostFile file) throws BlockIoException {
        StringBuilder found = new StringBuilder();
        for (int i = 0; i < BLOCKS; i++) {
            Extent extent = new FileExtents(file).at((long) i * BLOCK, LENGTH);
            found.append(extent.data() ? 'd' : '.');
        }
        return found.toString();
    }

    private static String walk(FileExtents extents) throws BlockIoException {
        StringBuilder found = new StringBuilder();
        for (long at = 0; at < LENGTH; ) {
            Extent extent = extents.at(at, LENGTH);
            assertTrue(extent.contains(at), extent::toString);
            long end = Math.min(extent.end(), LENGTH);
            found.repeat(extent.data() ? 'd' : '.', (int) ((end - at) / BLOCK));
            at = end;
        }
        return found.toString();
    }

    /** A walk in strides, by somebody who has enough after a few runs. */
    private static String told(FileExtents extents, Random random) throws BlockIoException {
        StringBuilder found = new StringBuilder();
        while (found.length() < BLOCKS) {
            int before = found.length();
            int wanted = (1 + random.nextInt(2 * BLOCKS)) * BLOCK;
            int enough = 1 + random.nextInt(BLOCKS / 4);
            int[] runs = {0};
            extents.tell(
                    (long) before * BLOCK,
                    wanted,
                    LENGTH,
                    (length, data, zero, depth) -> {
                        assertEquals(data, !zero);
                        assertEquals(1, depth);
                        assertTrue(runs[0] < enough && (found.length() - before) * BLOCK < wanted);
                        found.repeat(data ? 'd' : '.', (int) (length / BLOCK));
                        return ++runs[0] < enough;
                    });
            assertTrue(runs[0] > 0);
        }
        return found.substring(0, BLOCKS);
    }

    /**
     * Written with and without being synchronised, allocated but unwritten, and that written to.
     */
    @ParameterizedTest(name = "seed {0}")
    @ValueSource(longs = {1, 2, 3})
    void aWalkFindsWhatEachBlockTells(long seed) throws IOException {
        Random random = new Random(seed);
        try (HostFile file = file()) {
            for (int i = 0; i < 3 * BLOCKS / 4; i++) {
                long at = (long) random.nextInt(BLOCKS) * BLOCK;
                if (i == BLOCKS / 2) {
                    file.syncData();
                }
                if (random.nextInt(10) == 0 && at + 8 * BLOCK <= LENGTH) {
                    file.allocate(at, 8 * BLOCK);
                } else {
                    file.write(at, block, 0, BLOCK);
                }
            }
            String expected = blockByBlock(file);
            FileExtents extents = new FileExtents(file);
            assertEquals(expected, walk(extents));
            assertEquals(expected, walk(extents), "once more");
            for (int i = 0; i < 5; i++) {
                assertEquals(expected, told(extents, random));
            }
        }
    }

    @Test
    void aWalkSeesWhatIsWrittenBeforeIt() throws IOException, BlockIoException {
        try (HostFile file = file()) {
            for (int i = 0; i < BLOCKS; i += 2) {
                file.write((long) i * BLOCK, block, 0, BLOCK);
            }
            FileExtents extents = new FileExtents(file);
            long at = 0;
            for (int i = 0; i < 100; i++) {
                at = extents.at(at, LENGTH).end();
            }
            long hole = at + BLOCK;
            assertEquals(hole, extents.at(at, LENGTH).end());
            file.write(hole, block, 0, BLOCK);
            extents.written(hole, BLOCK);
            Extent found = extents.at(hole, LENGTH);
            assertTrue(found.data() && found.end() >= hole + 2 * BLOCK, found::toString);
            assertEquals(blockByBlock(file), told(extents, new Random(4)));
            file.write(BLOCK, block, 0, BLOCK);
            extents.written(BLOCK, BLOCK);
            assertEquals(blockByBlock(file), told(extents, new Random(5)));
        }
    }
}

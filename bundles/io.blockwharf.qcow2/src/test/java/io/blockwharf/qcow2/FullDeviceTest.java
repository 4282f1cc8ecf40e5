package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;

/** An image that fills the file system that it lies in, and what a guest can do about it. */
class FullDeviceTest {
    private static final int CLUSTER = 65_536;
    private static final int BLOCKS = CLUSTER / BoundedFile.BLOCK;
    private static final int ROOM = 16 * BLOCKS;

    @TempDir Path folder;

    private Path image() throws IOException {
        return Disk.create(folder.resolve("a.qcow2"), "64M");
    }

    private static Disk open(BoundedFile file) {
        return Disk.openOn(file, Map.of(), Disk.PLAIN);
    }

    /** Writes to one cluster after the other until nothing fits any more; how many did. */
    private static int fill(Disk disk) {
        for (int i = 0; true; i++) {
            try {
                disk.write((long) i * CLUSTER, Disk.filled(CLUSTER, i + 1));
            } catch (BlockIoException e) {
                assertEquals(Errno.ENOSPC, e.errno());
                return i;
            }
        }
    }

    private static void assertFull(Disk disk) {
        BlockIoException e = assertThrows(BlockIoException.class, () -> disk.image.flush());
        assertEquals(Errno.ENOSPC, e.errno());
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void whatIsDiscardedMakesRoomForWhatSaysSo(boolean zeroes)
            throws IOException, BlockIoException {
        Path path = image();
        int written;
        try (Disk disk = open(new BoundedFile(path, ROOM))) {
            written = fill(disk);
            assertTrue(written > 8, "the device is filled with data");
            assertFull(disk); // there is no room for the new tables
            if (zeroes) {
                disk.image.writeZeroes(CLUSTER, 4 * CLUSTER, RequestFlags.MAY_UNMAP);
            } else {
                disk.image.discard(CLUSTER, 4 * CLUSTER);
            }
            disk.image.flush();
            disk.write(2 * CLUSTER, Disk.filled(CLUSTER, 0x77));
            disk.image.flush();
        }
        Disk.check(path, false);
        try (Disk disk = Disk.open(path, false)) {
            for (int i = 0; i < written; i++) {
                int expected = i == 2 ? 0x77 : i >= 1 && i < 5 ? 0 : i + 1;
                assertArrayEquals(
                        Disk.filled(CLUSTER, expected), disk.read((long) i * CLUSTER, CLUSTER));
            }
        }
    }

    /** A device that others fill as soon as there is room. */
    private static final class Contended extends BoundedFile {
        private boolean full;

        Contended(Path path) throws IOException {
            super(path, ROOM);
        }

        @Override
        public synchronized void write(long offset, IoVector from, int flags)
                throws BlockIoException {
            if (full) {
                throw new BlockIoException(Errno.ENOSPC, "full");
            }
            super.write(offset, from, flags);
        }
    }

    /** Until a commit has ended, what was overwritten is what a crash leads back to. */
    @Test
    void onlyWhatWasDiscardedIsTakenBackBeforeACommit() throws IOException, BlockIoException {
        Path path = image();
        byte[] flushed = Disk.filled(CLUSTER, 0x11);
        Contended file = new Contended(path);
        Disk disk = open(file);
        disk.write(0, flushed);
        disk.write(CLUSTER, flushed);
        disk.image.flush();
        disk.image.write(0, Disk.vector(Disk.filled(CLUSTER, 0x22)), RequestFlags.COMPRESSED);
        disk.image.discard(CLUSTER, CLUSTER);
        file.full = true;
        assertFull(disk);
        disk.abandon();
        Disk.check(path, true);
        try (Disk after = Disk.open(path, false)) {
            assertArrayEquals(flushed, after.read(0, CLUSTER));
            assertArrayEquals(new byte[CLUSTER], after.read(CLUSTER, CLUSTER));
        }
    }
}

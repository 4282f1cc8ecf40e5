package io.blockwharf.block;

import static io.blockwharf.block.Images.DIRECT;
import static io.blockwharf.block.Images.READ_ONLY;
import static io.blockwharf.block.Images.WRITABLE;
import static io.blockwharf.block.Images.pattern;
import static io.blockwharf.block.Images.pieces;
import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.FileOptions.Aio;
import io.blockwharf.block.FileOptions.OnOffAuto;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalLong;

/** Drivers {@code file} and {@code host_device} on files of this host. Reference: file-posix.c. */
@Timeout(120)
class FileImageTest {
    private static final int SIZE = 1 << 20;

    @TempDir Path directory;

    private Path create(long length) throws IOException {
        Path path = directory.resolve("disk.raw");
        try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
            file.setLength(length);
        }
        return path;
    }

    @ParameterizedTest(name = "direct: {0}, FUA: {1}, in pieces: {2}")
    @CsvSource({
        "false, false, false",
        "false, false, true",
        "false, true, false",
        "false, true, true",
        "true, false, false",
        "true, false, true",
        "true, true, true"
    })
    void whatIsWrittenIsRead(boolean direct, boolean fua, boolean split) throws IOException {
        MemorySegment data = pattern(65_536, 1);
        MemorySegment back = zeroes(65_536);
        try (FileImage image = Images.file(create(SIZE), direct ? DIRECT : WRITABLE)) {
            assertEquals(SIZE, image.length());
            int flags = fua ? RequestFlags.FUA : 0;
            image.write(8192, split ? pieces(data, 4096) : whole(data), flags);
            image.read(8192, split ? pieces(back, 8192) : whole(back));
            assertEquals(-1, data.mismatch(back));
            image.flush();
        }
    }

    @Test
    void directAccessHasAlignments() throws IOException {
        Path path = create(SIZE);
        try (FileImage image = Images.file(path, DIRECT)) {
            assertTrue(image.limits().requestAlignment() >= 512);
            assertTrue(image.hostExtent(0, 4096).isEmpty());
            assertTrue(image.directAccess(false).isEmpty());
            assertFalse(image.tryRead(0, whole(zeroes(4096))));
            assertFalse(image.tryWrite(0, whole(zeroes(4096)), 0));
        }
        try (FileImage image = Images.file(path, WRITABLE)) {
            assertEquals(1, image.limits().requestAlignment());
            assertEquals(1, image.limits().memoryAlignment());
        }
    }

    @Test
    void cachedBytesAreReadAtOnceOthersAreNot() throws Exception {
        Path path = create(SIZE);
        MemorySegment data = pattern(8192, 2);
        MemorySegment back = zeroes(8192);
        try (FileImage image = Images.file(path, WRITABLE)) {
            assertTrue(image.tryWrite(4096, whole(data), 0));
            assertTrue(image.tryRead(4096, whole(back)));
            assertEquals(-1, data.mismatch(back));
            assertTrue(image.tryRead(4096, pieces(back, 1000)));
            image.flush();
            assertFalse(readAfterDrop(image, 0, back));
            image.file().read(4096, back, 0, 4096);
            // What was read ahead of it
            assertFalse(readAfterDrop(image, 8192, back), "only a part is cached");
        }
    }

    /**
     * Drops what is cached from there on, and tries a read. Dropping is advice: a page that the
     * kernel is busy with stays, and is dropped again.
     */
    private static boolean readAfterDrop(FileImage image, long from, MemorySegment back)
            throws Exception {
        boolean there;
        int tries = 0;
        do {
            Thread.sleep(tries);
            image.file().dropCache(from, 0);
            there = image.tryRead(4096, whole(back));
        } while (there && ++tries < 200);
        return there;
    }

    @ParameterizedTest(name = "{0} bytes at {1}, flags {2}: {3}")
    @CsvSource({
        "4096, 4096, 0, true",
        "4096, 4096, 1, false",
        "512, 4096, 0, false",
        "4096, 512, 0, false"
    })
    void onlyWholePagesAreWrittenAtOnce(int bytes, long offset, int flags, boolean done)
            throws IOException {
        try (FileImage image = Images.file(create(SIZE), WRITABLE)) {
            MemorySegment data = pattern(bytes, 3);
            assertEquals(done, image.tryWrite(offset, whole(data), flags));
            MemorySegment back = zeroes(bytes);
            image.read(offset, whole(back));
            assertEquals(-1, (done ? data : zeroes(bytes)).mismatch(back));
        }
    }

    @Test
    void behindTheEndOfAFileThatBecameShorterAreZeroes() throws IOException {
        Path path = create(SIZE);
        try (FileImage image = Images.file(path, WRITABLE)) {
            image.write(0, whole(pattern(65_536, 4)), 0);
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.setLength(10_000);
            }
            MemorySegment expected = zeroes(16_384);
            expected.asSlice(0, 10_000).copyFrom(pattern(10_000, 4));
            MemorySegment back = pattern(16_384, 5);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            image.read(0, pieces(back.copyFrom(pattern(16_384, 5)), 1000));
            assertEquals(-1, expected.mismatch(back));
            back.copyFrom(pattern(16_384, 5));
            image.read(500_000, whole(back));
            assertEquals(-1, zeroes(16_384).mismatch(back));
        }
    }

    // --- Zeroing and discarding ----------------------------------------------------------------

    @ParameterizedTest(name = "{0} [{1}, +{2}): data left {3}")
    @CsvSource({
        "zero, 8192, 16384, true",
        "zero, 100, 5000, true",
        "unmap, 8192, 16384, false",
        "discard, 8192, 16384, false"
    })
    void rangesBecomeZeroes(String how, long offset, int bytes, boolean allocated)
            throws IOException {
        try (FileImage image = Images.file(create(SIZE), WRITABLE)) {
            MemorySegment expected = pattern(65_536, 6);
            image.write(0, whole(expected), 0);
            image.flush();
            long before = image.allocatedSize().orElseThrow();
            switch (how) {
                case "zero" -> image.writeZeroes(offset, bytes, RequestFlags.FUA);
                case "unmap" ->
                        image.writeZeroes(
                                offset, bytes, RequestFlags.MAY_UNMAP | RequestFlags.NO_FALLBACK);
                default -> image.discard(offset, bytes);
            }
            expected.asSlice(offset, bytes).fill((byte) 0);
            MemorySegment back = zeroes(65_536);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            assertEquals(allocated, image.allocatedSize().orElseThrow() >= before);
            assertEquals(SIZE, image.length());
        }
    }

    @Test
    void emptyRangesAreNothingToDo() throws IOException {
        try (FileImage image = Images.file(create(SIZE), WRITABLE)) {
            image.discard(0, 0);
            image.writeZeroes(SIZE, 0, 0);
        }
    }

    /** tmpfs punches holes, but has no FALLOC_FL_ZERO_RANGE. */
    @Test
    void zeroesAreWrittenWhereTheHostHasNoBetterWay() throws IOException {
        Path path = Files.createTempFile(Path.of("/dev/shm"), "blockwharf", ".raw");
        try (FileImage image = Images.file(path, WRITABLE)) {
            image.resize(3 << 20);
            image.write(0, whole(pattern(3 << 20, 7)), 0);
            BlockIoException e =
                    assertThrows(
                            BlockIoException.class,
                            () -> image.writeZeroes(4096, 8192, RequestFlags.NO_FALLBACK));
            assertEquals(Errno.ENOTSUP, e.errno());
            image.writeZeroes(1000, 2_500_000, 0);
            MemorySegment expected = pattern(3 << 20, 7);
            expected.asSlice(1000, 2_500_000).fill((byte) 0);
            MemorySegment back = zeroes(3 << 20);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            image.writeZeroes(0, 3 << 20, RequestFlags.MAY_UNMAP | RequestFlags.NO_FALLBACK);
            assertEquals(0, image.allocatedSize().orElseThrow());
        } finally {
            Files.delete(path);
        }
    }

    // --- Extents -------------------------------------------------------------------------------

    @Test
    void anExtentIsFoundFromAnyOfItsBytes() throws IOException {
        try (FileImage image = Images.file(create(64L << 20), WRITABLE)) {
            image.write(8 << 20, whole(pattern(1 << 20, 8)), 0);
            Extent data = Extent.data(8 << 20, 1 << 20);
            assertContains(data, image.extentAt((8 << 20) + 5000, 10));
            Extent before = image.extentAt(5 << 20, 1);
            assertTrue(before.zero() && !before.data());
            assertEquals(8 << 20, before.end());
            Extent after = image.extentAt(60 << 20, 4 << 20);
            assertTrue(after.zero());
            assertEquals(64 << 20, after.end());
            assertTrue(after.offset() >= 9 << 20);
            // The same object, as long as nothing changes
            assertSame(after, image.extentAt((60 << 20) - 1, 1));
        }
    }

    private static void assertContains(Extent expected, Extent found) {
        assertEquals(expected.data(), found.data());
        assertEquals(expected.end(), found.end());
        assertTrue(found.offset() >= expected.offset());
    }

    @Test
    void aFileWithoutHolesIsOneExtent() throws IOException {
        try (FileImage image = Images.file(create(4 << 20), WRITABLE)) {
            image.write(0, whole(pattern(4 << 20, 9)), 0);
            Extent extent = image.extentAt(3 << 20, 512);
            assertEquals(Extent.data(0, 4 << 20), extent);
            assertSame(extent, image.extentAt(17, 1));
            // Data that is written over stays data: nothing has to be looked for again
            image.write(100_000, whole(pattern(4096, 1)), 0);
            assertSame(extent, image.extentAt(0, 1));
        }
    }

    @ParameterizedTest(name = "after {0}")
    @CsvSource({"write", "tryWrite", "unmap", "discard", "resize"})
    void aChangedExtentIsLookedForAgain(String change) throws IOException {
        try (FileImage image = Images.file(create(1 << 20), WRITABLE)) {
            boolean makesData = change.endsWith("rite");
            if (!makesData) {
                image.write(0, whole(pattern(1 << 20, 9)), 0);
            }
            Extent before = image.extentAt(65_536, 4096);
            assertEquals(!makesData, before.data());
            switch (change) {
                case "write" -> image.write(65_536, whole(pattern(4096, 1)), 0);
                case "tryWrite" -> image.tryWrite(65_536, whole(pattern(4096, 1)), 0);
                case "unmap" -> image.writeZeroes(65_536, 4096, RequestFlags.MAY_UNMAP);
                case "discard" -> image.discard(65_536, 4096);
                default -> {
                    image.resize(0);
                    image.resize(1 << 20);
                }
            }
            Extent after = image.extentAt(65_536, 4096);
            assertEquals(makesData, after.data());
            assertEquals(!makesData, after.zero());
        }
    }

    // --- Opening -----------------------------------------------------------------------------

    private static void refused(
            String message, BlockDriver<FileOptions> driver, Path path, OpenFlags flags) {
        QmpException e =
                assertThrows(
                        QmpException.class,
                        () ->
                                driver.open(
                                        Images.spec(
                                                path, flags, Optional.empty(), OnOffAuto.AUTO)));
        assertEquals(message, e.getMessage());
    }

    @Test
    void whatIsNoFileIsRefused() throws IOException {
        Path none = directory.resolve("none");
        refused(
                "Could not open '" + none + "': No such file or directory",
                new FileDriver(),
                none,
                WRITABLE);
        refused(
                "'file' driver requires '/dev/null' to be a regular file",
                new FileDriver(),
                Path.of("/dev/null"),
                READ_ONLY);
        refused(
                "'file' driver requires '" + directory + "' to be a regular file",
                new FileDriver(),
                directory,
                READ_ONLY);
        Path path = create(SIZE);
        refused(
                "'host_device' driver requires '"
                        + path
                        + "' to be either a character or block device",
                new HostDeviceDriver(),
                path,
                WRITABLE);
        Path fifo = directory.resolve("fifo");
        assertEquals(0, Images.run("mkfifo", fifo.toString()).status());
        refused(
                "'file' driver requires '" + fifo + "' to be a regular file",
                new FileDriver(),
                fifo,
                READ_ONLY);
    }

    @Test
    void nativeNeedsDirectAccess() throws IOException {
        Path path = create(SIZE);
        QmpException e =
                assertThrows(
                        QmpException.class,
                        () ->
                                new FileDriver()
                                        .open(
                                                Images.spec(
                                                        path,
                                                        WRITABLE,
                                                        Optional.of(Aio.NATIVE),
                                                        OnOffAuto.AUTO)));
        assertEquals(
                "aio=native was specified, but it requires cache.direct=on, which was not"
                        + " specified.",
                e.getMessage());
        try (var image =
                new FileDriver()
                        .open(Images.spec(path, DIRECT, Optional.of(Aio.NATIVE), OnOffAuto.AUTO))) {
            assertEquals("io_uring", image.details().get("aio"));
        }
    }

    @Test
    void threadsLeaveTheQueueToCore() throws IOException {
        try (var image =
                new FileDriver()
                        .open(
                                Images.spec(
                                        create(SIZE),
                                        WRITABLE,
                                        Optional.of(Aio.THREADS),
                                        OnOffAuto.AUTO))) {
            assertEquals("threads", image.details().get("aio"));
            assertTrue(image.openQueue(16).isEmpty());
        }
    }

    /** A loop device that is read-only refuses root as well, which a file's mode does not. */
    @Test
    void autoReadOnlyFallsBack() throws IOException {
        Path path = create(SIZE);
        Images.Outcome loop =
                Images.run("losetup", "--find", "--show", "--read-only", path.toString());
        assertEquals(0, loop.status(), loop.output());
        try {
            Path device = Path.of(loop.output());
            OpenFlags auto = new OpenFlags(false, true, false, true, false, false);
            try (var image =
                    new HostDeviceDriver()
                            .open(Images.spec(device, auto, Optional.empty(), OnOffAuto.AUTO))) {
                assertTrue(image.readOnly());
                image.read(0, whole(zeroes(4096)));
            }
            QmpException e =
                    assertThrows(
                            QmpException.class,
                            () ->
                                    new HostDeviceDriver()
                                            .open(
                                                    Images.spec(
                                                            device,
                                                            WRITABLE,
                                                            Optional.empty(),
                                                            OnOffAuto.AUTO)));
            assertTrue(e.getMessage().endsWith("Permission denied"), e.getMessage());
        } finally {
            Images.run("losetup", "--detach", loop.output());
        }
    }

    @ParameterizedTest(name = "direct: {0}")
    @CsvSource({"false", "true"})
    void aBlockDeviceIsReadWrittenZeroedAndDiscarded(boolean direct) throws IOException {
        Images.Outcome loop = Images.run("losetup", "--find", "--show", create(SIZE).toString());
        assertEquals(0, loop.status(), loop.output());
        try (var image =
                new HostDeviceDriver()
                        .open(
                                Images.spec(
                                        Path.of(loop.output()),
                                        direct ? DIRECT : WRITABLE,
                                        Optional.empty(),
                                        OnOffAuto.AUTO))) {
            assertEquals(SIZE, image.length());
            MemorySegment expected = pattern(65_536, 3);
            image.write(0, whole(expected), RequestFlags.FUA);
            image.writeZeroes(4096, 8192, 0);
            expected.asSlice(4096, 8192).fill((byte) 0);
            image.writeZeroes(16_384, 4096, RequestFlags.MAY_UNMAP);
            expected.asSlice(16_384, 4096).fill((byte) 0);
            if (!direct) {
                image.writeZeroes(30_001, 1000, 0); // parts of blocks
                expected.asSlice(30_001, 1000).fill((byte) 0);
            }
            image.discard(40_960 + 100, 10); // no whole block in it
            MemorySegment back = zeroes(65_536);
            image.read(0, whole(back));
            assertEquals(-1, expected.mismatch(back));
            image.discard(0, 65_536);
            assertEquals(Extent.data(0, SIZE), image.extentAt(5, 1));
            BlockIoException e = assertThrows(BlockIoException.class, () -> image.resize(2 * SIZE));
            assertEquals("Cannot grow device files", e.getMessage());
            assertThrows(BlockIoException.class, () -> image.resize(512));
            image.resize(SIZE);
        } finally {
            Images.run("losetup", "--detach", loop.output());
        }
    }

    // --- Size, and past the requests ---------------------------------------------------------

    @Test
    void theFileTakesTheNewSize() throws IOException {
        Path path = create(SIZE);
        try (FileImage image = Images.file(path, WRITABLE)) {
            image.resize(3 * SIZE);
            assertEquals(3 * SIZE, image.length());
            assertEquals(3 * SIZE, Files.size(path));
            MemorySegment back = pattern(4096, 1);
            image.read(2 * SIZE, whole(back));
            assertEquals(-1, zeroes(4096).mismatch(back));
            image.resize(1000);
            assertEquals(1000, Files.size(path));
        }
    }

    @Test
    void theHostsFileCanBeUsedDirectly() throws IOException {
        Path path = create(SIZE);
        try (FileImage image = Images.file(path, WRITABLE)) {
            HostExtent extent = image.hostExtent(4096, 100).orElseThrow();
            assertTrue(extent.covers(4096, 100));
            assertEquals(4096, extent.positionOf(4096));
            assertEquals(image.file().fd(), extent.fd());
            assertSame(extent, image.hostExtent(0, 1).orElseThrow(), "made once");
            assertEquals(OptionalLong.of(0), image.file().seekHole(0));
            try (DirectAccess access = image.directAccess(true).orElseThrow()) {
                assertEquals(image.file().fd(), access.fd());
                assertFalse(image.extentAt(0, 1).data());
                image.file().write(0, pattern(4096, 1), 0, 4096);
                image.file().truncate(2 * SIZE);
                access.sizeChanged();
                assertEquals(2 * SIZE, image.length());
            }
            assertTrue(image.extentAt(0, 1).data());
        }
        try (FileImage image = Images.file(path, READ_ONLY)) {
            assertTrue(image.directAccess(true).isEmpty());
            assertTrue(image.directAccess(false).isPresent());
            BlockIoException e =
                    assertThrows(
                            BlockIoException.class, () -> image.write(0, whole(zeroes(512)), 0));
            assertEquals(Errno.EIO, e.errno()); // EBADF: core lets nobody come here
        }
    }

    @Test
    void aFullDiskIsReported() throws IOException {
        Path mount = Files.createDirectory(directory.resolve("small"));
        Images.Outcome outcome =
                Images.run("mount", "-t", "tmpfs", "-o", "size=1M", "none", mount.toString());
        assertEquals(0, outcome.status(), outcome.output());
        try {
            Path path = mount.resolve("disk.raw");
            try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
                file.setLength(4 << 20);
            }
            try (FileImage image = Images.file(path, WRITABLE)) {
                for (boolean split : new boolean[] {false, true}) {
                    MemorySegment data = pattern(2 << 20, 1);
                    BlockIoException e =
                            assertThrows(
                                    BlockIoException.class,
                                    () ->
                                            image.write(
                                                    0,
                                                    split ? pieces(data, 65_536) : whole(data),
                                                    0));
                    assertEquals(Errno.ENOSPC, e.errno());
                }
            }
        } finally {
            Images.run("umount", mount.toString());
        }
    }
}

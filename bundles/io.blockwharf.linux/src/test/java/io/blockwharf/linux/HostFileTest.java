package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/** Files of the file system that the tests run on. */
@Timeout(120)
class HostFileTest {
    private static final HostFile.Flag WRITE = HostFile.Flag.WRITE;
    private static final HostFile.Flag CREATE = HostFile.Flag.CREATE;

    private final Arena arena = Arena.ofAuto();

    @TempDir Path directory;

    private String path(String name) {
        return directory.resolve(name).toString();
    }

    private HostFile create(String name, long length) throws LinuxException {
        HostFile file = HostFile.open(path(name), WRITE, CREATE);
        file.truncate(length);
        return file;
    }

    private MemorySegment pattern(int length) {
        MemorySegment memory = arena.allocate(length, 4096);
        for (int i = 0; i < length; i++) {
            memory.set(JAVA_BYTE, i, (byte) (i * 31 + i / 256));
        }
        return memory;
    }

    private MemorySegment iovecs(MemorySegment... segments) {
        MemorySegment array = arena.allocate(16L * segments.length, 8);
        for (int i = 0; i < segments.length; i++) {
            array.set(JAVA_LONG, 16L * i, segments[i].address());
            array.set(JAVA_LONG, 16L * i + 8, segments[i].byteSize());
        }
        return array;
    }

    @Test
    void readsCanLeaveTheAccessTimeAlone() throws IOException {
        FileTime old = FileTime.fromMillis(0); // older than the last change: relatime would set it
        try (HostFile file = create("f", 4096)) {
            Files.setAttribute(directory.resolve("f"), "lastAccessTime", old);
            file.leaveAccessTime();
            assertEquals(4096, file.read(0, arena.allocate(4096), 0, 4096));
        }
        assertEquals(old, Files.getAttribute(directory.resolve("f"), "lastAccessTime"));
    }

    @Test
    void whatIsWrittenIsRead() throws IOException {
        MemorySegment data = pattern(10_000);
        MemorySegment back = arena.allocate(10_000);
        try (HostFile file = create("f", 0)) {
            file.write(5, data, 0, 10_000);
            assertEquals(10_005, file.length());
            assertEquals(10_000, file.read(5, back, 0, 10_000));
            assertEquals(-1, data.mismatch(back));
            assertEquals(5, file.read(10_000, back, 0, 100));
            assertEquals(0, file.read(20_000, back, 0, 100));
            file.writeDurably(10_005, data, 100, 50);
            file.syncData();
            file.sync();
            assertEquals(50, file.read(10_005, back, 0, 1000));
            assertEquals(-1, data.asSlice(100, 50).mismatch(back.asSlice(0, 50)));
        }
    }

    @Test
    void rangesAreReadAndWrittenTogether() throws IOException {
        MemorySegment data = pattern(3000);
        try (HostFile file = create("f", 0)) {
            MemorySegment out = iovecs(data.asSlice(0, 1000), data.asSlice(1000, 2000));
            assertEquals(3000, file.write(7, out, 2, false));
            assertEquals(3000, file.write(7, out, 2, true));
            MemorySegment a = arena.allocate(10);
            MemorySegment b = arena.allocate(2990);
            assertEquals(3000, file.read(7, iovecs(a, b), 2));
            assertEquals(-1, data.asSlice(0, 10).mismatch(a));
            assertEquals(-1, data.asSlice(10).mismatch(b));
            assertThrows(IndexOutOfBoundsException.class, () -> file.read(7, out, 3));
        }
    }

    @Test
    void cachedBytesAreReadWithoutWaiting() throws IOException {
        MemorySegment data = pattern(4096);
        MemorySegment back = arena.allocate(4096);
        try (HostFile file = create("f", 0)) {
            file.write(0, data, 0, 4096);
            // Dirty pages are in the cache; a file system without RWF_NOWAIT may refuse
            assertEquals(4096, file.tryRead(0, back, 0, 4096));
            assertEquals(-1, data.mismatch(back));
            assertEquals(4096, file.tryRead(0, iovecs(back), 1));
            assertEquals(0, file.tryRead(8192, back, 0, 100));
        }
    }

    /** tmpfs refuses RWF_NOWAIT, and has nothing to wait for. */
    @Test
    void readsWhatIsInMemoryWithoutAsking() throws Exception {
        Path path = Files.createTempFile(Path.of("/dev/shm"), "blockwharf", "");
        try (Arena arena = Arena.ofConfined();
                HostFile file = HostFile.open(path.toString())) {
            Files.write(path, new byte[8192]);
            MemorySegment back = arena.allocate(4096);
            assertEquals(Files.getFileStore(path).type().equals("tmpfs"), file.inMemory());
            assertEquals(4096, file.tryRead(4096, back, 0, 4096));
            assertEquals(0, file.tryRead(8192, back, 0, 100));
        } finally {
            Files.delete(path);
        }
    }

    @Test
    void uncachedBytesWouldBlock() throws Exception {
        MemorySegment data = pattern(4096);
        MemorySegment back = arena.allocate(4096);
        try (HostFile file = create("f", 0)) {
            file.write(0, data, 0, 4096);
            file.sync();
            // Advice: a page that the kernel is busy with stays
            long there;
            int tries = 0;
            do {
                Thread.sleep(tries);
                file.dropCache(0, 0);
                there = file.tryRead(0, back, 0, 4096);
            } while (there == 4096 && ++tries < 200);
            assertEquals(HostFile.WOULD_BLOCK, there);
            assertEquals(4096, file.read(0, back, 0, 4096));
            assertEquals(4096, file.tryRead(0, back, 0, 4096));
            file.readAhead(0, 0);
        }
    }

    @ParameterizedTest(name = "{0} of [{1}, +{2})")
    @CsvSource({"punch, 4096, 8192", "zero, 4096, 8192", "punch, 100, 5000", "zero, 100, 5000"})
    void rangesBecomeZeroesAndTheLengthStays(String how, long position, long length)
            throws IOException {
        MemorySegment data = pattern(16_384);
        try (HostFile file = create("f", 0)) {
            file.write(0, data, 0, 16_384);
            if (how.equals("punch")) {
                file.punchHole(position, length);
            } else {
                file.zeroRange(position, length);
            }
            MemorySegment expected = arena.allocate(16_384).copyFrom(data);
            expected.asSlice(position, length).fill((byte) 0);
            MemorySegment back = arena.allocate(16_384);
            assertEquals(16_384, file.read(0, back, 0, 16_384));
            assertEquals(-1, expected.mismatch(back));
            file.punchHole(10_000, 100_000);
            file.zeroRange(10_000, 100_000);
            assertEquals(16_384, file.length());
        }
    }

    @Test
    void holesAreFound() throws IOException {
        try (HostFile file = create("f", 1 << 20)) {
            assertEquals(OptionalLong.empty(), file.seekData(0));
            assertEquals(OptionalLong.of(0), file.seekHole(0));
            assertEquals(0, file.allocatedBytes());
            file.write(65_536, pattern(4096), 0, 4096);
            assertEquals(OptionalLong.of(65_536), file.seekData(0));
            assertEquals(OptionalLong.of(69_632), file.seekHole(65_536));
            assertEquals(OptionalLong.empty(), file.seekData(69_632));
            assertEquals(OptionalLong.empty(), file.seekHole(1 << 20));
            file.allocate(1 << 20, 4096);
            assertEquals((1 << 20) + 4096, file.length());
            assertTrue(file.allocatedBytes() >= 4096);
        }
    }

    @Test
    void openFlagsAreObeyed() throws IOException {
        LinuxException e =
                assertThrows(LinuxException.class, () -> HostFile.open(path("none"), WRITE));
        assertEquals(
                "Could not open '" + path("none") + "': No such file or directory", e.getMessage());
        assertThrows(LinuxException.class, () -> HostFile.open("a\0b"));
        MemorySegment data = pattern(10);
        try (HostFile file = create("f", 10);
                HostFile readOnly = HostFile.open(path("f"))) {
            assertThrows(
                    LinuxException.class,
                    () -> HostFile.open(path("f"), WRITE, CREATE, HostFile.Flag.EXCLUSIVE));
            assertTrue(
                    assertThrows(LinuxException.class, () -> readOnly.write(0, data, 0, 10))
                            .is(Errnos.EBADF));
            assertEquals(HostFile.Kind.REGULAR, file.kind());
            assertEquals(file.identity(), readOnly.identity());
            try (HostFile emptied = HostFile.open(path("f"), WRITE, HostFile.Flag.TRUNCATE)) {
                assertEquals(0, emptied.length());
            }
        }
    }

    @Test
    void aRenamedFileIsReopenedUnderItsOldDescriptor() throws IOException {
        try (HostFile file = create("f", 10);
                HostFile other = create("g", 20)) {
            Files.move(
                    directory.resolve("g"),
                    directory.resolve("f"),
                    java.nio.file.StandardCopyOption.REPLACE_EXISTING);
            try (HostFile again = file.reopen(WRITE)) {
                assertEquals(file.identity(), again.identity());
                assertNotEquals(other.identity(), again.identity());
                again.write(0, pattern(10), 0, 10);
            }
        }
    }

    @Test
    void openFilesAreExchangedUnderTheirNumbers() throws IOException {
        try (HostFile file = create("f", 4096);
                HostFile successor = file.successor("disk", Set.of())) {
            int number = file.fd();
            int other = successor.fd();
            assertTrue(file.tryLock(100, 1, true));
            file.exchange(successor);
            assertEquals(number, file.fd());
            assertEquals(other, successor.fd());
            assertThrows(LinuxException.class, () -> file.write(0, pattern(10), 0, 10));
            successor.write(0, pattern(10), 0, 10);
            // The lock has gone with the open file
            assertTrue(file.isLockedByOther(100, 1, false));
            assertFalse(successor.isLockedByOther(100, 1, true));
            assertTrue((Libc.fcntl(number, Libc.F_GETFD, 0) & Libc.FD_CLOEXEC) != 0);
            assertTrue((Libc.fcntl(other, Libc.F_GETFD, 0) & Libc.FD_CLOEXEC) != 0);
        }
    }

    @Test
    void aSuccessorFromASetIsAMemberOfIt() throws IOException {
        create("f", 4096).close();
        create("g", 4096).close();
        FdSets sets = FdSets.ofProcess();
        long id = sets.add(Optional.empty(), descriptor("f"), Optional.empty());
        try (HostFile file = HostFile.open("/dev/fdset/" + id)) {
            String name = "/dev/fdset/" + id;
            assertTrue(
                    assertThrows(LinuxException.class, () -> file.successor(name, Set.of(WRITE)))
                            .is(Errnos.EACCES));
            sets.add(Optional.of(id), descriptor("f", WRITE), Optional.empty());
            try (HostFile successor = file.successor(name, Set.of(WRITE))) {
                file.exchange(successor);
                file.write(0, pattern(10), 0, 10);
            }
            sets.remove(id, Optional.empty());
            sets.add(Optional.of(id), descriptor("g"), Optional.empty());
            assertEquals(
                    "'%s' is another file now".formatted(name),
                    assertThrows(LinuxException.class, () -> file.successor(name, Set.of()))
                            .getMessage());
        } finally {
            sets.remove(id, Optional.empty());
        }
        assertTrue(sets.list().stream().noneMatch(set -> set.id() == id));
    }

    private Descriptor descriptor(String name, HostFile.Flag... flags) throws IOException {
        return new Descriptor(HostFile.open(path(name), flags).release());
    }

    @ParameterizedTest(name = "{0} lock against {1} lock: {2}")
    @CsvSource({
        "shared, shared, true",
        "shared, exclusive, false",
        "exclusive, shared, false",
        "exclusive, exclusive, false"
    })
    void locksOfOpenFilesExcludeEachOther(String held, String wanted, boolean granted)
            throws IOException {
        try (HostFile first = create("f", 0);
                HostFile second = HostFile.open(path("f"), WRITE)) {
            assertTrue(first.tryLock(100, 1, held.equals("exclusive")));
            boolean exclusive = wanted.equals("exclusive");
            assertEquals(!granted, second.isLockedByOther(100, 1, exclusive));
            assertEquals(granted, second.tryLock(100, 1, exclusive));
            assertTrue(second.tryLock(101, 1, true));
            assertFalse(first.isLockedByOther(100, 1, false));
            first.unlock(100, 1);
            assertTrue(second.tryLock(100, 1, exclusive));
        }
    }

    @Test
    void closingAFileReleasesItsLocks() throws IOException {
        try (HostFile second = create("f", 0)) {
            try (HostFile first = HostFile.open(path("f"), WRITE)) {
                assertTrue(first.tryLock(0, 100, true));
                assertFalse(second.tryLock(99, 1, true));
            }
            assertTrue(second.tryLock(99, 1, true));
        }
    }

    @Test
    void directTransfersKeepToTheAlignment() throws IOException {
        try (HostFile file = create("f", 1 << 20)) {
            HostFile.Alignment alignment = file.directAlignment().orElseThrow();
            assertEquals(1, Integer.bitCount(alignment.memory()));
            assertEquals(1, Integer.bitCount(alignment.offset()));
            MemorySegment data = pattern(8192);
            try (HostFile direct = file.reopen(WRITE, HostFile.Flag.DIRECT)) {
                direct.write(alignment.offset(), data, 0, 4096);
                MemorySegment back = arena.allocate(4096, 4096);
                assertEquals(4096, direct.read(alignment.offset(), back, 0, 4096));
                assertEquals(-1, data.asSlice(0, 4096).mismatch(back));
            }
        }
    }

    @Test
    void aDirectReadEndsWithTheFile() throws IOException {
        try (HostFile file = create("f", 10_000);
                HostFile direct = file.reopen(HostFile.Flag.DIRECT)) {
            MemorySegment data = pattern(10_000);
            file.write(0, data, 0, 10_000);
            MemorySegment back = arena.allocate(16_384, 4096);
            assertEquals(10_000, direct.read(0, back, 0, 16_384));
            assertEquals(-1, data.mismatch(back.asSlice(0, 10_000)));
        }
    }

    @Test
    void aCharacterDeviceIsNeitherFileNorDisk() throws IOException {
        try (HostFile zero = HostFile.open("/dev/zero")) {
            assertEquals(HostFile.Kind.CHARACTER_DEVICE, zero.kind());
            assertEquals(HostFile.Kind.OTHER, HostFile.kind("/dev"));
            assertEquals(0, zero.length());
        }
    }

    @Test
    void aBlockDeviceHasSizesAndDiscards() throws Exception {
        try (HostFile file = create("disk", 1 << 20);
                LoopDevice loop = new LoopDevice(path("disk"));
                HostFile disk = HostFile.open(loop.path(), WRITE)) {
            assertEquals(HostFile.Kind.BLOCK_DEVICE, disk.kind());
            assertEquals(1 << 20, disk.length());
            assertFalse(disk.isReadOnlyDevice());
            assertEquals(512, disk.logicalBlockSize());
            assertTrue(disk.physicalBlockSize() >= 512);
            assertEquals(512, disk.directAlignment().orElseThrow().offset());
            disk.write(0, pattern(65_536), 0, 65_536);
            disk.syncData();
            assertEquals(OptionalLong.of(0), file.seekData(0));
            disk.zeroBlocks(0, 4096);
            disk.discardBlocks(4096, 61_440);
            MemorySegment back = arena.allocate(65_536);
            MemorySegment expected = arena.allocate(65_536);
            assertEquals(65_536, disk.read(0, back, 0, 65_536));
            assertEquals(-1, expected.mismatch(back));
        }
    }
}

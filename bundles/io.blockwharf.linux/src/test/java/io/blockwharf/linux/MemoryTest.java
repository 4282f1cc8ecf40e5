package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import org.junit.jupiter.api.Test;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;

/** mmap(2), memfd_create(2) and the rules for segments that are passed to calls. */
class MemoryTest {

    @Test
    void twoMappingsOfAMemoryFileAreTheSameMemory() throws IOException {
        try (MemFd file = MemFd.create("test", 1 << 20);
                MappedRegion first = file.map(1 << 20);
                MappedRegion second =
                        MappedRegion.map(file.fd(), 5000, 100, MappedRegion.Access.READ)) {
            assertEquals(1 << 20, first.segment().byteSize());
            first.segment().set(JAVA_BYTE, 5099, (byte) 42);
            assertEquals(42, second.segment().get(JAVA_BYTE, 99));
            assertEquals(100, second.segment().byteSize());
        }
    }

    @Test
    void aMappingMayBeBiggerThanTwoGigabytes() throws IOException {
        long size = 5L << 30;
        try (MemFd file = MemFd.create("big", size);
                MappedRegion region = file.map(size)) {
            region.segment().set(JAVA_LONG, size - 8, 99);
            try (MappedRegion end =
                    MappedRegion.map(file.fd(), size - 8, 8, MappedRegion.Access.READ)) {
                assertEquals(99, end.segment().get(JAVA_LONG, 0));
            }
        }
    }

    @Test
    void anUnmappedRegionCannotBeTouched() throws IOException {
        MappedRegion region = MappedRegion.anonymous(4096);
        MemorySegment segment = region.segment();
        segment.set(JAVA_INT, 0, 1);
        region.close();
        region.close();
        assertThrows(IllegalStateException.class, () -> segment.get(JAVA_INT, 0));
    }

    @Test
    void impossibleMappingsAreRefused() throws IOException {
        try (MemFd file = MemFd.create("test", 4096)) {
            int fd = file.fd();
            MappedRegion.Access read = MappedRegion.Access.READ;
            assertThrows(LinuxException.class, () -> MappedRegion.map(fd, -1, 1, read));
            assertThrows(LinuxException.class, () -> MappedRegion.map(fd, 0, 0, read));
            assertThrows(
                    LinuxException.class, () -> MappedRegion.map(fd, 4096, Long.MAX_VALUE, read));
            assertThrows(LinuxException.class, () -> MappedRegion.map(9999, 0, 1, read));
        }
    }

    @Test
    void aSealedFileKeepsItsLength() throws IOException {
        try (MemFd file = MemFd.create("test", 4096)) {
            file.resize(8192);
            file.seal();
            assertTrue(
                    assertThrows(LinuxException.class, () -> file.resize(4096)).is(Errnos.EPERM));
        }
    }

    @Test
    void onlyLivingNativeMemoryInsideItsBoundsHasAnAddress() {
        MemorySegment gone;
        try (Arena arena = Arena.ofConfined()) {
            gone = arena.allocate(16);
            MemorySegment segment = gone;
            assertEquals(segment.address() + 8, RawMemory.address(segment, 8, 8));
            assertThrows(IndexOutOfBoundsException.class, () -> RawMemory.address(segment, 9, 8));
            assertThrows(IndexOutOfBoundsException.class, () -> RawMemory.address(segment, -1, 8));
            assertThrows(
                    IndexOutOfBoundsException.class,
                    () -> RawMemory.address(segment, 8, Long.MAX_VALUE));
        }
        assertThrows(IllegalStateException.class, () -> RawMemory.address(gone, 0, 1));
        assertThrows(
                IllegalArgumentException.class,
                () -> RawMemory.address(MemorySegment.ofArray(new byte[8]), 0, 1));
    }

    @Test
    void aThreadCanBeKeptOnOneProcessor() throws Exception {
        Thread thread =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    try {
                                        BitSet one = new BitSet();
                                        one.set(CpuSet.ofThisThread().nextSetBit(0));
                                        CpuSet.pinThisThread(one);
                                        assertEquals(one, CpuSet.ofThisThread());
                                    } catch (LinuxException e) {
                                        throw new AssertionError(e);
                                    }
                                });
        Throwable[] failure = new Throwable[1];
        thread.setUncaughtExceptionHandler((_, e) -> failure[0] = e);
        thread.join();
        assertEquals(null, failure[0]);
    }

    @Test
    void aThreadCanBeMadeToWaitForOthersOnItsProcessor() throws Exception {
        String[] policies = new String[2];
        boolean[] batch = new boolean[1];
        Thread thread =
                Thread.ofPlatform()
                        .start(
                                () -> {
                                    policies[0] = policyOfThisThread();
                                    batch[0] = Scheduling.batchThisThread();
                                    policies[1] = policyOfThisThread();
                                });
        thread.join();
        // Any other policy is the choice of whoever started these tests
        String expected = policies[0].equals("0") ? "3" : policies[0];
        assertEquals(expected, policies[1]);
        assertEquals(expected.equals("3"), batch[0]);
    }

    /** Field 41 of proc(5), {@code /proc/PID/stat}; the name, field 2, may hold blanks. */
    private static String policyOfThisThread() {
        try {
            String stat = Files.readString(Path.of("/proc/thread-self/stat"));
            return stat.substring(stat.lastIndexOf(')') + 2).split(" ")[41 - 3];
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    @Test
    void errorsHaveNamesAndTexts() {
        assertEquals("EAGAIN", Errnos.name(Errnos.EAGAIN));
        assertEquals("errno 4711", Errnos.name(4711));
        assertEquals("Unknown error 4711", Errnos.text(4711));
        assertEquals("x: No space left on device", new LinuxException("x", 28).getMessage());
    }
}

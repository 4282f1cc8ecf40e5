package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Mount;
import io.blockwharf.testing.RecordingLog;
import io.blockwharf.testing.TestIoThread;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.osgi.service.log.Logger;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.MappedByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/**
 * Mounted exports on this machine's kernel, over a node that can be made to wait or fail. Needs
 * root and {@code /dev/fuse}.
 */
@Timeout(120)
final class FuseExportTest {
    private static final int SIZE = 1 << 20;
    private static final Logger LOG = new RecordingLog().logger;

    @TempDir Path directory;
    private Path image;
    private Path mountpoint;
    private byte[] content;
    private FileNode node;
    private FuseExport export;
    private final List<TestIoThread> loops = new ArrayList<>();
    private final List<FileChannel> lost = new ArrayList<>();
    private final ExecutorService clients = Executors.newCachedThreadPool();

    /** Who serves. */
    enum Serving {
        OWN_THREADS,
        IO_THREAD,
        TWO_IO_THREADS,
        /** Over io_uring, if this kernel has that. */
        RINGS
    }

    /** The switch of the kernel's module; it counts for file systems mounted afterwards. */
    private static final Path RINGS_ENABLED = Path.of("/sys/module/fuse/parameters/enable_uring");

    private static String ringsWereEnabled = "";

    @BeforeAll
    static void enableRings() throws IOException {
        if (Files.exists(RINGS_ENABLED)) {
            ringsWereEnabled = Files.readString(RINGS_ENABLED);
            Files.writeString(RINGS_ENABLED, "Y");
        }
    }

    @AfterAll
    static void restoreRings() throws IOException {
        if (!ringsWereEnabled.isEmpty()) {
            Files.writeString(RINGS_ENABLED, ringsWereEnabled);
        }
    }

    @BeforeEach
    void fill() throws IOException {
        image = directory.resolve("image");
        mountpoint = Files.createFile(directory.resolve("mount point"));
        content = new byte[SIZE];
        new Random(6).nextBytes(content);
        Files.write(image, content);
        node = new FileNode(image);
    }

    @AfterEach
    void unmount() throws Exception {
        if (export != null) {
            end();
        }
        for (FileChannel file : lost) {
            try {
                file.close();
            } catch (IOException e) {
                // as expected
            }
        }
        node.close();
        for (TestIoThread loop : loops) {
            loop.close();
        }
        clients.shutdown();
        assertTrue(MountTable.at(mountpoint.toString()).isEmpty(), "still mounted");
    }

    private void end() throws Exception {
        export.requestShutdown();
        export.closed().toCompletableFuture().get(30, TimeUnit.SECONDS);
    }

    private void start(boolean writable, boolean growable, Serving serving) throws Exception {
        start(writable, growable, serving, FuseExportAllowOther.AUTO, false);
    }

    private void start(
            boolean writable,
            boolean growable,
            Serving serving,
            FuseExportAllowOther others,
            boolean passthrough)
            throws Exception {
        List<IoThread> threads = new ArrayList<>();
        int count =
                switch (serving) {
                    case OWN_THREADS, RINGS -> 0;
                    case IO_THREAD -> 1;
                    case TWO_IO_THREADS -> 2;
                };
        for (int i = 0; i < count; i++) {
            TestIoThread loop = new TestIoThread("loop" + i);
            loops.add(loop);
            threads.add(loop);
        }
        node.direct = passthrough;
        var spec =
                new ExportSpec<>(
                        "e0",
                        node,
                        writable,
                        threads,
                        new BlockExportOptionsFuse(
                                mountpoint.toString(), Optional.of(growable), Optional.of(others)));
        FuseExport.takePermissions(spec);
        export =
                FuseExport.start(
                        spec,
                        FuseMount.locate(mountpoint.toString()),
                        new FuseSettings(2, passthrough, serving == Serving.RINGS),
                        LOG);
    }

    private FileChannel open(OpenOption... options) throws IOException {
        return FileChannel.open(mountpoint, options);
    }

    /** For files that outlive their export: close(2) tells of that once more. */
    private FileChannel openToLose(OpenOption... options) throws IOException {
        FileChannel file = open(options);
        lost.add(file);
        return file;
    }

    private static byte[] pattern(int length) {
        byte[] bytes = new byte[length];
        Arrays.fill(bytes, (byte) 0x5a);
        return bytes;
    }

    @ParameterizedTest
    @EnumSource
    void detailsTellThePath(Serving serving) throws Exception {
        start(true, false, serving);
        boolean rings = serving == Serving.RINGS && !ringsWereEnabled.isEmpty();
        try (FileChannel _ = open(StandardOpenOption.READ)) {
            assertEquals(rings ? "io_uring" : "device", export.details().get("path"));
            assertEquals(1, export.details().get("open-files"));
            assertEquals(mountpoint.toString(), export.details().get("mountpoint"));
        }
    }

    // What the file does

    @ParameterizedTest
    @EnumSource
    void whatIsWrittenIsReadAndInTheImage(Serving serving) throws Exception {
        start(true, false, serving);
        assertArrayEquals(content, Files.readAllBytes(mountpoint));
        try (FileChannel file = open(StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            file.write(ByteBuffer.wrap(pattern(300_000)), 12_345);
            file.force(true);
            assertTrue(node.flushes > 0);
            System.arraycopy(pattern(300_000), 0, content, 12_345, 300_000);
        }
        assertArrayEquals(content, Files.readAllBytes(mountpoint));
        assertArrayEquals(content, Files.readAllBytes(image));
    }

    @Test
    void permissionsOfTheNode() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        assertEquals(
                Set.of(Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE),
                node.taken);
    }

    @Test
    void readsEndAtTheEnd() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (FileChannel file = open(StandardOpenOption.READ)) {
            assertEquals(10, file.read(ByteBuffer.allocate(100), SIZE - 10));
            assertEquals(-1, file.read(ByteBuffer.allocate(100), SIZE));
            assertEquals(-1, file.read(ByteBuffer.allocate(100), 1L << 40));
        }
    }

    @Test
    void writesEndAtTheEndUnlessGrowable() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (FileChannel file = open(StandardOpenOption.WRITE)) {
            assertEquals(10, file.write(ByteBuffer.wrap(pattern(100)), SIZE - 10));
            IOException e =
                    assertThrows(
                            IOException.class, () -> file.write(ByteBuffer.wrap(pattern(1)), SIZE));
            assertEquals("No space left on device", e.getMessage());
        }
        assertEquals(SIZE, Files.size(image));
    }

    @ParameterizedTest
    @EnumSource
    void writesPastTheEndGrow(Serving serving) throws Exception {
        start(true, true, serving);
        try (FileChannel file = open(StandardOpenOption.WRITE)) {
            assertEquals(100, file.write(ByteBuffer.wrap(pattern(100)), SIZE + 4096));
        }
        assertEquals(SIZE + 4196, Files.size(mountpoint));
        byte[] expected = Arrays.copyOf(content, SIZE + 4196);
        System.arraycopy(pattern(100), 0, expected, SIZE + 4096, 100);
        assertArrayEquals(expected, Files.readAllBytes(mountpoint));
    }

    @ParameterizedTest
    @CsvSource({"0", "1", "1048575", "1048577", "5000000"})
    void truncation(long size) throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (HostFile file = HostFile.open(mountpoint.toString(), HostFile.Flag.WRITE)) {
            file.truncate(size);
        }
        assertEquals(size, Files.size(mountpoint));
        assertEquals(size, Files.size(image));
        assertArrayEquals(Arrays.copyOf(content, (int) size), Files.readAllBytes(mountpoint));
    }

    /** fallocate(2). Image: 1 MiB of data. */
    @ParameterizedTest(name = "{0} {1}+{2}: {3}")
    @CsvSource(
            textBlock =
                    """
                    allocate,       0, 4096, EOPNOTSUPP
                    allocate, 1048576, 4096, 1052672
                    allocate, 2097152, 4096, 2101248
                    punch,       4096, 8192, 1048576
                    punch,    1044480, 8192, 1048576
                    punch,    2097152, 8192, 1048576
                    zero,        4096, 8192, 1048576
                    zero,     1044480, 8192, 1048576
                    """)
    void allocation(String what, int offset, int length, String expected) throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (HostFile file = HostFile.open(mountpoint.toString(), HostFile.Flag.WRITE)) {
            Action call =
                    switch (what) {
                        case "allocate" -> () -> file.allocate(offset, length);
                        case "punch" -> () -> file.punchHole(offset, length);
                        default -> () -> file.zeroRange(offset, length);
                    };
            if (expected.equals("EOPNOTSUPP")) {
                LinuxException e = assertThrows(LinuxException.class, call::run);
                assertTrue(e.is(Errnos.EOPNOTSUPP), e.getMessage());
                return;
            }
            call.run();
        }
        int size = Integer.parseInt(expected);
        byte[] after = Arrays.copyOf(content, size);
        Arrays.fill(after, Math.min(offset, size), Math.min(offset + length, size), (byte) 0);
        assertArrayEquals(after, Files.readAllBytes(mountpoint));
    }

    @Test
    void holesAreFound() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (HostFile file = HostFile.open(mountpoint.toString(), HostFile.Flag.WRITE)) {
            file.punchHole(65536, 131072);
            assertEquals(OptionalLong.of(0), file.seekData(0));
            assertEquals(OptionalLong.of(65536), file.seekHole(0));
            assertEquals(OptionalLong.of(196608), file.seekData(65536));
            assertEquals(OptionalLong.of(SIZE), file.seekHole(196608));
            assertEquals(OptionalLong.empty(), file.seekData(SIZE));
            file.punchHole(SIZE - 65536, 65536);
            assertEquals(OptionalLong.empty(), file.seekData(SIZE - 65536));
        }
    }

    @Test
    void modeAndOwner() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        assertEquals("rw-------", mode());
        Files.setPosixFilePermissions(mountpoint, PosixFilePermissions.fromString("rw-r--r--"));
        assertEquals("rw-r--r--", mode());
        Files.setAttribute(mountpoint, "unix:uid", 12345);
        Files.setAttribute(mountpoint, "unix:gid", 12346);
        assertEquals(12345, Files.getAttribute(mountpoint, "unix:uid"));
        assertEquals(12346, Files.getAttribute(mountpoint, "unix:gid"));
        refused(
                "Operation not supported",
                () ->
                        Files.setLastModifiedTime(
                                mountpoint, java.nio.file.attribute.FileTime.fromMillis(0)));
    }

    private String mode() throws IOException {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(mountpoint));
    }

    private interface Action {
        void run() throws Exception;
    }

    private static void refused(String reason, Action action) {
        FileSystemException e = assertThrows(FileSystemException.class, action::run);
        assertEquals(reason, e.getReason());
    }

    @Test
    void withoutAllowOtherNobodyElseGetsPermissions() throws Exception {
        start(true, false, Serving.OWN_THREADS, FuseExportAllowOther.OFF, false);
        refused(
                "Operation not permitted",
                () ->
                        Files.setPosixFilePermissions(
                                mountpoint, PosixFilePermissions.fromString("rw-r-----")));
        refused("Operation not supported", () -> Files.setAttribute(mountpoint, "unix:uid", 12345));
        Files.setPosixFilePermissions(mountpoint, PosixFilePermissions.fromString("r--------"));
        assertEquals("r--------", mode());
    }

    @Test
    void readOnlyExportsAreMountedReadOnly() throws Exception {
        start(false, false, Serving.OWN_THREADS);
        assertEquals("r--------", mode());
        assertArrayEquals(content, Files.readAllBytes(mountpoint));
        refused("Read-only file system", () -> open(StandardOpenOption.WRITE).close());
        refused(
                "Read-only file system",
                () ->
                        Files.setPosixFilePermissions(
                                mountpoint, PosixFilePermissions.fromString("rw-------")));
        assertEquals(Set.of(), node.taken, "what core has taken is enough");
    }

    @Test
    void timesAreThoseOfTheLastChange() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        var before = Files.getLastModifiedTime(mountpoint);
        Files.readAllBytes(mountpoint);
        assertEquals(before, Files.getLastModifiedTime(mountpoint));
        Thread.sleep(2); // The clock of the times ticks in milliseconds.
        Files.write(mountpoint, new byte[1], StandardOpenOption.WRITE);
        node.listeners.forEach(Runnable::run); // Do not use what is cached for a second.
        assertTrue(before.compareTo(Files.getLastModifiedTime(mountpoint)) < 0);
    }

    // The node behind it

    @Test
    void aResizeIsSeenAtOnce() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        for (int i = 0; i < 20; i++) {
            assertEquals(node.length(), Files.size(mountpoint));
            node.resize(SIZE + (i % 2 == 0 ? 4096L * i : -512L * i));
        }
        node.resize(SIZE / 2);
        assertEquals(SIZE / 2, Files.readAllBytes(mountpoint).length);
    }

    @ParameterizedTest
    @CsvSource({
        "ENOSPC, No space left on device",
        "EIO, Input/output error",
        "EAGAIN, Input/output error",
        "ECANCELED, Input/output error",
        "ESHUTDOWN, Transport endpoint is not connected",
        "EDQUOT, Disk quota exceeded",
    })
    void failuresHaveTheirErrno(Errno errno, String message) throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (FileChannel file = open(StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            for (FileNode.Gate gate : new FileNode.Gate[] {null, () -> {}}) { // inline and queued
                node.gate = gate;
                node.failure = errno;
                String read =
                        assertThrows(IOException.class, () -> file.read(ByteBuffer.allocate(9), 0))
                                .getMessage();
                String write =
                        assertThrows(IOException.class, () -> file.write(ByteBuffer.allocate(9), 0))
                                .getMessage();
                node.failure = Errno.OK;
                assertEquals(message, read);
                assertEquals(message, write);
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void aSlowDiskHoldsUpNobodyElse(Serving serving) throws Exception {
        start(true, false, serving);
        int readers = 40; // More than there are threads.
        CountDownLatch atTheDisk = new CountDownLatch(readers);
        CountDownLatch diskWorks = new CountDownLatch(1);
        try (FileChannel file = open(StandardOpenOption.READ)) {
            node.gate =
                    () -> {
                        atTheDisk.countDown();
                        diskWorks.await();
                    };
            List<Future<byte[]>> reads = new ArrayList<>();
            for (int i = 0; i < readers; i++) {
                long at = 4096L * i;
                reads.add(
                        clients.submit(
                                () -> {
                                    ByteBuffer buffer = ByteBuffer.allocate(4096);
                                    file.read(buffer, at);
                                    return buffer.array();
                                }));
            }
            assertTrue(atTheDisk.await(30, TimeUnit.SECONDS), "all are at the disk at once");
            assertEquals(SIZE, Files.size(mountpoint));
            node.gate = null;
            assertEquals(100, file.read(ByteBuffer.allocate(100), 0));
            diskWorks.countDown();
            for (int i = 0; i < readers; i++) {
                assertArrayEquals(
                        Arrays.copyOfRange(content, 4096 * i, 4096 * (i + 1)), reads.get(i).get());
            }
        }
    }

    @ParameterizedTest
    @EnumSource
    void moreRequestsThanBuffers(Serving serving) throws Exception {
        start(true, false, serving);
        node.gate = () -> {};
        try (FileChannel file = open(StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            List<Future<Integer>> writes = new ArrayList<>();
            for (int i = 0; i < 256; i++) {
                long at = 4096L * i;
                writes.add(clients.submit(() -> file.write(ByteBuffer.wrap(pattern(4096)), at)));
            }
            for (Future<Integer> write : writes) {
                assertEquals(4096, write.get());
            }
        }
        assertArrayEquals(pattern(SIZE), Files.readAllBytes(image));
    }

    // The end

    @Test
    void inUseWhileOpen() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        assertFalse(export.inUse());
        for (int i = 0; i < 50; i++) {
            try (FileChannel _ = open(StandardOpenOption.READ)) {
                assertTrue(export.inUse());
            }
            assertFalse(export.inUse(), "the news of the close has arrived");
        }
    }

    @Test
    void inUseWhileMapped() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        try (var arena = java.lang.foreign.Arena.ofShared()) {
            try (FileChannel file = open(StandardOpenOption.READ)) {
                file.map(FileChannel.MapMode.READ_ONLY, 0, 4096, arena);
            }
            assertTrue(export.inUse());
        }
        assertFalse(export.inUse());
    }

    @ParameterizedTest
    @EnumSource
    void hardRemovalUnderAnOpenFile(Serving serving) throws Exception {
        start(true, false, serving);
        FileChannel file = openToLose(StandardOpenOption.READ, StandardOpenOption.WRITE);
        file.write(ByteBuffer.wrap(pattern(100)), 0);
        end();
        assertEquals(
                "Transport endpoint is not connected",
                assertThrows(IOException.class, () -> file.read(ByteBuffer.allocate(9), 0))
                        .getMessage());
        assertEquals(0, Files.size(mountpoint), "the file below is seen again");
        assertTrue(node.flushes > 0);
    }

    @ParameterizedTest
    @EnumSource
    void requestsUnderWayAreFinishedFirst(Serving serving) throws Exception {
        start(true, false, serving);
        CountDownLatch atTheDisk = new CountDownLatch(1);
        CountDownLatch diskWorks = new CountDownLatch(1);
        FileChannel file = openToLose(StandardOpenOption.READ);
        node.gate =
                () -> {
                    atTheDisk.countDown();
                    diskWorks.await();
                };
        Future<Integer> read = clients.submit(() -> file.read(ByteBuffer.allocate(100), 0));
        atTheDisk.await();
        export.requestShutdown();
        export.requestShutdown();
        diskWorks.countDown();
        assertEquals(100, read.get());
        end();
    }

    @Test
    void mappingsAreWrittenFirst() throws Exception {
        start(true, false, Serving.OWN_THREADS);
        FileChannel file = openToLose(StandardOpenOption.READ, StandardOpenOption.WRITE);
        MappedByteBuffer mapping = file.map(FileChannel.MapMode.READ_WRITE, 0, 8192);
        mapping.put(4096, pattern(4096));
        end();
        assertArrayEquals(pattern(4096), Arrays.copyOfRange(Files.readAllBytes(image), 4096, 8192));
    }

    @ParameterizedTest
    @EnumSource
    void unmountingEndsTheExport(Serving serving) throws Exception {
        start(true, false, serving);
        Mount.detach(mountpoint.toString());
        export.closed().toCompletableFuture().get(30, TimeUnit.SECONDS);
    }

    @Test
    void unmountRaces() throws Exception {
        for (int i = 0; i < 25; i++) {
            start(true, false, Serving.OWN_THREADS);
            int number = i;
            Future<?> client =
                    clients.submit(
                            () -> {
                                try {
                                    for (int k = 0; k < 1000; k++) {
                                        Files.write(
                                                mountpoint,
                                                pattern(k + number),
                                                StandardOpenOption.WRITE);
                                    }
                                } catch (IOException e) {
                                    // It ends under it.
                                }
                            });
            Future<?> other =
                    clients.submit(
                            () -> {
                                if (number % 2 == 0) {
                                    Mount.detach(mountpoint.toString());
                                }
                                return null;
                            });
            end();
            client.get();
            other.get();
        }
    }

    // Errors

    @Test
    void theMountpointHasToExist() {
        Path missing = directory.resolve("missing");
        assertEquals(
                "Failed to stat '" + missing + "': No such file or directory",
                assertThrows(QmpException.class, () -> FuseMount.locate(missing.toString()))
                        .getMessage());
        assertEquals(
                "'" + directory + "' is not a regular file",
                assertThrows(QmpException.class, () -> FuseMount.locate(directory.toString()))
                        .getMessage());
    }

    @Test
    void linksLeadToTheMountpoint() throws Exception {
        Path link = Files.createSymbolicLink(directory.resolve("link"), mountpoint);
        assertEquals(mountpoint.toString(), FuseMount.locate(link.toString()));
    }

    @Test
    void theMountOfADeadDaemonIsExplained() throws Exception {
        FuseMount mount =
                FuseMount.mount(mountpoint.toString(), true, FuseExportAllowOther.OFF, 0, LOG);
        mount.device().close(); // as when the process ends
        try {
            String message =
                    assertThrows(QmpException.class, () -> FuseMount.locate(mountpoint.toString()))
                            .getMessage();
            assertEquals(
                    "Failed to stat '"
                            + mountpoint
                            + "': Transport endpoint is not connected (a FUSE server that has died"
                            + " left its mount there: unmount it with 'umount' or 'fusermount3"
                            + " -u')",
                    message);
        } finally {
            mount.close();
        }
    }

    // Passthrough

    @Test
    void theKernelWorksOnTheImage() throws Exception {
        start(true, true, Serving.OWN_THREADS, FuseExportAllowOther.AUTO, true);
        assertEquals("device", export.details().get("path"));
        try (FileChannel file = open(StandardOpenOption.READ, StandardOpenOption.WRITE)) {
            assertEquals("passthrough", export.details().get("path"));
            node.failure = Errno.EIO; // The daemon sees no reads and writes,
            assertEquals(SIZE, file.read(ByteBuffer.allocate(SIZE), 0));
            file.write(ByteBuffer.wrap(pattern(100)), SIZE + 100);
            node.failure = Errno.OK;
            assertEquals(SIZE + 200, Files.size(mountpoint)); // but the size.
            assertEquals(SIZE + 200, node.length());
            assertEquals(1, node.directAccesses);
        }
        assertFalse(export.inUse());
        assertEquals(0, node.directAccesses);
        assertEquals("device", export.details().get("path"));
    }

    @Test
    void writersOfAFixedSizeComeToTheDaemon() throws Exception {
        start(true, false, Serving.OWN_THREADS, FuseExportAllowOther.AUTO, true);
        try (FileChannel reader = open(StandardOpenOption.READ);
                FileChannel writer = open(StandardOpenOption.WRITE)) {
            assertEquals(
                    "No space left on device",
                    assertThrows(
                                    IOException.class,
                                    () -> writer.write(ByteBuffer.wrap(pattern(1)), SIZE))
                            .getMessage());
            writer.write(ByteBuffer.wrap(pattern(100)), 50);
            node.failure = Errno.EIO;
            ByteBuffer buffer = ByteBuffer.allocate(100);
            reader.read(buffer, 50);
            assertArrayEquals(pattern(100), buffer.array());
            assertThrows(IOException.class, () -> writer.write(ByteBuffer.wrap(pattern(1)), 0));
            node.failure = Errno.OK;
        }
    }

    @Test
    void noPassthroughWhileTheNodeRefusesIt() throws Exception {
        start(true, true, Serving.OWN_THREADS, FuseExportAllowOther.AUTO, true);
        node.direct = false;
        try (FileChannel first = open(StandardOpenOption.READ)) {
            node.direct = true;
            try (FileChannel _ = open(StandardOpenOption.READ)) { // joins the first
                assertEquals("device", export.details().get("path"));
                assertEquals(9, first.read(ByteBuffer.allocate(9), 0));
            }
        }
        assertFalse(export.inUse());
        try (FileChannel _ = open(StandardOpenOption.READ)) {
            assertEquals("passthrough", export.details().get("path"));
        }
    }

    @Test
    void hardRemovalTakesTheImageAway() throws Exception {
        start(true, true, Serving.OWN_THREADS, FuseExportAllowOther.AUTO, true);
        FileChannel file = openToLose(StandardOpenOption.READ, StandardOpenOption.WRITE);
        file.read(ByteBuffer.allocate(9), 0);
        end();
        assertEquals(
                "Input/output error",
                assertThrows(IOException.class, () -> file.write(ByteBuffer.wrap(pattern(9)), 0))
                        .getMessage());
        assertThrows(IOException.class, () -> file.read(ByteBuffer.allocate(9), 0));
        assertArrayEquals(content, Files.readAllBytes(image));
        assertEquals(0, node.directAccesses);
    }
}

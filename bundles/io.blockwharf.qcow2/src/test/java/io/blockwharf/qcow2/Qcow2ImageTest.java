package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** What random operations do not reach: snapshots, sizes, dirt, corruption, limits. */
class Qcow2ImageTest {
    private static final int MIB = 1 << 20;

    @TempDir Path folder;

    private static void io(Path path, String... commands) throws Exception {
        var all = new java.util.ArrayList<>(java.util.List.of("qemu-io"));
        for (String command : commands) {
            all.add("-c");
            all.add(command);
        }
        all.add(path.toString());
        Disk.run(all.toArray(String[]::new));
    }

    private static void poke(Path path, long at, long value) throws Exception {
        try (var file = new RandomAccessFile(path.toFile(), "rw")) {
            file.seek(at);
            file.writeLong(value);
        }
    }

    private static long peek(Path path, long at) throws Exception {
        try (var file = new RandomAccessFile(path.toFile(), "r")) {
            file.seek(at);
            return file.readLong();
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"compat=1.1", "compat=0.10", "extended_l2=on", "cluster_size=512"})
    void writesLeaveSnapshotsAlone(String options) throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M", "-o", options);
        io(path, "write -P 1 0 4M");
        Disk.run("qemu-img", "snapshot", "-c", "first", path.toString()).ok();
        try (Disk disk = Disk.open(path, true)) {
            disk.write(MIB + 100, Disk.filled(200_000, 2));
            disk.image.writeZeroes(3 * MIB, 65536, RequestFlags.MAY_UNMAP);
            disk.image.discard(2 * MIB, MIB);
            assertArrayEquals(Disk.filled(100, 1), disk.read(MIB, 100));
            assertArrayEquals(Disk.filled(200_000, 2), disk.read(MIB + 100, 200_000));
        }
        Disk.check(path, false);
        try (Disk disk =
                Disk.open(path, false, Disk.options(Map.of(), Optional.of("first")), Map.of())) {
            assertArrayEquals(Disk.filled(4 * MIB, 1), disk.read(0, 4 * MIB));
            assertTrue(disk.image.details().get("snapshots").toString().contains("first"));
        }
        assertThrows(
                QmpException.class,
                () ->
                        Disk.open(
                                path,
                                false,
                                Disk.options(Map.of(), Optional.of("second")),
                                Map.of()));
        Disk.run("qemu-img", "snapshot", "-a", "first", path.toString()).ok();
        try (Disk disk = Disk.open(path, true)) {
            assertArrayEquals(Disk.filled(4 * MIB, 1), disk.read(0, 4 * MIB));
        }
        Disk.check(path, false);
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource({
        "compat=1.1",
        "compat=0.10",
        "cluster_size=512",
        "extended_l2=on",
        "refcount_bits=64"
    })
    void itGrowsAndShrinks(String options) throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "1M", "-o", options);
        try (Disk disk = Disk.open(path, true)) {
            disk.write(0, Disk.filled(MIB, 3));
            disk.image.resize(64L * MIB);
            disk.write(63L * MIB, Disk.filled(MIB, 4));
            assertArrayEquals(Disk.filled(MIB, 0), disk.read(MIB, MIB));
            disk.image.resize(MIB / 2 + 512);
            assertEquals(MIB / 2 + 512, disk.image.length());
        }
        Disk.check(path, false);
        try (Disk disk = Disk.open(path, true)) { // nobody remembers what was there
            disk.image.resize(64L * MIB);
            assertArrayEquals(Disk.filled(MIB / 2 + 512, 3), disk.read(0, MIB / 2 + 512));
            assertArrayEquals(
                    Disk.filled(MIB / 2 - 512, 0), disk.read(MIB / 2 + 512, MIB / 2 - 512));
            assertArrayEquals(Disk.filled(MIB, 0), disk.read(63L * MIB, MIB));
        }
        Disk.check(path, false);
        assertTrue(Disk.run("qemu-img", "info", path.toString()).ok().contains("64 MiB"));
        try (Disk disk = Disk.open(path, true)) {
            assertEquals(
                    Errno.EINVAL,
                    assertThrows(BlockIoException.class, () -> disk.image.resize(1000)).errno());
        }
    }

    @Test
    void whatGrowsOverALongerBackingFileIsZero() throws Exception {
        Path base = folder.resolve("base");
        Files.write(base, Disk.filled(2 * MIB, 5));
        Path path = folder.resolve("a.qcow2");
        Disk.create(path, "1M", "-b", base.toString(), "-F", "raw");
        try (Disk disk =
                Disk.open(path, true, Disk.PLAIN, Map.of("backing", new DiskFile(base, false)))) {
            disk.image.resize(3 * MIB);
            assertArrayEquals(Disk.filled(MIB, 5), disk.read(0, MIB));
            assertArrayEquals(Disk.filled(2 * MIB, 0), disk.read(MIB, 2 * MIB));
        }
        Disk.check(path, false);
    }

    @Test
    void whatQemuHasLeftDirtyIsRepaired() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M", "-o", "lazy_refcounts=on");
        io(path, "write -P 1 1M 1M", "flush", "abort");
        assertEquals(Header.DIRTY, peek(path, 72));
        try (Disk disk = Disk.open(path, false)) {
            assertArrayEquals(Disk.filled(MIB, 1), disk.read(MIB, MIB));
        }
        assertEquals(Header.DIRTY, peek(path, 72)); // a reader leaves it alone
        try (Disk disk = Disk.open(path, true)) {
            disk.write(3 * MIB, Disk.filled(MIB, 2));
            assertArrayEquals(Disk.filled(MIB, 1), disk.read(MIB, MIB));
        }
        assertEquals(0, peek(path, 72));
        Disk.check(path, false);
    }

    /** Spec "Cluster mapping"; QEMU's metadata overlap checks. */
    @ParameterizedTest(name = "an L2 entry of {0}")
    @CsvSource({
        "0x8000000000000000, active L1", // see below: the offset of the L1 table is put in
        "0x8000000000010000, refcount",
        "0x8000000000000200, unaligned",
    })
    void corruptionIsToldOnceAndEndsTheImage(String entry, String complaint) throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M");
        io(path, "write 0 64k");
        long table = peek(path, peek(path, 40)) & Mapping.OFFSET;
        long value = Long.parseUnsignedLong(entry.substring(2), 16);
        poke(path, table, complaint.startsWith("active") ? value | peek(path, 40) : value);
        try (Disk disk = Disk.open(path, true)) {
            assertThrows(BlockIoException.class, () -> disk.write(0, Disk.filled(4096, 1)));
            assertEquals(1, disk.complaints.size());
            assertTrue(disk.complaints.getFirst().contains(complaint), disk.complaints::toString);
            assertThrows(BlockIoException.class, () -> disk.read(MIB, 512));
            assertEquals(1, disk.complaints.size());
        }
        assertEquals(Header.CORRUPT, peek(path, 72));
        assertThrows(QmpException.class, () -> Disk.open(path, true));
        Disk.open(path, false).close();
    }

    @ParameterizedTest(name = "compat {0}, clusters of {1}")
    @CsvSource({"1.1, 65536", "0.10, 65536", "1.1, 512"})
    void theNameOfTheBackingFileIsChanged(String compat, int cluster) throws Exception {
        Path path = folder.resolve("a.qcow2");
        Disk.create(
                path,
                "1M",
                "-u",
                "-b",
                "before.raw",
                "-F",
                "raw",
                "-o",
                "compat=" + compat + ",cluster_size=" + cluster);
        try (Disk disk = Disk.open(path, true)) {
            disk.write(0, Disk.filled(65536, 7));
            disk.image.changeBackingName(named("after", "qcow2"));
            BlockIoException tooLong =
                    assertThrows(
                            BlockIoException.class,
                            () -> disk.image.changeBackingName(named("x".repeat(1024), "raw")));
            assertEquals(Errno.ENOSPC, tooLong.errno());
            if (cluster == 512) {
                assertEquals(
                        Errno.ENOSPC,
                        assertThrows(
                                        BlockIoException.class,
                                        () ->
                                                disk.image.changeBackingName(
                                                        named("x".repeat(500), "raw")))
                                .errno());
            }
            assertEquals(named("after", "qcow2"), disk.image.description().orElseThrow().backing());
        }
        String info = Disk.run("qemu-img", "info", "-U", path.toString()).ok();
        assertTrue(info.contains("backing file: after"), info);
        assertTrue(info.contains("backing file format: qcow2"), info);
        try (Disk disk = Disk.open(path, true)) {
            disk.image.changeBackingName(Optional.empty());
            assertArrayEquals(Disk.filled(65536, 7), disk.read(0, 65536));
        }
        info = Disk.run("qemu-img", "info", path.toString()).ok();
        assertTrue(!info.contains("backing"), info);
        Disk.check(path, false);
    }

    private static Optional<ImageName> named(String name, String format) {
        return Optional.of(new ImageName(name, Optional.of(format)));
    }

    @Test
    void anImageWithRawDataOutsideHasNoBackingFile() throws Exception {
        Path path = folder.resolve("a.qcow2");
        Path data = folder.resolve("data");
        Disk.create(path, "1M", "-o", "data_file=" + data + ",data_file_raw=on");
        try (Disk disk =
                Disk.open(path, true, Disk.PLAIN, Map.of("data-file", new DiskFile(data, true)))) {
            assertEquals(
                    Errno.EINVAL,
                    assertThrows(
                                    BlockIoException.class,
                                    () -> disk.image.changeBackingName(named("b", "raw")))
                            .errno());
        }
    }

    @Test
    void descriptionsTellLayersAndWhereBytesLie() throws Exception {
        Path base = folder.resolve("base");
        Files.write(base, Disk.filled(MIB, 5));
        Path path = folder.resolve("a.qcow2");
        Disk.create(path, "4M", "-b", base.toString(), "-F", "raw");
        try (Disk disk =
                Disk.open(path, true, Disk.PLAIN, Map.of("backing", new DiskFile(base, false)))) {
            disk.write(65536, Disk.filled(131072, 1));
            disk.image.writeZeroes(2 * MIB, 65536, 0);
            assertEquals(new Extent(0, 65536, true, false, 2), disk.image.extentAt(0, 4 * MIB));
            assertEquals(
                    new Extent(65536, 131072, true, false, 1), disk.image.extentAt(65536, 4 * MIB));
            assertEquals(
                    new Extent(2 * MIB, 65536, false, true, 1), disk.image.extentAt(2 * MIB, MIB));
            Extent rest = disk.image.extentAt(3 * MIB, MIB);
            assertTrue(rest.zero() && rest.depth() == 2);
            var host = disk.image.hostExtent(65536 + 10, 100).orElseThrow();
            assertTrue(host.covers(65536 + 10, 100));
            assertTrue(disk.image.hostExtent(0, 100).isEmpty());
            assertTrue(disk.image.hostExtent(2 * MIB, 100).isEmpty());
        }
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "l2-cache-size=2,refcount-cache-size=1,cache-size=3 | may not be set at the same",
                "l2-cache-size=9000,cache-size=3    | l2-cache-size may not exceed cache-size",
                "refcount-cache-size=9000,cache-size=3 | refcount-cache-size may not exceed",
                "l2-cache-entry-size=1000           | L2 cache entry size must be a power of two",
                "l2-cache-entry-size=131072         | L2 cache entry size must be a power of two",
            })
    void cacheSizesThatContradict(String sizes, String message) throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M");
        Map<String, Long> options = new java.util.HashMap<>();
        for (String each : sizes.split(",")) {
            options.put(each.split("=")[0], Long.valueOf(each.split("=")[1]));
        }
        String said =
                assertThrows(
                                QmpException.class,
                                () -> Disk.open(path, true, Disk.options(options), Map.of()))
                        .getMessage();
        assertTrue(said.contains(message), said);
    }

    @Test
    void inlineWritesAllocateAndWhatWouldBlockIsRefused() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M");
        try (Disk disk = Disk.open(path, true)) {
            byte[] page = Disk.filled(4096, 9);
            disk.write(0, page); // makes the L2 table
            assertTrue(disk.image.tryWrite(MIB, Disk.vector(page), 0));
            assertArrayEquals(page, disk.read(MIB, 4096));
            assertFalse(disk.image.tryWrite(MIB, Disk.vector(page), RequestFlags.FUA));
            assertFalse(disk.image.tryWrite(2 * MIB, Disk.vector(Disk.filled(512, 1)), 0));
        }
        Disk.check(path, false);
    }
}

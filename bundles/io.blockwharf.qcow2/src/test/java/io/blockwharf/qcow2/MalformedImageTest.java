package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.api.FuzzedDataProvider;
import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Optional;
import java.util.Random;

/**
 * Images that contradict the specification: a sentence at opening, or failing requests; never
 * anything else, never without end.
 */
class MalformedImageTest {
    private static final int KIB = 1024;

    /** An image with everything in it: snapshot, bitmap, compressed clusters, zero clusters. */
    private static byte[] rich;

    @TempDir static Path shared;
    @TempDir Path folder;

    @BeforeAll
    static void makeOne() throws Exception {
        Path path = shared.resolve("rich.qcow2");
        Disk.create(path, "1M", "-o", "cluster_size=4k");
        Disk.run("qemu-io", "-c", "write -P 1 0 64k", path.toString()).ok();
        Disk.run("qemu-img", "snapshot", "-c", "s", path.toString()).ok();
        Disk.run("qemu-img", "bitmap", "--add", path.toString(), "b").ok();
        Disk.run(
                        "qemu-io",
                        "-c",
                        "write -P 2 32k 64k",
                        "-c",
                        "write -z 128k 64k",
                        "-c",
                        "write -c -P 3 256k 8k",
                        path.toString())
                .ok();
        rich = Files.readAllBytes(path);
    }

    /**
     * Does everything that one can do with an image; only the expected kinds of failure may come.
     */
    private static void use(Path path, boolean writable) throws IOException {
        Disk disk;
        try {
            disk = Disk.open(path, writable);
        } catch (QmpException e) {
            assertTrue(e.getMessage() != null && !e.getMessage().isEmpty());
            return;
        }
        try {
            long size = disk.image.length();
            attempt(() -> disk.read(0, (int) Math.min(size, 1 << 20)));
            for (long at : new long[] {0, size / 2 & -512, Math.max(0, size - 512) & -512}) {
                if (at < size) {
                    int n = (int) Math.min(8192, size - at);
                    attempt(() -> disk.image.extentAt(at, n));
                    disk.image.hostExtent(at, n);
                    if (writable) {
                        attempt(() -> disk.write(at, new byte[n]));
                        attempt(() -> disk.image.writeZeroes(at, n, 0));
                        attempt(() -> disk.image.discard(at, n));
                    }
                }
            }
            BitmapStore bitmaps = disk.image.bitmapStore().orElseThrow();
            for (BitmapStore.Stored stored : bitmaps.stored()) {
                attempt(() -> bitmaps.load(stored.name(), (_, _) -> {}));
            }
            if (writable) {
                attempt(disk.image::flush);
                attempt(() -> disk.image.resize(size / 2 & -512));
            }
        } finally {
            disk.abandon();
        }
    }

    /** A request. */
    @FunctionalInterface
    private interface Request {
        void run() throws BlockIoException;
    }

    private static void attempt(Request request) {
        try {
            request.run();
        } catch (BlockIoException | QmpException e) {
            assertTrue(e.getMessage() != null);
        }
    }

    private void use(byte[] image) throws IOException {
        Path path = folder.resolve("image");
        for (boolean writable : new boolean[] {false, true}) {
            Files.write(path, image);
            assertTimeoutPreemptively(Duration.ofSeconds(60), () -> use(path, writable));
        }
    }

    // --- By hand -----------------------------------------------------------------------------

    @ParameterizedTest(name = "{1} at byte {0}: {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    0   | 0x0000000000000000 | Image is not in qcow2 format
                    4   | 0x0000000400000000 | Unsupported qcow2 version 4
                    8   | 0x0000000000000010 | Invalid backing file offset
                    16  | 0x0000000000000008 | Unsupported cluster size: 2^8
                    16  | 0x00000000ffffffff | Unsupported cluster size: 2^4294967295
                    24  | 0x7fffffffffffffff | Image is too big
                    24  | 0xffffffffffffffff | Image is too big
                    32  | 0x00000007000000ff | Unsupported encryption method 7
                    32  | 0x000000007fffffff | Active L1 table too large
                    32  | 0x0000000000000000 | L1 table is too small
                    40  | 0x0000000000000200 | Active L1 table offset invalid
                    40  | 0xffffffffffff0000 | Active L1 table offset invalid
                    48  | 0x0000000000000001 | Reference count table offset invalid
                    56  | 0x7fffffff00000000 | Reference count table too large
                    56  | 0x0000000000000000 | Image does not contain a reference count table
                    56  | 0x00000001ffffffff | Snapshot table too large
                    64  | 0x0000000000000123 | Snapshot table offset invalid
                    72  | 0x8000000000000000 | Unsupported qcow2 feature(s)
                    96  | 0x0000000700000070 | Reference count entry width too large
                    96  | 0x0000000400000010 | qcow2 header too short
                    96  | 0x00000004000fffff | qcow2 header exceeds cluster size
                    104 | 0x0100000000000000 | Compression type incompatible feature bit must be set
                    """)
    void headersThatMakeNoSense(int at, String value, String message) throws IOException {
        byte[] image = rich.clone();
        java.nio.ByteBuffer.wrap(image).putLong(at, Long.parseUnsignedLong(value.substring(2), 16));
        Path path = folder.resolve("image");
        Files.write(path, image);
        String said = assertThrows(QmpException.class, () -> Disk.open(path, true)).getMessage();
        assertTrue(said.contains(message), said);
        use(image);
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 71, 72, 103, 111, 512, 4096, 5000, 20_000})
    void filesThatEndEarly(int length) throws IOException {
        use(java.util.Arrays.copyOf(rich, length));
    }

    /**
     * L1, L2, refcount table, refcount block: each pointing to itself and to each of the others.
     */
    @Test
    void metadataThatOverlaps() throws IOException {
        java.nio.ByteBuffer in = java.nio.ByteBuffer.wrap(rich);
        long l1 = in.getLong(40);
        long reftable = in.getLong(48);
        long l2 = in.getLong((int) l1) & Mapping.OFFSET;
        long block = in.getLong((int) reftable);
        long[] places = {0, l1, reftable, l2, block};
        for (long at : new long[] {l1, reftable, l2, block, 40, 48}) {
            for (long to : places) {
                byte[] image = rich.clone();
                boolean entry = at == l1 || at == l2;
                java.nio.ByteBuffer.wrap(image)
                        .putLong((int) at, to | (entry ? Mapping.COPIED : 0));
                use(image);
            }
        }
    }

    @Test
    void compressedClustersOfNonsense() throws IOException {
        int l2 =
                (int)
                        (java.nio.ByteBuffer.wrap(rich)
                                        .getLong((int) java.nio.ByteBuffer.wrap(rich).getLong(40))
                                & Mapping.OFFSET);
        for (long entry :
                new long[] {
                    Mapping.COMPRESSED,
                    Mapping.COMPRESSED | 0x3fffffffffffffffL,
                    Mapping.COMPRESSED | rich.length - 1,
                    Mapping.COMPRESSED | 1L << 60,
                    -1L
                }) {
            byte[] image = rich.clone();
            java.nio.ByteBuffer.wrap(image).putLong(l2, entry);
            use(image);
        }
    }

    @Test
    void randomBytesInTheMetadata() throws IOException {
        Random random = new Random(7);
        for (int round = 0; round < 150; round++) {
            byte[] image = rich.clone();
            for (int i = 0; i < 1 + random.nextInt(8); i++) {
                int at =
                        random.nextInt(
                                random.nextBoolean() ? 200 : Math.min(image.length, 64 * KIB));
                image[at] = (byte) random.nextInt();
            }
            use(image);
        }
    }

    // --- Fuzzing -----------------------------------------------------------------------------

    @FuzzTest
    void anyBytesOverARichImage(FuzzedDataProvider data) throws Exception {
        if (rich == null) {
            return;
        }
        byte[] image = rich.clone();
        while (data.remainingBytes() > 12) {
            int at = data.consumeInt(0, image.length - 8);
            java.nio.ByteBuffer.wrap(image).putLong(at, data.consumeLong());
        }
        Path path = Files.createTempFile("fuzz", ".qcow2");
        try {
            Files.write(path, image);
            use(path, data.consumeBoolean());
        } finally {
            Files.delete(path);
        }
    }

    @FuzzTest
    void anyBytesAsAnImage(byte[] data) throws Exception {
        Path path = Files.createTempFile("fuzz", ".qcow2");
        try {
            try (var file = new RandomAccessFile(path.toFile(), "rw")) {
                file.write(data);
            }
            use(path, true);
            if (data.length > 8) {
                byte[] cluster = new byte[4096];
                Compression.expand(data[0] > 0, data, cluster);
            }
        } finally {
            Files.delete(path);
        }
    }

    @Test
    void snapshotsThatAreNotThere() {
        Path path = folder.resolve("image");
        assertThrows(
                QmpException.class,
                () -> {
                    Files.write(path, rich);
                    Disk.open(path, false, Disk.options(Map.of(), Optional.of("none")), Map.of());
                });
    }
}

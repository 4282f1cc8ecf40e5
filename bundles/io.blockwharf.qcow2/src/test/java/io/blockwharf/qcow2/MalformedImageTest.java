package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
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

    private static byte[] rich;

    @TempDir static Path shared;
    @TempDir Path folder;

    @BeforeAll
    static void makeOne() throws Exception {
        rich = RichImage.bytes(shared);
    }

    private void use(byte[] image) throws IOException {
        Path path = folder.resolve("image");
        for (boolean writable : new boolean[] {false, true}) {
            Files.write(path, image);
            assertTimeoutPreemptively(Duration.ofSeconds(60), () -> RichImage.use(path, writable));
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

    /** L1 and L2 entries that share a table or a cluster, and a table that is its own data. */
    @Test
    void clustersThatAreUsedTwice() throws IOException {
        java.nio.ByteBuffer in = java.nio.ByteBuffer.wrap(rich);
        int l1 = (int) in.getLong(40);
        int l2 = (int) (in.getLong(l1) & Mapping.OFFSET);
        long data = in.getLong(l2) & Mapping.OFFSET;
        long[][] changes = {
            {l2 + 8, data | Mapping.COPIED},
            {l2, l2 | Mapping.COPIED},
            {l2, l1 | Mapping.COPIED},
            {l1, l1 | Mapping.COPIED},
            {l1, data | Mapping.COPIED},
        };
        for (long[] change : changes) {
            byte[] image = rich.clone();
            java.nio.ByteBuffer.wrap(image).putLong((int) change[0], change[1]);
            use(image);
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

package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.RequestFlags;

import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Random;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Random operations on images of every kind against a model in memory, with qemu-img as the judge
 * of what is in the file: it must find no error, not even a leak, and the same content.
 */
class RandomOperationsTest {
    private static final int SIZE = (3 << 20) + 512;
    private static final int OPERATIONS = 240;

    @TempDir Path folder;

    @ParameterizedTest(name = "{0}, {1}, caches {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    compat=1.1                                        |         | large
                    compat=1.1                                        | backing | small
                    compat=0.10                                       |         | large
                    compat=0.10                                       | backing | large
                    cluster_size=512                                  | backing | small
                    cluster_size=512,refcount_bits=64                 |         | small
                    cluster_size=1024,refcount_bits=1                 | backing | large
                    cluster_size=2048,refcount_bits=2                 | backing | large
                    cluster_size=4096,refcount_bits=4                 | backing | small
                    cluster_size=8192,refcount_bits=8                 |         | small
                    cluster_size=16384,refcount_bits=32               | backing | large
                    cluster_size=2M                                   | backing | large
                    extended_l2=on                                    | backing | large
                    extended_l2=on,cluster_size=16k                   | backing | small
                    extended_l2=on,cluster_size=2M                    |         | large
                    compression_type=zstd                             | backing | large
                    lazy_refcounts=on                                 | backing | large
                    preallocation=metadata                            |         | small
                    preallocation=falloc,extended_l2=on               |         | large
                    preallocation=full                                |         | large
                    data_file=EXTERNAL,data_file_raw=off              | backing | large
                    data_file=EXTERNAL,data_file_raw=on               |         | large
                    data_file=EXTERNAL,extended_l2=on                 | backing | large
                    """)
    void agreesWithTheModel(String options, String below, String caches) throws Exception {
        Path path = folder.resolve("disk.qcow2");
        Path external = folder.resolve("data.raw");
        Path base = folder.resolve("base.raw");
        byte[] model = new byte[SIZE];
        String all = options.replace("EXTERNAL", external.toString());
        Random random = new Random(options.hashCode());
        Map<String, String> others = new HashMap<>();
        if (below == null) {
            Disk.create(path, "" + SIZE, "-o", all);
        } else {
            byte[] content = new byte[SIZE / 2 & -512];
            random.nextBytes(content);
            Files.write(base, content);
            System.arraycopy(content, 0, model, 0, content.length);
            Disk.create(path, "" + SIZE, "-o", all, "-b", base.toString(), "-F", "raw");
            others.put("backing", base.toString());
        }
        if (options.contains("data_file")) {
            others.put("data-file", external.toString());
        }
        Qcow2Options sizes =
                caches.equals("small")
                        ? Disk.options(
                                Map.of(
                                        "l2-cache-size", 1024L,
                                        "l2-cache-entry-size", 512L,
                                        "refcount-cache-size", 2048L))
                        : Disk.PLAIN;
        for (int round = 0; round < 3; round++) {
            try (Disk disk = Disk.open(path, true, sizes, open(others))) {
                for (int i = 0; i < OPERATIONS / 3; i++) {
                    operate(disk, model, random, options);
                }
                assertEquals(java.util.List.of(), disk.complaints);
            }
            Disk.check(path, false);
            Path raw = folder.resolve("model.raw");
            Files.write(raw, model);
            Disk.run(
                            "qemu-img",
                            "compare",
                            "-f",
                            "qcow2",
                            "-F",
                            "raw",
                            path.toString(),
                            raw.toString())
                    .ok();
        }
        try (Disk disk = Disk.open(path, false, sizes, open(others))) {
            assertArrayEquals(model, disk.read(0, model.length));
            describes(disk, model);
            agreesWithMap(disk, path, options);
        }
    }

    private static Map<String, BlockNode> open(Map<String, String> paths) throws IOException {
        Map<String, BlockNode> nodes = new HashMap<>();
        for (var each : paths.entrySet()) {
            nodes.put(
                    each.getKey(),
                    new DiskFile(Path.of(each.getValue()), !each.getKey().equals("backing")));
        }
        return nodes;
    }

    private static void operate(Disk disk, byte[] model, Random random, String options)
            throws Exception {
        boolean aligned = random.nextInt(3) == 0;
        int most = random.nextInt(4) == 0 ? 1 << 20 : 70_000;
        int offset = random.nextInt(SIZE);
        int length = 1 + random.nextInt(Math.min(most, SIZE - offset));
        if (aligned) {
            offset &= -4096;
            length = Math.min(length + 4095 & -4096, SIZE - offset);
        }
        int end = offset + length;
        switch (random.nextInt(12)) {
            case 0, 1, 2 -> {
                byte[] data = new byte[length];
                random.nextBytes(data);
                disk.write(offset, data);
                System.arraycopy(data, 0, model, offset, length);
            }
            case 3, 4 -> {
                byte[] data = new byte[length];
                random.nextBytes(data);
                if (!disk.image.tryWrite(offset, Disk.vector(data), 0)) {
                    disk.write(offset, data);
                }
                System.arraycopy(data, 0, model, offset, length);
            }
            case 5, 6 ->
                    assertArrayEquals(
                            Arrays.copyOfRange(model, offset, end), disk.read(offset, length));
            case 7 -> {
                disk.image.writeZeroes(offset, length, 0);
                Arrays.fill(model, offset, end, (byte) 0);
            }
            case 8 -> {
                disk.image.writeZeroes(offset, length, RequestFlags.MAY_UNMAP);
                Arrays.fill(model, offset, end, (byte) 0);
            }
            case 9 -> {
                disk.image.discard(offset, length);
                byte[] now = disk.read(offset, length); // whatever it is, it stays
                System.arraycopy(now, 0, model, offset, length);
            }
            case 10 -> disk.image.flush();
            default -> compress(disk, model, random, options);
        }
    }

    /** Writes clusters that can be compressed. */
    private static void compress(Disk disk, byte[] model, Random random, String options)
            throws Exception {
        if (options.contains("data_file")) {
            return;
        }
        int cluster = disk.image.limits().discardAlignment();
        int offset = random.nextInt(SIZE) / cluster * cluster;
        int length = Math.min(cluster * (1 + random.nextInt(4)), SIZE - offset);
        byte[] data = new byte[length];
        for (int i = 0; i < length; i++) {
            data[i] = (byte) (i % 251 < 40 ? random.nextInt() : i / 700);
        }
        disk.image.write(offset, Disk.vector(data), RequestFlags.COMPRESSED);
        System.arraycopy(data, 0, model, offset, length);
    }

    private static void describes(Disk disk, byte[] model) throws Exception {
        long at = 0;
        while (at < SIZE) {
            Extent extent = disk.image.extentAt(at, SIZE - at);
            assertTrue(extent.contains(at));
            if (extent.zero()) {
                for (long i = at; i < Math.min(SIZE, extent.end()); i++) {
                    assertEquals(0, model[(int) i]);
                }
            }
            at = extent.end();
        }
        agreesWithItself(disk);
    }

    /** Who is told of many runs at once is told the same. */
    private static void agreesWithItself(Disk disk) throws Exception {
        long[] at = {0};
        while (at[0] < SIZE) {
            long before = at[0];
            disk.image.extents(
                    before,
                    SIZE - before,
                    (length, data, zero, depth) -> {
                        for (long i = at[0]; i < Math.min(SIZE, at[0] + length); i += 512) {
                            Extent alone = extentAt(disk, i);
                            assertEquals(alone.data(), data);
                            assertEquals(alone.zero(), zero);
                            assertEquals(alone.depth(), depth);
                        }
                        at[0] += length;
                        return at[0] % 3 != 0;
                    });
            assertTrue(at[0] > before);
        }
    }

    private static Extent extentAt(Disk disk, long offset) {
        try {
            return disk.image.extentAt(offset, 512);
        } catch (BlockIoException e) {
            throw new AssertionError(e);
        }
    }

    private static final Pattern MAPPED =
            Pattern.compile(
                    "\"start\": (\\d+), \"length\": (\\d+), \"depth\": (\\d+), .*?\"zero\": (\\w+),"
                            + " \"data\": (\\w+)");

    /**
     * What qemu-img map tells is what we tell. It also looks for holes in what is stored; we call
     * that data.
     */
    private static void agreesWithMap(Disk disk, Path path, String options) throws Exception {
        String map = Disk.run("qemu-img", "map", "--output=json", path.toString()).ok();
        boolean holes = options.contains("preallocation") || options.contains("data_file");
        long at = 0;
        for (Matcher each = MAPPED.matcher(map); each.find(); ) {
            assertEquals(at, Long.parseLong(each.group(1)));
            long end = at + Long.parseLong(each.group(2));
            int depth = Integer.parseInt(each.group(3)) + 1;
            boolean zero = Boolean.parseBoolean(each.group(4));
            boolean data = Boolean.parseBoolean(each.group(5));
            while (at < end) {
                Extent ours = disk.image.extentAt(at, end - at);
                String where = ours + " is for QEMU: " + each.group();
                assertTrue(ours.data() == data || holes && ours.data(), where);
                assertTrue(ours.zero() == zero || holes && zero, where);
                assertTrue(!data || ours.depth() == depth, where);
                at = Math.min(end, ours.end());
            }
        }
        assertEquals(disk.image.length(), at);
    }
}

package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BitmapStore.Kept;
import io.blockwharf.api.block.BitmapStore.Stored;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;
import java.util.Map;
import java.util.Random;

/** Spec "Bitmaps": QEMU's tools write what is read here, and read what is written here. */
class StoredBitmapsTest {
    private static final long SIZE = 64 << 20;

    @TempDir Path folder;

    /** A bitmap of 64 KiB granularity, or whatever is said. */
    private record Bits(String name, long granularity, BitSet bits) implements DirtyBitmap {
        @Override
        public boolean isDirty(long offset) {
            return bits.get((int) (offset / granularity));
        }

        @Override
        public long runEnd(long offset, long limit) {
            int bit = (int) (offset / granularity);
            int next = bits.get(bit) ? bits.nextClearBit(bit) : bits.nextSetBit(bit);
            return next < 0 ? limit : Math.min(limit, next * granularity);
        }

        @Override
        public void close() {}
    }

    private static BitSet load(BitmapStore store, String name, long granularity) throws Exception {
        BitSet bits = new BitSet();
        store.load(
                name,
                (offset, length) ->
                        bits.set(
                                (int) (offset / granularity),
                                (int) (Math.min(SIZE, offset + length) / granularity)));
        return bits;
    }

    @Test
    void whatQemuHasRecordedIsThere() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "" + SIZE);
        Disk.run("qemu-img", "bitmap", "--add", path.toString(), "on").ok();
        Disk.run("qemu-img", "bitmap", "--add", "-g", "4096", path.toString(), "fine").ok();
        Disk.run("qemu-img", "bitmap", "--add", "--disable", path.toString(), "off").ok();
        Disk.run("qemu-io", "-c", "write 1M 64k", "-c", "write 8M 4k", path.toString()).ok();
        try (Disk disk = Disk.open(path, false)) {
            BitmapStore store = disk.image.bitmapStore().orElseThrow();
            assertEquals(
                    List.of(
                            new Stored("on", 65536, true, false),
                            new Stored("fine", 4096, true, false),
                            new Stored("off", 65536, false, false)),
                    store.stored());
            assertEquals("{16, 128}", load(store, "on", 65536).toString());
            assertEquals(17, load(store, "fine", 4096).cardinality());
            assertTrue(load(store, "off", 65536).isEmpty());
        }
    }

    @ParameterizedTest(name = "{0}, granularity {1}")
    @CsvSource(
            delimiter = '|',
            value = {
                "cluster_size=64k | 65536",
                "cluster_size=512 | 512",
                "cluster_size=2M  | 4096",
                "cluster_size=4k  | 1048576",
            })
    void whatIsStoredQemuCanRead(String options, int granularity) throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "" + SIZE, "-o", options);
        BitSet bits = new BitSet();
        Random random = new Random(granularity);
        int all = (int) (SIZE / granularity);
        for (int i = 0; i < 40; i++) {
            int from = random.nextInt(all);
            bits.set(from, Math.min(all, from + 1 + random.nextInt(all / 8)), i % 3 != 0);
        }
        for (int round = 0; round < 2; round++) { // the second one replaces the first one's
            try (Disk disk = Disk.open(path, true)) {
                disk.write(0, Disk.filled(70_000, 7));
                disk.image
                        .bitmapStore()
                        .orElseThrow()
                        .store(
                                List.of(
                                        new Kept(new Bits("kept", granularity, bits), true),
                                        new Kept(
                                                new Bits("none", granularity, new BitSet()),
                                                false)),
                                List.of());
            }
            Disk.check(path, false);
        }
        String info = Disk.run("qemu-img", "info", path.toString()).ok();
        assertTrue(info.contains("name: kept") && info.contains("name: none"), info);
        assertTrue(info.contains("granularity: " + granularity), info);
        assertFalse(info.contains("in-use"), info);
        String g = "" + granularity;
        Disk.run("qemu-img", "bitmap", "--add", "-g", g, path.toString(), "copy").ok();
        Disk.run("qemu-img", "bitmap", "--merge", "kept", path.toString(), "copy").ok();
        try (Disk disk = Disk.open(path, false)) {
            BitmapStore store = disk.image.bitmapStore().orElseThrow();
            assertEquals(bits, load(store, "kept", granularity));
            assertEquals(bits, load(store, "copy", granularity));
            assertTrue(load(store, "none", granularity).isEmpty());
        }
    }

    @Test
    void aCrashLeavesThemInconsistentAndTheyCanBeRemoved() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "" + SIZE);
        Disk.run("qemu-img", "bitmap", "--add", path.toString(), "b").ok();
        Disk.open(path, true).abandon();
        assertTrue(Disk.run("qemu-img", "info", path.toString()).ok().contains("in-use"));
        try (Disk disk = Disk.open(path, true)) {
            BitmapStore store = disk.image.bitmapStore().orElseThrow();
            assertEquals(List.of(new Stored("b", 65536, true, true)), store.stored());
            store.store(List.of(), List.of("b"));
        }
        assertTrue(Disk.run("qemu-img", "info", path.toString()).ok().contains("in-use"));
        try (Disk disk = Disk.open(path, true)) {
            disk.image.bitmapStore().orElseThrow().store(List.of(), List.of());
        }
        assertFalse(Disk.run("qemu-img", "info", path.toString()).ok().contains("name: b"));
        Disk.check(path, false);
    }

    @Test
    void version2HasNone() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "1M", "-o", "compat=0.10");
        try (Disk disk = Disk.open(path, true)) {
            BitmapStore store = disk.image.bitmapStore().orElseThrow();
            assertThrows(QmpException.class, () -> store.check("b", 65536));
        }
        Path other = Disk.create(folder.resolve("b.qcow2"), "1M");
        try (Disk disk = Disk.open(other, true, Disk.PLAIN, Map.of())) {
            BitmapStore store = disk.image.bitmapStore().orElseThrow();
            store.check("b", 65536);
            assertThrows(QmpException.class, () -> store.check("b", 256));
            assertThrows(QmpException.class, () -> store.check("b".repeat(2000), 65536));
        }
    }
}

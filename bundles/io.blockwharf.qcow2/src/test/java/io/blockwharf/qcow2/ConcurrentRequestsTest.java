package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;

import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.Executors;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Several threads work on the same few clusters at once, with requests that overlap. What a read
 * may show is what some order of the requests explains: each word of a sector comes from a change
 * that had begun, and that no other one has followed since.
 */
class ConcurrentRequestsTest {
    private static final int SECTOR = 512;
    private static final int SECTORS = 6 << 11;
    private static final int THREADS = 4;
    private static final int OPERATIONS = 1500;

    @TempDir Path folder;

    /** A write, or whatever else makes sectors zero. */
    private static final class Change {
        final long value;

        /** Only perhaps: a discard. */
        final boolean uncertain;

        final long begin;
        volatile long end = Long.MAX_VALUE;

        Change(long value, boolean uncertain, long begin) {
            this.value = value;
            this.uncertain = uncertain;
            this.begin = begin;
        }
    }

    /** What each sector may hold. */
    private static final class Model {
        private final AtomicLong clock = new AtomicLong(1);
        private final AtomicLong values = new AtomicLong(1);
        private final List<List<Change>> sectors = new ArrayList<>();

        Model(long[] before) {
            for (long value : before) {
                Change change = new Change(value, false, 0);
                change.end = 0;
                sectors.add(new ArrayList<>(List.of(change)));
            }
        }

        long now() {
            return clock.getAndIncrement();
        }

        Change begin(int sector, int count, boolean zero, boolean uncertain) {
            var change = new Change(zero ? 0 : values.getAndIncrement(), uncertain, now());
            for (int i = sector; i < sector + count; i++) {
                List<Change> all = sectors.get(i);
                synchronized (all) {
                    all.add(change);
                }
            }
            return change;
        }

        void end(Change change) {
            change.end = now();
        }

        void check(int sector, long value, long begin, long end) {
            List<Change> all = sectors.get(sector);
            synchronized (all) {
                for (Change change : all) {
                    if (change.value == value
                            && change.begin < end
                            && !followed(all, change, begin)) {
                        return;
                    }
                }
                throw new AssertionError("sector " + sector + " shows " + value);
            }
        }

        private static boolean followed(List<Change> all, Change change, long before) {
            for (Change next : all) {
                if (!next.uncertain && next.begin > change.end && next.end < before) {
                    return true;
                }
            }
            return false;
        }
    }

    @ParameterizedTest(name = "{0}, {1}, caches {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    compat=1.1                       |         | large
                    compat=1.1                       | backing | large
                    compat=0.10                      | backing | large
                    cluster_size=4096                | backing | small
                    cluster_size=8192                | backing | small
                    cluster_size=16384               | backing | large
                    cluster_size=2M                  | backing | large
                    extended_l2=on,cluster_size=16k  | backing | small
                    """)
    void everyReadCanBeExplained(String options, String below, String caches) throws Exception {
        Path path = folder.resolve("disk.qcow2");
        Path base = folder.resolve("base.raw");
        long[] before = new long[SECTORS];
        if (below == null) {
            Disk.create(path, "" + SECTORS * SECTOR, "-o", options);
        } else {
            int stored = SECTORS * 3 / 4 - 3;
            MemorySegment bytes = Arena.ofAuto().allocate((long) stored * SECTOR, 8);
            for (int i = 0; i < stored; i++) {
                before[i] = -1 - i;
                fill(bytes.asSlice((long) i * SECTOR, SECTOR), before[i]);
            }
            Files.write(base, bytes.toArray(ValueLayout.JAVA_BYTE));
            String size = "" + SECTORS * SECTOR;
            Disk.create(path, size, "-o", options, "-b", base.toString(), "-F", "raw");
        }
        var model = new Model(before);
        Qcow2Options sizes =
                caches.equals("small")
                        ? Disk.options(Map.of("l2-cache-size", 1024L, "l2-cache-entry-size", 512L))
                        : Disk.PLAIN;
        try (Disk disk = Disk.open(path, true, sizes, others(base));
                var threads = Executors.newFixedThreadPool(THREADS)) {
            var tasks = new ArrayList<Callable<Void>>();
            for (int i = 0; i < THREADS; i++) {
                var random = new Random(options.hashCode() + i);
                tasks.add(
                        () -> {
                            work(disk, model, random);
                            return null;
                        });
            }
            for (var done : threads.invokeAll(tasks)) {
                done.get();
            }
            read(disk, model, 0, SECTORS, true);
            assertEquals(List.of(), disk.complaints);
        }
        Disk.check(path, false);
        try (Disk disk = Disk.open(path, false, sizes, others(base))) {
            read(disk, model, 0, SECTORS, true);
        }
    }

    private static Map<String, BlockNode> others(Path base) throws Exception {
        Map<String, BlockNode> others = new HashMap<>();
        if (Files.exists(base)) {
            others.put("backing", new DiskFile(base, false));
        }
        return others;
    }

    private static void work(Disk disk, Model model, Random random) throws BlockIoException {
        for (int i = 0; i < OPERATIONS; i++) {
            int sector = random.nextInt(SECTORS);
            boolean pages = random.nextBoolean();
            int count = 1 + random.nextInt(random.nextInt(8) == 0 ? 600 : 30);
            if (pages) {
                sector &= -8;
                count = count + 7 & -8;
            }
            count = Math.min(count, SECTORS - sector);
            switch (random.nextInt(20)) {
                case 0 -> disk.image.flush();
                case 1, 2 -> zero(disk, model, sector, count, random.nextBoolean());
                case 3 -> discard(disk, model, sector, count);
                case 4 -> describe(disk, (long) sector * SECTOR);
                case 5, 6, 7, 8, 9 -> read(disk, model, sector, count, random.nextBoolean());
                default -> write(disk, model, sector, count, random.nextBoolean());
            }
        }
    }

    private static void fill(MemorySegment memory, long value) {
        for (long at = 0; at < memory.byteSize(); at += 8) {
            memory.set(ValueLayout.JAVA_LONG, at, value);
        }
    }

    private static void write(Disk disk, Model model, int sector, int count, boolean wait)
            throws BlockIoException {
        MemorySegment memory = Arena.ofAuto().allocate((long) count * SECTOR, 4096);
        IoVector vector = new IoVector(Arena.ofAuto(), 1).set(memory, 0, memory.byteSize());
        Change change = model.begin(sector, count, false, false);
        fill(memory, change.value);
        long offset = (long) sector * SECTOR;
        if (wait || !disk.image.tryWrite(offset, vector, 0)) {
            disk.image.write(offset, vector, 0);
        }
        model.end(change);
    }

    private static void zero(Disk disk, Model model, int sector, int count, boolean unmap)
            throws BlockIoException {
        Change change = model.begin(sector, count, true, false);
        int flags = unmap ? RequestFlags.MAY_UNMAP : 0;
        disk.image.writeZeroes((long) sector * SECTOR, (long) count * SECTOR, flags);
        model.end(change);
    }

    private static void discard(Disk disk, Model model, int sector, int count)
            throws BlockIoException {
        Change change = model.begin(sector, count, true, true);
        disk.image.discard((long) sector * SECTOR, (long) count * SECTOR);
        model.end(change);
    }

    private static void describe(Disk disk, long offset) throws BlockIoException {
        Extent extent = disk.image.extentAt(offset, SECTORS * (long) SECTOR - offset);
        assertEquals(true, extent.contains(offset));
    }

    private static void read(Disk disk, Model model, int sector, int count, boolean wait)
            throws BlockIoException {
        MemorySegment memory = Arena.ofAuto().allocate((long) count * SECTOR, 4096);
        IoVector vector = new IoVector(Arena.ofAuto(), 1).set(memory, 0, memory.byteSize());
        long offset = (long) sector * SECTOR;
        long begin = model.now();
        if (wait || !disk.image.tryRead(offset, vector)) {
            disk.image.read(offset, vector);
        }
        long end = model.now();
        for (int i = 0; i < count; i++) {
            for (int word = 0; word < SECTOR; word += 72) {
                long value = memory.get(ValueLayout.JAVA_LONG, (long) i * SECTOR + word);
                model.check(sector + i, value, begin, end);
            }
        }
    }
}

package io.blockwharf.qcow2;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;

/**
 * What a crash leaves: no error that qemu-img would find (leaks are allowed), and everything that
 * was flushed. A crash of the process keeps what was written; one of the host keeps what was
 * flushed and of each sector written since any state that it had.
 */
class CrashTest {
    private static final int SIZE = 4 << 20;
    private static final int SECTOR = 512;

    @TempDir Path folder;

    /** A file that stops after some writes, and can forget what was not flushed. */
    private static final class FrailFile extends BoundedFile {
        private final Path path;
        private final Map<Long, List<byte[]>> unflushed = new HashMap<>();
        private int left;

        FrailFile(Path path, int writes, int room) throws IOException {
            super(path, room);
            this.path = path;
            left = writes;
        }

        private void live() throws BlockIoException {
            if (left == 0) {
                throw new BlockIoException(Errno.EIO, "crashed");
            }
            left--;
        }

        @Override
        public synchronized void write(long offset, IoVector from, int flags)
                throws BlockIoException {
            live();
            byte[] data = new byte[(int) from.byteCount()];
            from.copyTo(MemorySegment.ofArray(data), 0);
            remember(offset, data.length);
            super.write(offset, from, flags);
        }

        @Override
        public synchronized void writeZeroes(long offset, long bytes, int flags)
                throws BlockIoException {
            live();
            remember(offset, bytes);
            super.writeZeroes(offset, bytes, flags);
        }

        @Override
        public synchronized void discard(long offset, long bytes) throws BlockIoException {
            live();
            remember(offset, bytes);
            super.discard(offset, bytes);
        }

        @Override
        public synchronized void resize(long bytes) throws BlockIoException {
            live();
            super.resize(bytes);
        }

        /** The sectors as they are before a write. */
        private void remember(long offset, long bytes) throws BlockIoException {
            try (var file = new RandomAccessFile(path.toFile(), "r")) {
                for (long at = offset / SECTOR; at <= (offset + bytes - 1) / SECTOR; at++) {
                    unflushed.computeIfAbsent(at, _ -> new ArrayList<>()).add(sector(file, at));
                }
            } catch (IOException e) {
                throw new BlockIoException(Errno.EIO, e.toString(), e);
            }
        }

        private static byte[] sector(RandomAccessFile file, long number) throws IOException {
            byte[] sector = new byte[SECTOR];
            file.seek(number * SECTOR);
            file.read(sector);
            return sector;
        }

        @Override
        public synchronized void flush() {
            unflushed.clear();
        }

        /** The host goes down: each sector is as it was at some moment since the last flush. */
        void loseSome(Random random) throws IOException {
            try (var file = new RandomAccessFile(path.toFile(), "rw")) {
                for (var each : unflushed.entrySet()) {
                    int version = random.nextInt(each.getValue().size() + 1);
                    long at = each.getKey() * SECTOR;
                    if (version < each.getValue().size() && at < file.length()) {
                        file.seek(at);
                        int n = (int) Math.min(SECTOR, file.length() - at);
                        file.write(each.getValue().get(version), 0, n);
                    }
                }
            }
        }
    }

    @ParameterizedTest(name = "{0}, lost with the host: {1}, backing file: {2}, full: {3}")
    @CsvSource({
        "compat=1.1,                     false, false, false",
        "compat=1.1,                     true,  false, false",
        "compat=1.1,                     false, true, false",
        "compat=1.1,                     true,  true, false",
        "cluster_size=2M,                true,  true, false",
        "cluster_size=16k,               true,  true, false",
        "compat=0.10,                    true,  true, false",
        "cluster_size=512,               true,  false, false",
        "'cluster_size=512,refcount_bits=64', true, false, false",
        "'extended_l2=on,cluster_size=16k', true, true, false",
        "lazy_refcounts=on,              true,  false, false",
        "compat=0.10,                    true,  false, false",
        "refcount_bits=1,                false, false, false",
        "compat=1.1,                     false, false, true",
        "compat=1.1,                     true,  true,  true",
        "cluster_size=4k,                true,  false, true",
        "'extended_l2=on,cluster_size=16k', true, true, true",
    })
    void atAnyWriteTheFileIsConsistent(String options, boolean host, boolean below, boolean full)
            throws Exception {
        Path path = folder.resolve("a.qcow2");
        Path base = folder.resolve("base.raw");
        byte[] flushed = new byte[SIZE];
        Random random = new Random(options.hashCode() + (host ? 1 : 0));
        if (below) {
            byte[] content = new byte[SIZE - 5 * 65_536 - 512];
            random.nextBytes(content);
            Files.write(base, content);
            System.arraycopy(content, 0, flushed, 0, content.length);
            Disk.create(path, "" + SIZE, "-o", options, "-b", base.toString(), "-F", "raw");
        } else {
            Disk.create(path, "" + SIZE, "-o", options);
        }
        for (int round = 0; round < 14; round++) {
            byte[] model = flushed.clone();
            byte[] touched = new byte[SIZE]; // since the last flush
            FrailFile file =
                    new FrailFile(
                            path,
                            1 + random.nextInt(round % 2 == 0 ? 60 : 400),
                            full ? random.nextInt(200) : 1 << 30);
            Disk disk = null;
            try {
                disk =
                        Disk.openOn(
                                file,
                                below(base),
                                Disk.options(
                                        Map.of(
                                                "l2-cache-size",
                                                512L,
                                                "l2-cache-entry-size",
                                                512L,
                                                "refcount-cache-size",
                                                0L)));
                while (true) {
                    operate(disk, model, touched, random);
                    if (random.nextInt(8) == 0 && flush(disk)) {
                        flushed = model.clone();
                        Arrays.fill(touched, (byte) 0);
                    }
                }
            } catch (BlockIoException e) {
                assertEquals("crashed", e.getMessage());
            } catch (io.blockwharf.api.qmp.QmpException e) {
                // crashed while it was opened
            }
            if (host) {
                file.loseSome(random);
            }
            file.close();
            Disk.check(path, true);
            try (Disk after = Disk.open(path, false, Disk.PLAIN, below(base))) {
                byte[] now = after.read(0, SIZE);
                for (int i = 0; i < SIZE; i++) {
                    if (touched[i] == 0 && now[i] != flushed[i]) {
                        throw new AssertionError("lost at " + i + " in round " + round);
                    }
                }
                flushed = now;
            }
        }
    }

    private static Map<String, BlockNode> below(Path base) throws IOException {
        return Files.exists(base) ? Map.of("backing", new DiskFile(base, false)) : Map.of();
    }

    /** Whether all is on the device now; false if it is full. */
    private static boolean flush(Disk disk) throws BlockIoException {
        try {
            disk.image.flush();
            return true;
        } catch (BlockIoException e) {
            rethrowUnlessFull(e);
            return false;
        }
    }

    private static void rethrowUnlessFull(BlockIoException e) throws BlockIoException {
        if (e.errno() != Errno.ENOSPC) {
            throw e;
        }
    }

    private static void operate(Disk disk, byte[] model, byte[] touched, Random random)
            throws BlockIoException {
        int offset = random.nextInt(SIZE) & -512;
        int most = random.nextBoolean() ? 20 : 200;
        int length = Math.min(512 * (1 + random.nextInt(most)), SIZE - offset);
        Arrays.fill(touched, offset, offset + length, (byte) 1);
        byte[] data = new byte[length];
        try {
            switch (random.nextInt(6)) {
                case 0 -> disk.image.writeZeroes(offset, length, RequestFlags.MAY_UNMAP);
                case 1 -> {
                    disk.image.discard(offset, length);
                    data = disk.read(offset, length);
                }
                default -> {
                    random.nextBytes(data);
                    disk.write(offset, data);
                }
            }
        } catch (BlockIoException e) {
            rethrowUnlessFull(e);
            data = disk.read(offset, length); // a part may have been done
        }
        System.arraycopy(data, 0, model, offset, length);
    }

    // --- A real process ----------------------------------------------------------------------

    private static final int SLOTS = 200;
    private static final int SLOT = 20_480;

    /** Behind the slots: the number of the round, and what is written only to be discarded. */
    private static final long ROUND = (long) SLOTS * SLOT;

    private static final long WASTE = ROUND + 4096;

    /** What a process does in a round, known to whoever knows its number. */
    private record Round(int number) {
        int[] slots() {
            Random random = new Random(number);
            return random.ints(20, 0, SLOTS).toArray();
        }

        static int bytes(int slot) {
            return 16_384 + slot * 8 & -512;
        }

        void carryOut(Disk disk) throws BlockIoException {
            int[] slots = slots();
            for (int i = 0; i < slots.length; i++) {
                disk.write((long) slots[i] * SLOT, Disk.filled(bytes(slots[i]), (byte) number));
                if (i % 7 == 0) {
                    long waste = WASTE + slots[i] * 4096L;
                    disk.write(waste, Disk.filled(16_384, 0xff));
                    disk.image.discard(waste + 4096, 12_288);
                }
            }
            disk.write(ROUND, Disk.filled(4096, (byte) number));
            disk.image.flush();
        }
    }

    /** Writes until it is killed, and tells of each round that it has flushed. */
    static final class Victim {
        private Victim() {}

        public static void main(String[] arguments) throws Exception {
            Disk disk = Disk.open(Path.of(arguments[0]), true);
            for (int round = Integer.parseInt(arguments[1]) + 1; true; round++) {
                new Round(round).carryOut(disk);
                System.out.println(round);
            }
        }
    }

    private static final int KILLS = 100;

    @Test
    void aKilledProcessLosesNothingThatWasFlushed() throws Exception {
        Path path = Disk.create(folder.resolve("a.qcow2"), "8M", "-o", "cluster_size=4k");
        Random random = new Random(1);
        int[] flushed = new int[SLOTS]; // the round of each slot's last write; 0 is never
        int round = 0;
        for (int kill = 0; kill < KILLS; kill++) {
            Process victim =
                    new ProcessBuilder(
                                    Path.of(System.getProperty("java.home"), "bin", "java")
                                            .toString(),
                                    "-XX:TieredStopAtLevel=1",
                                    "-XX:+UseSerialGC",
                                    "-cp",
                                    System.getProperty("java.class.path"),
                                    Victim.class.getName(),
                                    path.toString(),
                                    "" + round)
                            .redirectError(ProcessBuilder.Redirect.INHERIT)
                            .start();
            try (var out = victim.inputReader(StandardCharsets.UTF_8)) {
                int rounds = 1 + random.nextInt(6);
                for (String line; (line = out.readLine()) != null; ) {
                    round = Integer.parseInt(line);
                    for (int slot : new Round(round).slots()) {
                        flushed[slot] = round;
                    }
                    if (--rounds == 0) {
                        victim.toHandle().destroyForcibly(); // SIGKILL, in the next round
                    }
                }
            }
            victim.onExit().join();
            Disk.check(path, true);
            try (Disk disk = Disk.open(path, false)) {
                checkLost(disk, flushed, round);
            }
        }
        assertTrue(round > KILLS);
    }

    /**
     * Each sector of a slot is of the round that wrote the slot last, or of the one after the last
     * that has been told of; that is begun anew by the next process.
     */
    private static void checkLost(Disk disk, int[] flushed, int told) throws BlockIoException {
        int next = told + 1;
        byte last = disk.read(ROUND, 1)[0];
        assertTrue(last == (byte) told || last == (byte) next);
        Set<Integer> unfinished = new HashSet<>();
        for (int slot : new Round(next).slots()) {
            unfinished.add(slot);
        }
        for (int slot = 0; slot < SLOTS; slot++) {
            byte[] now = disk.read((long) slot * SLOT, Round.bytes(slot));
            for (int at = 0; at < now.length; at++) {
                if (now[at] != (byte) flushed[slot]
                        && (now[at] != (byte) next || !unfinished.contains(slot))) {
                    throw new AssertionError(
                            "slot %d was written in round %d, and has %d at %d after round %d"
                                    .formatted(slot, flushed[slot], now[at], at, told));
                }
            }
        }
    }
}

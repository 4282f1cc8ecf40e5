package io.blockwharf.virtio.queue;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.FakeVirtqueue.Used;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;

/** vhost-user specification, "Inflight I/O tracking". */
class InFlightLogTest {
    private static final int SIZE = 8;
    private static final int AVAILABLE = 1 << 7;
    private static final int USED = 1 << 15;

    private final Arena arena = Arena.ofAuto();
    private final MemorySegment region = arena.allocate(InFlightLog.byteSize(SIZE), 64);
    private final MemorySegment ring = arena.allocate(16 * SIZE, 16);

    private SplitLog split(int usedIndex) throws VirtqueueException {
        return new SplitLog(region, SIZE, usedIndex);
    }

    /** The front end has lost the position: it says zero. */
    private PackedLog packed() throws VirtqueueException {
        return new PackedLog(region, ring, SIZE, 0, true);
    }

    @Test
    void whatWasTakenAndNotGivenBackIsPendingInItsOrder() throws Exception {
        var log = split(0);
        log.taken(5);
        log.taken(2);
        log.taken(7);
        log.completing(2);
        log.publishing();
        log.published(1);
        log.taken(0);

        assertArrayEquals(new int[] {5, 7, 0}, split(1).pending());
    }

    @Test
    void deathBeforePublishingLeavesTheBatchPending() throws Exception {
        var log = split(0);
        log.taken(1);
        log.taken(2);
        log.completing(1);
        log.completing(2);
        log.publishing();

        assertArrayEquals(new int[] {1, 2}, split(0).pending());
    }

    @Test
    void deathRightAfterPublishingDoesNotExecuteTwice() throws Exception {
        var log = split(0);
        for (int head : new int[] {1, 2, 3, 4}) {
            log.taken(head);
        }
        log.completing(3);
        log.completing(1);
        log.completing(2);
        log.publishing();
        // The used ring shows index 3; the process died before it could say so in the log.

        var next = split(3);
        assertArrayEquals(new int[] {4}, next.pending());
        next.completing(4);
        next.publishing();
        next.published(4);
        assertArrayEquals(new int[0], split(4).pending());
    }

    @Test
    void aBufferThatIsInFlightCannotBeTaken() throws Exception {
        var log = split(0);
        log.taken(6);
        assertThrows(VirtqueueException.class, () -> log.taken(6));
        assertThrows(VirtqueueException.class, () -> split(0).taken(6), "nor by the next process");
    }

    /** Takes a buffer of so many descriptors; each one's address and id is its number. */
    private static int take(PackedLog log, int id, int descriptors) {
        for (int i = 0; i < descriptors; i++) {
            boolean more = i + 1 < descriptors;
            log.take(16L * id + i, 512, id | (more ? Virtqueue.DESC_NEXT << 16 : 0));
        }
        return log.taken();
    }

    private static List<Long> pending(PackedLog log) {
        return log.pending().stream()
                .flatMap(head -> log.descriptors(head).stream())
                .map(PackedLog.Descriptor::address)
                .toList();
    }

    @Test
    void descriptorsThatTheRingHasLostAreInThePackedLog() throws Exception {
        var log = packed();
        take(log, 1, 2);
        int second = take(log, 2, 1);
        take(log, 3, 3);
        log.returning(second, 1, true);
        log.returned(second);
        take(log, 4, 1);

        var next = packed();
        assertEquals(List.of(16L, 17L, 48L, 49L, 50L, 64L), pending(next));
        assertEquals(1, next.usedIndex());
        assertTrue(next.usedWrap());
        assertEquals(
                new PackedLog.Descriptor(17, 512, 1, 0),
                next.descriptors(next.pending().getFirst()).getLast());
    }

    @Test
    void halfABufferWasNotTaken() throws Exception {
        var log = packed();
        take(log, 1, 1);
        log.take(32, 512, 2 | Virtqueue.DESC_NEXT << 16);

        assertEquals(List.of(16L), pending(packed()));
    }

    /**
     * The process dies when it was about to write the flags that show a buffer to the driver, has
     * written them, or has seen the driver use the descriptor again.
     */
    @ParameterizedTest(name = "flags {0}")
    @CsvSource({"128, false", "32896, true", "32768, true"})
    void thePackedRingTellsWhetherTheLastBufferIsBack(int flags, boolean back) throws Exception {
        assertTrue(List.of(AVAILABLE, AVAILABLE | USED, USED).contains(flags));
        var log = packed();
        int first = take(log, 1, 2);
        take(log, 2, 1);
        log.returning(first, 2, true);
        ring.set(Le.U16, 14, (short) flags);

        var next = packed();
        assertEquals(back ? List.of(32L) : List.of(16L, 17L, 32L), pending(next));
        assertEquals(back ? 2 : 0, next.usedIndex());
        for (int id = 3; id < (back ? 10 : 8); id++) {
            take(next, id, 1); // as many as there are free entries
        }
        assertEquals(SIZE, pending(packed()).size());
    }

    /** A buffer that fills the ring moves no index, only the wrap counter. */
    @ParameterizedTest
    @CsvSource({"128, 1", "32896, 0"})
    void aBufferMayFillTheRing(int flags, int pending) throws Exception {
        var log = packed();
        log.returning(take(log, 1, SIZE), 0, false);
        ring.set(Le.U16, 14, (short) flags);

        var next = packed();
        assertEquals(pending, next.pending().size());
        assertEquals(pending != 0, next.usedWrap());
    }

    @Test
    void aLogOfAnotherQueueIsRefused() throws Exception {
        split(0);
        assertThrows(VirtqueueException.class, () -> new SplitLog(region, 4, 0));
        var large = arena.allocate(InFlightLog.byteSize(16), 64).copyFrom(region);
        assertThrows(VirtqueueException.class, () -> new SplitLog(large, 16, 0));
        assertThrows(VirtqueueException.class, () -> new SplitLog(region.asSlice(4), 8, 0));
        InFlightLog.clear(region);
        assertArrayEquals(new int[0], new SplitLog(region, 4, 0).pending());
    }

    @Test
    void aHostileLogTerminates() throws Exception {
        split(0);
        region.asSlice(12).fill((byte) 0x01); // heads and links everywhere, all of them loops
        split(0x4321).pending();
        region.asSlice(12).fill((byte) 0xff);
        split(0).pending();

        for (int seed = 0; seed < 10_000; seed++) {
            var random = new Random(seed);
            InFlightLog.clear(region);
            var log = packed();
            take(log, 1, 3);
            take(log, 2, 2);
            for (int i = 0; i < 3; i++) {
                long at = 12 + random.nextInt(12 + 32 * SIZE);
                region.set(
                        InFlightLog.U8, at, (byte) (random.nextBoolean() ? random.nextInt() : 1));
            }
            try {
                assertTrue(pending(packed()).size() <= SIZE);
            } catch (VirtqueueException e) {
                // refused
            }
        }
    }

    /** Processes die at any time, and every buffer comes back once. */
    @ParameterizedTest(name = "packed {0}, seed {1}")
    @CsvSource({"false, 1", "false, 2", "true, 1", "true, 2", "true, 3"})
    void everyBufferComesBackOnce(boolean packed, long seed) throws Exception {
        var random = new Random(seed);
        var memory = new SharedMemory(arena);
        long features = Virtqueue.F_VERSION_1;
        FakeVirtqueue driver =
                packed
                        ? new FakeVirtqueue.Packed(memory.bytes(), SIZE, features)
                        : new FakeVirtqueue.Split(memory.bytes(), SIZE, features);
        int begin = packed ? 0x8000_8000 : 0;
        var inFlight = new TreeMap<Integer, Integer>(); // of the driver: id and descriptors
        var taken = new ArrayList<DescriptorChain>(); // of the device
        Virtqueue queue = device(driver, memory, begin);
        int slots = 0;
        int back = 0;
        for (int step = 0; step < 20_000; step++) {
            switch (random.nextInt(packed ? 12 : 11)) {
                case 0, 1, 2 -> {
                    int descriptors = 1 + random.nextInt(3);
                    if (slots + descriptors <= SIZE) {
                        var parts = new ArrayList<Part>();
                        for (int i = 0; i < descriptors; i++) {
                            parts.add(new Part(FakeVirtqueue.BUFFERS, descriptors, true));
                        }
                        inFlight.put(driver.add(parts), descriptors);
                        slots += descriptors;
                    }
                }
                case 3, 4, 5 -> {
                    var chain = new DescriptorChain(arena, 4);
                    if (queue.next(chain)) {
                        taken.add(chain);
                    }
                }
                case 6, 7 -> {
                    if (!taken.isEmpty()) {
                        DescriptorChain chain = taken.remove(random.nextInt(taken.size()));
                        assertEquals(
                                (int) inFlight.get(chain.id()), chain.writable().count(), "parts");
                        queue.complete(chain, chain.id());
                    }
                }
                case 8, 9 -> {
                    queue.publish();
                    for (Optional<Used> used; (used = driver.poll()).isPresent(); back++) {
                        assertEquals(used.get().id(), used.get().written());
                        slots -= inFlight.remove(used.get().id());
                    }
                }
                default -> {
                    taken.clear();
                    queue = device(driver, memory, begin);
                }
            }
        }
        assertTrue(back > 1000, "made progress: " + back);
    }

    private Virtqueue device(FakeVirtqueue driver, SharedMemory memory, int position)
            throws VirtqueueException {
        Virtqueue queue =
                switch (driver) {
                    case FakeVirtqueue.Split split ->
                            split.device(memory, Virtqueue.F_VERSION_1, position);
                    case FakeVirtqueue.Packed each ->
                            each.device(memory, Virtqueue.F_VERSION_1, position);
                };
        queue.log(region);
        return queue;
    }
}

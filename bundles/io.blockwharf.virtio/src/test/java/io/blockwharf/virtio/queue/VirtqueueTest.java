package io.blockwharf.virtio.queue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.FakeVirtqueue.Used;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.TreeMap;

/** VIRTIO 1.3 sections 2.7 and 2.8 from the device's side. */
class VirtqueueTest {
    private static final int SIZE = 8;

    /** The most parts of a buffer. */
    private static final int CHAIN = 16;

    private static final long BUFFER = FakeVirtqueue.BUFFERS;

    /** Where indirect tables go. */
    private static final long TABLES = BUFFER + 0x10000;

    /** What a packed ring's descriptor has in the first round that is available. */
    private static final int AVAILABLE = 1 << 7;

    private final Arena arena = Arena.ofConfined();
    private final SharedMemory memory = new SharedMemory(arena);
    private final DescriptorChain chain = new DescriptorChain(arena, CHAIN);

    enum Ring {
        SPLIT(Virtqueue.F_INDIRECT_DESC),
        SPLIT_EVENT_IDX(Virtqueue.F_INDIRECT_DESC | Virtqueue.F_EVENT_IDX),
        PACKED(Virtqueue.F_INDIRECT_DESC | Virtqueue.F_RING_PACKED),
        PACKED_EVENT_IDX(
                Virtqueue.F_INDIRECT_DESC | Virtqueue.F_RING_PACKED | Virtqueue.F_EVENT_IDX);

        final long features;

        Ring(long features) {
            this.features = features;
        }

        FakeVirtqueue driver(SharedMemory memory) {
            return (features & Virtqueue.F_RING_PACKED) != 0
                    ? new FakeVirtqueue.Packed(memory.bytes(), SIZE, features)
                    : new FakeVirtqueue.Split(memory.bytes(), SIZE, features);
        }

        Virtqueue device(FakeVirtqueue driver, SharedMemory memory) throws VirtqueueException {
            return device(driver, memory, -1);
        }

        /** A device that has negotiated only some of the features. */
        Virtqueue device(FakeVirtqueue driver, SharedMemory memory, long mask)
                throws VirtqueueException {
            long features = this.features & mask;
            return switch (driver) {
                case FakeVirtqueue.Split split -> split.device(memory, features, 0);
                case FakeVirtqueue.Packed packed -> packed.device(memory, features, 0x8000_8000);
            };
        }
    }

    @AfterEach
    void free() {
        arena.close();
    }

    @ParameterizedTest
    @EnumSource
    void aBufferGoesThereAndBack(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        assertFalse(device.next(chain));

        int id = driver.add(List.of(new Part(BUFFER, 16, false), new Part(BUFFER + 512, 32, true)));

        assertTrue(device.next(chain));
        assertEquals(16, chain.readable().byteCount());
        assertEquals(32, chain.writable().byteCount());
        assertEquals(Optional.empty(), driver.poll());
        device.complete(chain, 7);
        assertEquals(Optional.empty(), driver.poll());
        device.publish();
        assertEquals(Optional.of(new Used(id, 7)), driver.poll());
        assertFalse(device.next(chain));
    }

    /** Any mixture of adding and completing, in any order, over many turns of the ring. */
    @ParameterizedTest
    @EnumSource
    void everyBufferComesBackOnce(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        var random = new Random(1);
        var held = new ArrayDeque<DescriptorChain>();
        var unused = new ArrayDeque<DescriptorChain>();
        for (int i = 0; i < SIZE; i++) {
            unused.add(new DescriptorChain(arena, 4));
        }
        int slots = 0;
        int added = 0;
        int back = 0;
        var partsOf = new int[SIZE];
        var slotsOf = new int[SIZE];
        while (back < 10_000) {
            int parts = 1 + random.nextInt(3);
            boolean indirect = random.nextInt(4) == 0;
            int entries = indirect ? 1 : parts;
            if (slots + entries <= SIZE && added < 10_000 && random.nextBoolean()) {
                var list = new ArrayList<Part>();
                for (int i = 0; i < parts; i++) {
                    list.add(new Part(BUFFER + 4096L * i, 64 + i, i > 0));
                }
                int id =
                        indirect
                                ? driver.addIndirect(TABLES + 64 * (added % SIZE), list)
                                : driver.add(list);
                partsOf[id] = parts;
                slotsOf[id] = entries;
                slots += entries;
                added++;
            }
            if (random.nextBoolean() && device.next(unused.peek())) {
                held.add(unused.remove());
            }
            if (!held.isEmpty() && random.nextBoolean()) {
                // Split rings and packed rings alike may give back out of order.
                DescriptorChain done = random.nextBoolean() ? held.pollFirst() : held.pollLast();
                device.complete(done, done.writable().byteCount());
                unused.add(done);
                if (random.nextBoolean()) {
                    device.publish();
                }
            } else {
                device.publish();
            }
            for (Optional<Used> used; (used = driver.poll()).isPresent(); back++) {
                int its = partsOf[used.get().id()];
                assertTrue(its > 0, "given back twice");
                partsOf[used.get().id()] = 0;
                slots -= slotsOf[used.get().id()];
                long expected = its == 1 ? 0 : its == 2 ? 65 : 65 + 66;
                assertEquals(expected, used.get().written());
            }
        }
        assertEquals(0, slots);
    }

    /** A lost notification would leave the queue standing still; one too many costs time only. */
    @ParameterizedTest
    @EnumSource
    void notificationsFollowWhatTheOtherSideAskedFor(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        for (int turn = 0; turn < 3 * SIZE; turn++) {
            assertTrue(device.enableNotifications());
            driver.wantInterrupts(true);
            driver.add(List.of(new Part(BUFFER, 16, false)));
            assertTrue(driver.kickWanted(), "turn " + turn);
            device.disableNotifications();
            assertTrue(device.next(chain));
            device.complete(chain, 0);
            assertTrue(device.publish(), "turn " + turn);
            assertFalse(device.publish(), "nothing new");
            assertTrue(driver.poll().isPresent());

            driver.wantInterrupts(false);
            driver.add(List.of(new Part(BUFFER, 16, false)));
            assertFalse(driver.kickWanted(), "turn " + turn);
            assertTrue(device.next(chain));
            device.complete(chain, 0);
            assertFalse(device.publish(), "turn " + turn);
            assertTrue(driver.poll().isPresent());
        }
        driver.add(List.of(new Part(BUFFER, 16, false)));
        assertFalse(device.enableNotifications(), "one is available already");
    }

    /** Event indices, sections 2.7.7 and 2.8.10: the event may lie anywhere in a batch. */
    @ParameterizedTest
    @EnumSource(names = {"SPLIT_EVENT_IDX", "PACKED_EVENT_IDX"})
    void aBatchIsNotifiedIfTheEventIsInIt(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        for (int turn = 0; turn < 3 * SIZE; turn++) {
            for (int batch = 1; batch <= SIZE; batch++) {
                for (int event = 0; event <= SIZE - 1; event++) {
                    for (int i = 0; i < batch; i++) {
                        driver.add(List.of(new Part(BUFFER, 16, false)));
                    }
                    driver.wantInterruptAfter(event);
                    while (device.next(chain)) {
                        device.complete(chain, 0);
                    }
                    assertEquals(
                            event < batch,
                            device.publish(),
                            "event %d of a batch of %d, turn %d".formatted(event, batch, turn));
                    for (int i = 0; i < batch; i++) {
                        assertTrue(driver.poll().isPresent());
                    }
                }
            }
            driver.add(List.of(new Part(BUFFER, 16, false))); // the next turn begins elsewhere
            device.next(chain);
            device.complete(chain, 0);
            device.publish();
            assertTrue(driver.poll().isPresent());
        }
    }

    @ParameterizedTest
    @EnumSource
    void positionSurvivesAHandover(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        for (int i = 0; i < SIZE + 3; i++) {
            driver.add(List.of(new Part(BUFFER, 16, false)));
            assertTrue(device.next(chain));
            device.complete(chain, 0);
            device.publish();
            assertTrue(driver.poll().isPresent());
        }
        Virtqueue next =
                switch (driver) {
                    case FakeVirtqueue.Split split ->
                            split.device(memory, ring.features, device.position());
                    case FakeVirtqueue.Packed packed ->
                            packed.device(memory, ring.features, device.position());
                };
        assertFalse(next.next(chain));
        int id = driver.add(List.of(new Part(BUFFER, 16, false)));
        assertTrue(next.next(chain));
        next.complete(chain, 0);
        next.publish();
        assertEquals(Optional.of(new Used(id, 0)), driver.poll());
    }

    @ParameterizedTest
    @EnumSource
    void aBufferMaySpanRegions(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        driver.add(List.of(new Part(SharedMemory.SECOND - 8, 24, true)));

        assertTrue(device.next(chain));
        assertEquals(2, chain.writable().count());
        assertEquals(24, chain.writable().byteCount());
    }

    /** What a hostile driver may put into a split ring; each row breaks the queue, nothing else. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    head outside the table      | 8 | 0x100040000 |  16 | 0 | 0
                    next outside the table      | 0 | 0x100040000 |  16 | 1 | 8
                    chain is a loop             | 0 | 0x100040000 |  16 | 1 | 0
                    address not shared          | 0 | 0x000001000 |  16 | 0 | 0
                    end not shared              | 0 | 0x1001ffff8 |  16 | 0 | 0
                    end wraps around            | 0 | 0xfffffffffffffff8 | 16 | 0 | 0
                    length of 4 GiB             | 0 | 0x100040000 |  -1 | 0 | 0
                    device may not write there  | 0 | 0x040000000 |  16 | 2 | 0
                    indirect with next          | 0 | 0x100040000 |  16 | 5 | 1
                    indirect table is empty     | 0 | 0x100040000 |   0 | 4 | 0
                    indirect table has a rest   | 0 | 0x100040000 |  17 | 4 | 0
                    indirect table not shared   | 0 | 0x000001000 |  16 | 4 | 0
                    """)
    void aBadDescriptorBreaksTheQueue(
            String what, int head, String address, long length, int flags, int next)
            throws Exception {
        var driver = (FakeVirtqueue.Split) Ring.SPLIT.driver(memory);
        Virtqueue device = Ring.SPLIT.device(driver, memory);
        driver.descriptor(
                head % SIZE, Long.parseUnsignedLong(address.substring(2), 16), length, flags, next);
        driver.available(head);

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    indirect in indirect        | 4 | 0
                    next outside the table      | 1 | 4
                    loop                        | 1 | 0
                    """)
    void aBadIndirectTableBreaksTheQueue(String what, int flags, int next) throws Exception {
        var driver = (FakeVirtqueue.Split) Ring.SPLIT.driver(memory);
        Virtqueue device = Ring.SPLIT.device(driver, memory);
        long at = BUFFER - SharedMemory.BASE;
        memory.bytes().set(Le.U64, at, BUFFER + 4096);
        memory.bytes().set(Le.U32, at + 8, 16);
        memory.bytes().set(Le.U16, at + 12, (short) flags);
        memory.bytes().set(Le.U16, at + 14, (short) next);
        driver.descriptor(0, BUFFER, 64, 4, 0);
        driver.available(0);

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    /** What a hostile driver may put into a packed ring; flags without the one for available. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    address not shared          | 0x000001000 |  16 | 0 | 0
                    end not shared              | 0x1001ffff8 |  16 | 0 | 0
                    end wraps around            | 0xfffffffffffffff8 | 16 | 0 | 0
                    length of 4 GiB             | 0x100040000 |  -1 | 0 | 0
                    device may not write there  | 0x040000000 |  16 | 0 | 2
                    id that no ring entry has   | 0x100040000 |  16 | 8 | 0
                    chain longer than the ring  | 0x100040000 |  16 | 0 | 1
                    indirect table is empty     | 0x100040000 |   0 | 0 | 4
                    indirect table has a rest   | 0x100040000 |  17 | 0 | 4
                    indirect table not shared   | 0x000001000 |  16 | 0 | 4
                    """)
    void aBadPackedDescriptorBreaksTheQueue(
            String what, String address, long length, int id, int flags) throws Exception {
        var driver = (FakeVirtqueue.Packed) Ring.PACKED.driver(memory);
        Virtqueue device = Ring.PACKED.device(driver, memory);
        for (int i = 0; i < SIZE; i++) {
            driver.descriptor(
                    i,
                    Long.parseUnsignedLong(address.substring(2), 16),
                    length,
                    id,
                    flags | AVAILABLE);
        }

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @Test
    void aBufferThatWouldOverlapAnotherInFlightBreaksThePackedQueue() throws Exception {
        var driver = (FakeVirtqueue.Packed) Ring.PACKED.driver(memory);
        Virtqueue device = Ring.PACKED.device(driver, memory);
        driver.add(List.of(new Part(BUFFER, 16, false)));
        assertTrue(device.next(chain));
        for (int i = 1; i < SIZE; i++) {
            driver.descriptor(i, BUFFER, 16, 1, AVAILABLE | 1);
        }

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    /** Section 2.8.7: a chain has no indirect table in it, wherever that stands. */
    @ParameterizedTest
    @ValueSource(ints = {0, 1})
    void anIndirectTableInsideAChainBreaksThePackedQueue(int place) throws Exception {
        var driver = (FakeVirtqueue.Packed) Ring.PACKED.driver(memory);
        Virtqueue device = Ring.PACKED.device(driver, memory);
        driver.entry(BUFFER, 0, new Part(BUFFER + 4096, 16, false), 0);
        for (int i = 0; i < 2; i++) {
            int flags = (i == place ? 4 : 0) | (i == 0 ? 1 : 0);
            driver.descriptor(i, BUFFER, 16, 0, AVAILABLE | flags);
        }

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @Test
    void anIndirectTableInsideAnotherBreaksThePackedQueue() throws Exception {
        var driver = (FakeVirtqueue.Packed) Ring.PACKED.driver(memory);
        Virtqueue device = Ring.PACKED.device(driver, memory);
        driver.addIndirect(TABLES, List.of(new Part(BUFFER, 16, false)));
        driver.entry(TABLES, 0, new Part(BUFFER, 16, false), 4 << 16);

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @ParameterizedTest
    @EnumSource
    void anIndirectTableThatWasNotNegotiatedBreaksTheQueue(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory, ~Virtqueue.F_INDIRECT_DESC);
        driver.addIndirect(TABLES, List.of(new Part(BUFFER, 16, false)));

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    /** More parts than the device has promised to take, and just as many. */
    @ParameterizedTest
    @EnumSource
    void aChainThatIsTooLongBreaksTheQueue(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        var part = new Part(BUFFER, 16, true);
        driver.addIndirect(TABLES, Collections.nCopies(CHAIN, part));
        driver.addIndirect(TABLES + 4096, Collections.nCopies(CHAIN + 1, part));

        assertTrue(device.next(chain));
        assertEquals(CHAIN, chain.writable().count());
        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @ParameterizedTest
    @EnumSource
    void indirectTablesTakeOneRingEntry(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        for (int turn = 0; turn < 3 * SIZE; turn++) {
            int id =
                    driver.addIndirect(
                            TABLES,
                            List.of(
                                    new Part(BUFFER, 16, false),
                                    new Part(BUFFER + 4096, 512, true),
                                    new Part(BUFFER + 8192, 1, true)));
            assertTrue(device.next(chain));
            assertEquals(id, chain.id());
            assertEquals(16, chain.readable().byteCount());
            assertEquals(513, chain.writable().byteCount());
            assertEquals(2, chain.writable().count());
            device.complete(chain, 513);
            device.publish();
            assertEquals(Optional.of(new Used(id, 513)), driver.poll());
        }
        int index = 3 * SIZE % SIZE;
        int wrap = 3 % 2 == 0 ? 0x8000 : 0;
        assertEquals(
                driver instanceof FakeVirtqueue.Split
                        ? 3 * SIZE
                        : (index | wrap) << 16 | index | wrap,
                device.position());
    }

    @Test
    void anIndirectTableIsWalked() throws Exception {
        var driver = (FakeVirtqueue.Split) Ring.SPLIT.driver(memory);
        Virtqueue device = Ring.SPLIT.device(driver, memory);
        long at = BUFFER - SharedMemory.BASE;
        int[][] entries = {{16, 1, 2}, {0, 0, 0}, {512, 3, 3}, {1, 2, 0}};
        for (int i = 0; i < entries.length; i++) {
            memory.bytes().set(Le.U64, at + 16L * i, BUFFER + 4096L * (i + 1));
            memory.bytes().set(Le.U32, at + 16L * i + 8, entries[i][0]);
            memory.bytes().set(Le.U16, at + 16L * i + 12, (short) entries[i][1]);
            memory.bytes().set(Le.U16, at + 16L * i + 14, (short) entries[i][2]);
        }
        driver.descriptor(3, BUFFER, 64, 4, 0);
        driver.available(3);

        assertTrue(device.next(chain));
        assertEquals(3, chain.id());
        assertEquals(16, chain.readable().byteCount());
        assertEquals(513, chain.writable().byteCount());
    }

    @Test
    void aJumpingAvailableIndexBreaksTheQueue() throws Exception {
        var driver = (FakeVirtqueue.Split) Ring.SPLIT.driver(memory);
        Virtqueue device = Ring.SPLIT.device(driver, memory);
        driver.availableIndex(SIZE + 1);

        assertThrows(VirtqueueException.class, device::hasNext);
    }

    @ParameterizedTest
    @EnumSource
    void writableBeforeReadableBreaksTheQueue(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        driver.add(List.of(new Part(BUFFER, 16, true), new Part(BUFFER, 16, false)));

        assertThrows(VirtqueueException.class, () -> device.next(chain));
    }

    @ParameterizedTest
    @EnumSource
    void whatTheDeviceWritesIsLogged(Ring ring) throws Exception {
        FakeVirtqueue driver = ring.driver(memory);
        Virtqueue device = ring.device(driver, memory);
        var logged = new TreeMap<Long, Long>();
        device.dirtyLog(logged::put);
        driver.add(List.of(new Part(BUFFER, 16, false), new Part(BUFFER + 512, 32, true)));
        device.next(chain);
        device.complete(chain, 32);
        device.publish();

        Map<Long, Long> ringParts =
                switch (driver) {
                    case FakeVirtqueue.Split split -> {
                        long used = SharedMemory.BASE + split.used;
                        yield Map.of(used + 4, 8L, used + 2, 2L);
                    }
                    case FakeVirtqueue.Packed _ -> Map.of(SharedMemory.BASE, 16L);
                };
        var expected = new TreeMap<>(ringParts);
        expected.put(BUFFER + 512, 32L);
        assertEquals(expected, logged);
    }
}

package io.blockwharf.virtio.blk;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.testing.Allocation;
import io.blockwharf.virtio.queue.FakeVirtqueue;
import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.FakeVirtqueue.Used;
import io.blockwharf.virtio.queue.GuestMemory;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.channels.FileChannel;
import java.nio.channels.FileChannel.MapMode;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;

/** VIRTIO 1.3 section 5.2.6: requests, through a queue, to a node. */
class BlkQueueServerTest {
    private static final int IN = 0;
    private static final int OUT = 1;
    private static final int FLUSH = 4;
    private static final int GET_ID = 8;
    private static final int DISCARD = 11;
    private static final int WRITE_ZEROES = 13;

    private static final int OK = 0;
    private static final int IOERR = 1;
    private static final int UNSUPP = 2;
    private static final int NONE = 0xff;

    private static final int SIZE = 16;
    private static final long DISK = 1 << 20;
    private static final long SECTORS = DISK / 512;
    private static final long FEATURES = Virtqueue.F_INDIRECT_DESC | Virtqueue.F_EVENT_IDX;

    /** A request's own memory: header, status, then data. */
    private static final int ROOM = 0x4000;

    private static final int STATUS = 0x800;
    private static final int DATA = 0x1000;

    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED;

    private final Arena arena = Arena.ofConfined();
    private final SharedMemory memory = new SharedMemory(arena);
    private final MemoryNode node = new MemoryNode(DISK);
    private final FakeVirtqueue.Split split =
            new FakeVirtqueue.Split(memory.bytes(), SIZE, FEATURES);

    /** What requests go to: a split ring unless a test says otherwise. */
    private FakeVirtqueue driver = split;

    private int notifications;
    private BlkQueueServer server;

    private BlkQueueServer serve(boolean writable, int blockSize, int position)
            throws VirtqueueException {
        return serve(new VirtioBlk(node, writable, blockSize, 1, "serial"), position);
    }

    private BlkQueueServer serve(VirtioBlk device, int position) throws VirtqueueException {
        server =
                new BlkQueueServer(
                        device, split.device(memory, FEATURES, position), () -> notifications++);
        return server;
    }

    /** Serves a ring of this kind, which requests go to from now on. */
    private void serveRing(boolean packed, long features) throws VirtqueueException {
        Virtqueue queue;
        if (packed) {
            var ring =
                    new FakeVirtqueue.Packed(
                            memory.bytes(), SIZE, features | Virtqueue.F_RING_PACKED);
            driver = ring;
            driver.wantInterrupts(true);
            queue = ring.device(memory, features | Virtqueue.F_RING_PACKED, 0x8000_8000);
        } else {
            var ring = new FakeVirtqueue.Split(memory.bytes(), SIZE, features);
            driver = ring;
            queue = ring.device(memory, features, 0);
        }
        var device = new VirtioBlk(node, true, 512, 1, "serial");
        server = new BlkQueueServer(device, queue, () -> notifications++);
    }

    /** What an I/O thread does from one wait to the next. */
    private void serveAll() throws VirtqueueException {
        do {
            server.poll();
        } while (!server.arm());
    }

    @AfterEach
    void free() {
        while (node.heldBack() > 0) {
            node.release(0); // closing waits for them
        }
        if (server != null) {
            server.close();
        }
        arena.close();
    }

    private static long at(int slot) {
        return FakeVirtqueue.BUFFERS - SharedMemory.BASE + (long) slot * ROOM;
    }

    private static long address(int slot, long offset) {
        return FakeVirtqueue.BUFFERS + (long) slot * ROOM + offset;
    }

    /** Makes a request available in a slot of memory and returns its id. */
    private int request(int slot, int type, long sector, Part... data) {
        memory.bytes().set(U32, at(slot), type);
        memory.bytes().set(U32, at(slot) + 4, 0);
        memory.bytes().set(U64, at(slot) + 8, sector);
        memory.bytes().set(ValueLayout.JAVA_BYTE, at(slot) + STATUS, (byte) NONE);
        var parts = new ArrayList<Part>();
        parts.add(new Part(address(slot, 0), 16, false));
        parts.addAll(List.of(data));
        parts.add(new Part(address(slot, STATUS), 1, true));
        return driver.add(parts);
    }

    private int status(int slot) {
        return Byte.toUnsignedInt(memory.bytes().get(ValueLayout.JAVA_BYTE, at(slot) + STATUS));
    }

    private static Part in(int slot, long length) {
        return new Part(address(slot, DATA), length, true);
    }

    private static Part out(int slot, long length) {
        return new Part(address(slot, DATA), length, false);
    }

    private MemorySegment data(int slot, long length) {
        return memory.bytes().asSlice(at(slot) + DATA, length);
    }

    private static void fill(MemorySegment bytes, int seed) {
        var random = new byte[(int) bytes.byteSize()];
        new Random(seed).nextBytes(random);
        bytes.copyFrom(MemorySegment.ofArray(random));
    }

    private static byte[] copy(MemorySegment bytes) {
        return bytes.toArray(ValueLayout.JAVA_BYTE);
    }

    @ParameterizedTest(name = "cold {0}, packed {1}")
    @CsvSource({"false, false", "true, false", "false, true", "true, true"})
    void dataGoesThereAndBack(boolean cold, boolean packed) throws Exception {
        node.cold = cold;
        serveRing(packed, FEATURES);
        fill(data(0, 8192), 1);
        int id = request(0, OUT, 3, out(0, 8192));
        serveAll();
        assertEquals(Optional.of(new Used(id, 1)), driver.poll());
        assertEquals(OK, status(0));
        assertArrayEquals(copy(data(0, 8192)), copy(node.bytes.asSlice(3 * 512, 8192)));

        id =
                request(
                        1,
                        IN,
                        3,
                        new Part(address(1, DATA), 512, true),
                        new Part(address(1, DATA + 512), 7680, true));
        serveAll();
        assertEquals(Optional.of(new Used(id, 8193)), driver.poll());
        assertEquals(OK, status(1));
        assertArrayEquals(copy(data(0, 8192)), copy(data(1, 8192)));
    }

    @Test
    void aDeviceToldToRefuseFailsWhatIsWellFormed() throws Exception {
        var device = new VirtioBlk(node, true, 512, 1, "serial");
        serve(device, 0);
        device.refuse();
        int id = request(0, OUT, 3, out(0, 512));
        serveAll();
        assertEquals(Optional.of(new Used(id, 1)), driver.poll());
        assertEquals(IOERR, status(0));
        assertEquals(List.of(), node.calls);
    }

    /** Which requests are carried out, which are refused, and how. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    read of the last sector          | 0  | 2047 | 512  | 512  | true  | 0
                    read of nothing                  | 0  | 0    | 0    | 512  | true  | 0
                    read past the end                | 0  | 2047 | 1024 | 512  | true  | 1
                    read behind the end              | 0  | 2049 | 512  | 512  | true  | 1
                    read at 2^64 - 512               | 0  | -1   | 512  | 512  | true  | 1
                    read at 2^63                     | 0  | 36028797018963968 | 512 | 512 | true | 1
                    read of half a sector            | 0  | 0    | 256  | 512  | true  | 1
                    read of a sector, blocks of 4 KiB | 0 | 0    | 512  | 4096 | true  | 1
                    read between blocks              | 0  | 1    | 4096 | 4096 | true  | 1
                    read of a block                  | 0  | 8    | 4096 | 4096 | true  | 0
                    read of a read-only device       | 0  | 0    | 512  | 512  | false | 0
                    write past the end               | 1  | 2047 | 1024 | 512  | true  | 1
                    write of half a sector           | 1  | 0    | 256  | 512  | true  | 1
                    write to a read-only device      | 1  | 0    | 512  | 512  | false | 1
                    flush                            | 4  | 0    | 0    | 512  | true  | 0
                    flush of a read-only device      | 4  | 0    | 0    | 512  | false | 0
                    get lifetime                     | 10 | 0    | 0    | 512  | true  | 2
                    secure erase                     | 14 | 0    | 0    | 512  | true  | 2
                    zone append                      | 15 | 0    | 0    | 512  | true  | 2
                    SCSI                             | 2  | 0    | 0    | 512  | true  | 2
                    no such type                     | -1 | 0    | 0    | 512  | true  | 2
                    """)
    void requestsAreChecked(
            String what,
            int type,
            long sector,
            long length,
            int blockSize,
            boolean writable,
            int expected)
            throws Exception {
        serve(writable, blockSize, 0);
        Part data = type == OUT ? out(0, length) : in(0, length);
        int id = length == 0 ? request(0, type, sector) : request(0, type, sector, data);
        serveAll();

        Used used = driver.poll().orElseThrow();
        assertEquals(id, used.id());
        assertEquals(expected, status(0));
        assertTrue(used.written() <= length + 1);
        if (expected != OK) {
            assertEquals(List.of(), node.calls);
        }
    }

    @Test
    void theSerialIsTwentyBytes() throws Exception {
        serve(true, 512, 0);
        data(0, 32).fill((byte) 'x');
        int id = request(0, GET_ID, 0, in(0, 20));
        serveAll();
        assertEquals(Optional.of(new Used(id, 21)), driver.poll());
        assertEquals(
                "serial" + "\0".repeat(14) + "x",
                new String(copy(data(0, 21)), StandardCharsets.US_ASCII));
        request(1, GET_ID, 0, in(1, 3)); // what fits
        serveAll();
        assertEquals(OK, status(1));
        assertEquals("ser", new String(copy(data(1, 3)), StandardCharsets.US_ASCII));
    }

    private void range(int slot, int i, long sector, int sectors, int flags) {
        memory.bytes().set(U64, at(slot) + DATA + 16L * i, sector);
        memory.bytes().set(U32, at(slot) + DATA + 16L * i + 8, sectors);
        memory.bytes().set(U32, at(slot) + DATA + 16L * i + 12, flags);
    }

    @Test
    void rangesAreDiscardedAndZeroedOneAfterTheOther() throws Exception {
        serve(true, 512, 0);
        range(0, 0, 8, 8, 0);
        range(0, 1, 64, 16, 0);
        int first = request(0, DISCARD, 0, out(0, 32));
        range(1, 0, 0, 8, 1);
        range(1, 1, SECTORS - 1, 1, 0);
        int second = request(1, WRITE_ZEROES, 0, out(1, 32));
        serveAll();
        serveAll();

        var ids = List.of(driver.poll().orElseThrow().id(), driver.poll().orElseThrow().id());
        assertTrue(ids.contains(first) && ids.contains(second));
        assertEquals(OK, status(0));
        assertEquals(OK, status(1));
        assertEquals(
                List.of(
                        "discard 4096+4096",
                        "discard 32768+8192",
                        "zero 0+4096/" + RequestFlags.MAY_UNMAP,
                        "zero 1048064+512/0"),
                node.calls.stream().sorted(BlkQueueServerTest::byKind).toList());
    }

    private static int byKind(String a, String b) {
        return Character.compare(a.charAt(0), b.charAt(0));
    }

    /** Section 5.2.6.2: which ranges a device must refuse, before it touches any of them. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    discard with unmap          | 11 | 0    | 8    | 1 | 16  | true  | 2
                    discard with unknown flag   | 11 | 0    | 8    | 2 | 16  | true  | 2
                    zeroes with unknown flag    | 13 | 0    | 8    | 2 | 16  | true  | 2
                    no range                    | 11 | 0    | 8    | 0 | 0   | true  | 2
                    half a range                | 13 | 0    | 8    | 0 | 8   | true  | 2
                    33 ranges                   | 13 | 0    | 8    | 0 | 528 | true  | 2
                    past the end                | 11 | 2047 | 2    | 0 | 16  | true  | 1
                    end wraps around            | 13 | -1   | 2    | 0 | 16  | true  | 1
                    more sectors than announced | 13 | 0    | -1   | 0 | 16  | true  | 1
                    read-only device            | 11 | 0    | 8    | 0 | 16  | false | 1
                    """)
    void badRangesAreRefused(
            String what,
            int type,
            long sector,
            int sectors,
            int flags,
            int length,
            boolean writable,
            int expected)
            throws Exception {
        serve(writable, 512, 0);
        data(0, 1024).fill((byte) 0);
        range(0, 0, sector, sectors, flags);
        if (length == 0) {
            request(0, type, 0);
        } else {
            request(0, type, 0, out(0, length));
        }
        serveAll();

        assertTrue(driver.poll().isPresent());
        assertEquals(expected, status(0));
        assertEquals(List.of(), node.calls);
    }

    @Test
    void aBadSecondRangeStopsTheFirst() throws Exception {
        serve(true, 512, 0);
        range(0, 0, 0, 8, 0);
        range(0, 1, SECTORS, 1, 0);
        request(0, DISCARD, 0, out(0, 32));
        serveAll();

        assertEquals(IOERR, status(0));
        assertEquals(List.of(), node.calls);
    }

    @ParameterizedTest
    @CsvSource({"EIO, 1", "ENOSPC, 1", "ENOTSUP, 2", "EINVAL, 1"})
    void failuresOfTheNodeAreReported(Errno errno, int expected) throws Exception {
        serve(true, 512, 0);
        node.failure = errno;
        for (boolean cold : new boolean[] {false, true}) {
            node.cold = cold;
            int id = request(0, IN, 0, in(0, 512));
            serveAll();
            assertEquals(Optional.of(new Used(id, 0)), driver.poll());
            assertEquals(expected, status(0));
            request(1, OUT, 0, out(1, 512));
            request(2, FLUSH, 0);
            serveAll();
            assertEquals(expected, status(1));
            assertEquals(expected, status(2));
            assertTrue(driver.poll().isPresent() && driver.poll().isPresent());
        }
        node.failure = Errno.OK;
        request(0, IN, 0, in(0, 512));
        serveAll();
        assertEquals(OK, status(0));
    }

    /** Section 5.2.6: the device must not assume how the parts are cut (2.6.4). */
    @Test
    void headerDataAndStatusMayBeCutAnywhere() throws Exception {
        serve(true, 512, 0);
        fill(node.bytes.asSlice(0, DISK), 7);
        memory.bytes().set(U32, at(0), IN);
        memory.bytes().set(U64, at(0) + 8, 9);
        driver.add(
                List.of(
                        new Part(address(0, 0), 3, false),
                        new Part(address(0, 3), 5, false),
                        new Part(address(0, 8), 8, false),
                        new Part(address(0, DATA), 100, true),
                        new Part(address(0, DATA + 100), 413, true)));
        serveAll();

        assertEquals(513, driver.poll().orElseThrow().written());
        assertArrayEquals(copy(node.bytes.asSlice(9 * 512, 512)), copy(data(0, 512)));
        assertEquals(0, memory.bytes().get(ValueLayout.JAVA_BYTE, at(0) + DATA + 512), "status");
    }

    @Test
    void aRequestWithoutHeaderOrStatusBreaksTheQueue() throws Exception {
        serve(true, 512, 0);
        driver.add(List.of(new Part(address(0, 0), 15, false), new Part(address(0, 16), 1, true)));
        assertThrows(VirtqueueException.class, this::serveAll);
        server.close();

        var other = new FakeVirtqueue.Split(memory.bytes(), SIZE, FEATURES);
        memory.bytes().asSlice(0, at(0)).fill((byte) 0);
        other.add(List.of(new Part(address(0, 0), 16, false)));
        server =
                new BlkQueueServer(
                        new VirtioBlk(node, true, 512, 1, ""),
                        other.device(memory, FEATURES, 0),
                        () -> {});
        assertThrows(VirtqueueException.class, this::serveAll);
    }

    @ParameterizedTest(name = "packed {0}")
    @ValueSource(booleans = {false, true})
    void requestsCompleteOutOfOrderAndKeepTheirBuffers(boolean packed) throws Exception {
        serveRing(packed, FEATURES);
        node.cold = true;
        node.held = true;
        fill(node.bytes.asSlice(0, DISK), 3);
        var ids = new ArrayList<Integer>();
        for (int slot = 0; slot < 4; slot++) {
            ids.add(request(slot, IN, 8L * slot, in(slot, 4096)));
        }
        serveAll();
        assertEquals(4, server.inFlight());
        assertEquals(Optional.empty(), driver.poll());

        node.release(2);
        serveAll();
        assertEquals(ids.get(2), driver.poll().orElseThrow().id());
        assertEquals(Optional.empty(), driver.poll());
        node.release(2);
        node.release(0);
        serveAll();
        assertEquals(ids.get(3), driver.poll().orElseThrow().id());
        assertEquals(ids.get(0), driver.poll().orElseThrow().id());
        assertFalse(server.settle());
        node.release(0);
        assertTrue(server.settle());
        assertEquals(ids.get(1), driver.poll().orElseThrow().id());
        for (int slot = 0; slot < 4; slot++) {
            assertEquals(OK, status(slot));
            assertArrayEquals(copy(node.bytes.asSlice(4096L * slot, 4096)), copy(data(slot, 4096)));
        }
    }

    /** VIRTIO_F_IN_ORDER, sections 2.7.9 and 2.8.8: whatever is finished first. */
    @ParameterizedTest(name = "packed {0}, seed {1}")
    @CsvSource({"false, 1", "false, 2", "true, 1", "true, 2"})
    void buffersComeBackInOrderIfTheDriverWantsThat(boolean packed, long seed) throws Exception {
        serveRing(packed, FEATURES | Virtqueue.F_IN_ORDER);
        node.held = true;
        var random = new Random(seed);
        var expected = new ArrayDeque<Integer>();
        int slot = 0;
        int back = 0;
        while (back < 1000) {
            node.cold = random.nextInt(4) != 0; // others are finished inline
            if (expected.size() < 5 && random.nextBoolean()) {
                expected.add(request(slot, IN, slot, in(slot, 512)));
                slot = (slot + 1) % 5;
            } else if (node.heldBack() > 0) {
                node.release(random.nextInt(node.heldBack()));
            }
            serveAll();
            for (Optional<Used> used; (used = driver.poll()).isPresent(); back++) {
                assertEquals(new Used(expected.remove(), 513), used.get());
            }
            assertEquals(expected.size(), server.inFlight());
            assertTrue(node.heldBack() > 0 || expected.isEmpty(), "what can come back is back");
        }
    }

    /** What the driver has not got back is at rest only when it has. */
    @Test
    void inOrderTheLastToFinishLetsTheOthersGo() throws Exception {
        serveRing(false, FEATURES | Virtqueue.F_IN_ORDER);
        node.held = true;
        node.cold = true;
        int first = request(0, IN, 0, in(0, 512));
        int second = request(1, IN, 0, in(1, 512));
        serveAll();
        node.release(1);
        assertFalse(server.settle());
        assertEquals(Optional.empty(), driver.poll());
        assertEquals(0, notifications);
        node.release(0);
        assertTrue(server.settle());
        assertEquals(first, driver.poll().orElseThrow().id());
        assertEquals(second, driver.poll().orElseThrow().id());
        assertEquals(1, notifications);
    }

    /** As many data segments as the device says it takes, and what a request needs besides. */
    @ParameterizedTest(name = "packed {0}")
    @ValueSource(booleans = {false, true})
    void aRequestMayHaveAsManySegmentsAsAnnounced(boolean packed) throws Exception {
        serveRing(packed, FEATURES);
        fill(node.bytes.asSlice(0, DISK), 5);
        memory.bytes().set(U32, at(0), IN);
        memory.bytes().set(U64, at(0) + 8, 3);
        var parts = new ArrayList<Part>();
        parts.add(new Part(address(0, 0), 16, false));
        for (int i = 0; i < VirtioBlk.SEG_MAX; i++) { // from the last page to the first
            parts.add(new Part(address(1, 512L * (VirtioBlk.SEG_MAX - i)), 512, true));
        }
        parts.add(new Part(address(0, STATUS), 1, true));
        driver.addIndirect(address(0, DATA), parts);
        serveAll();
        assertEquals(512 * VirtioBlk.SEG_MAX + 1, driver.poll().orElseThrow().written());
        assertEquals(OK, status(0));
        for (int i = 0; i < VirtioBlk.SEG_MAX; i++) {
            long at = at(1) + 512L * (VirtioBlk.SEG_MAX - i);
            assertArrayEquals(
                    copy(node.bytes.asSlice(512L * (3 + i), 512)),
                    copy(memory.bytes().asSlice(at, 512)));
        }
    }

    @Test
    void aFlushReachesTheNode() throws Exception {
        serve(true, 512, 0);
        request(0, OUT, 0, out(0, 512));
        request(1, FLUSH, 0);
        serveAll();
        assertEquals(OK, status(1));
        assertEquals(List.of("write", "flush"), node.calls);
    }

    @ParameterizedTest(name = "packed {0}, event index {1}")
    @CsvSource({"false, false", "false, true", "true, false", "true, true"})
    void aDriverThatPollsIsNotNotified(boolean packed, boolean eventIdx) throws Exception {
        serveRing(packed, eventIdx ? FEATURES : FEATURES & ~Virtqueue.F_EVENT_IDX);
        driver.wantInterrupts(false);
        request(0, IN, 0, in(0, 512));
        serveAll();
        assertTrue(driver.poll().isPresent());
        assertEquals(0, notifications);
        driver.wantInterrupts(true);
        request(1, IN, 0, in(1, 512));
        serveAll();
        assertEquals(1, notifications);
    }

    @Test
    void oneNotificationTellsOfEverythingThatWasFinishedTogether() throws Exception {
        serve(true, 512, 0);
        for (int slot = 0; slot < 5; slot++) {
            request(slot, IN, slot, in(slot, 512));
        }
        serveAll();
        assertEquals(1, notifications);
    }

    /** Polling must not leave the queue deaf: a driver that is not asked does not notify. */
    @Test
    void theDriverNotifiesOnlyOfWhatTheDeviceWillNotSeeByItself() throws Exception {
        serve(true, 512, 0);
        serveAll();
        assertTrue(server.arm());
        request(0, IN, 0, in(0, 512));
        assertTrue(driver.kickWanted());

        assertTrue(server.poll());
        request(1, IN, 0, in(1, 512));
        assertFalse(driver.kickWanted(), "while the device polls");
        assertTrue(server.poll());
        assertFalse(server.poll());
        assertTrue(server.arm(), "nothing came in between");
        request(2, IN, 0, in(2, 512));
        assertTrue(driver.kickWanted(), "once it sleeps");

        assertTrue(server.poll());
        request(3, IN, 0, in(3, 512));
        assertFalse(server.arm(), "something came in between");
        assertTrue(server.poll());
        assertEquals(OK, status(3));
    }

    /** What the device cannot have written is not logged, however long the driver says it is. */
    @ParameterizedTest(name = "type {0}, sector {1}: {2} bytes logged")
    @CsvSource({"0, 0, 8193", "0, 999999, 1", "8, 0, 21", "4, 0, 1", "1, 0, 1", "99, 0, 1"})
    void onlyWhatMayBeWrittenIsLogged(int type, long sector, long bytes) throws Exception {
        var queue = split.device(memory, FEATURES, 0);
        var logged = new AtomicLong();
        queue.dirtyLog(
                (address, length) -> {
                    if (address >= FakeVirtqueue.BUFFERS) { // not the ring
                        logged.addAndGet(length);
                    }
                });
        server =
                new BlkQueueServer(
                        new VirtioBlk(node, true, 512, 1, "serial"), queue, () -> notifications++);
        request(0, type, sector, in(0, 4096), in(0, 4096));
        serveAll();
        assertEquals(bytes, logged.get());
    }

    /** Its memory may be the same many times; it would take minutes, and end when it likes. */
    @Test
    void aRequestOfTwoGigabytesFails(@TempDir Path folder) throws Exception {
        node.resize(1L << 43);
        long huge = 1L << 40;
        try (var file =
                FileChannel.open(
                        folder.resolve("sparse"),
                        StandardOpenOption.CREATE,
                        StandardOpenOption.READ,
                        StandardOpenOption.WRITE)) {
            var region =
                    new GuestMemory.Region(
                            huge, file.map(MapMode.READ_WRITE, 0, 1L << 31, arena), true);
            var guest =
                    new SharedMemory(arena) {
                        @Override
                        public Region find(long address) {
                            return region.contains(address) ? region : memory.find(address);
                        }
                    };
            server =
                    new BlkQueueServer(
                            new VirtioBlk(node, true, 512, 1, "serial"),
                            split.device(guest, FEATURES, 0),
                            () -> notifications++);
            request(0, IN, 0, new Part(huge, 1L << 31, true));
            request(1, OUT, 0, new Part(huge, 1L << 31, false));
            serveAll();
            assertEquals(IOERR, status(0));
            assertEquals(IOERR, status(1));
            assertEquals(List.of(), node.calls);
        }
    }

    /** Queues with nothing left of the heap's share go on with a few requests at a time. */
    @Test
    void aQueueGoesOnWhenTooManyRequestsAreKept() throws Exception {
        var device = new VirtioBlk(node, true, 512, 1, "serial");
        var queue = new FakeVirtqueue.Split(memory.bytes(), 64, FEATURES);
        int taken = 0;
        for (; device.requests.hasMore(); taken++) {
            device.requests.take();
        }
        try {
            server =
                    new BlkQueueServer(
                            device, queue.device(memory, FEATURES, 0), () -> notifications++);
            node.held = true;
            int more = 2 * BlkQueueServer.FEW;
            for (int i = 0; i < more; i++) {
                memory.bytes().set(U32, at(0), FLUSH);
                queue.add(
                        List.of(
                                new Part(address(0, 0), 16, false),
                                new Part(address(0, STATUS), 1, true)));
            }
            serveAll();
            assertEquals(BlkQueueServer.FEW, node.heldBack());
            assertEquals(BlkQueueServer.FEW, server.inFlight());
            for (int i = 0; i < more; i++) {
                node.release(0);
                serveAll();
                assertEquals(Math.min(BlkQueueServer.FEW, more - 1 - i), node.heldBack());
            }
        } finally {
            device.requests.giveBack(taken);
        }
    }

    /** What a queue has kept is for others to use when it is closed. */
    @Test
    void aClosedQueueGivesItsRequestsBack() throws Exception {
        var device = new VirtioBlk(node, true, 512, 1, "serial");
        int before = left(device);
        serve(device, 0);
        node.held = true;
        int head = request(0, FLUSH, 0);
        for (int i = 1; i < SIZE; i++) {
            split.available(head);
        }
        serveAll();
        assertEquals(SIZE, node.heldBack());
        assertTrue(left(device) < before);
        for (int i = 0; i < SIZE; i++) {
            node.release(0);
        }
        serveAll();
        server.close();
        server = null;
        assertEquals(before, left(device));
    }

    private static int left(VirtioBlk device) {
        int count = 0;
        for (; device.requests.hasMore(); count++) {
            device.requests.take();
        }
        device.requests.giveBack(count);
        return count;
    }

    @Test
    void aResizeIsSeenByTheNextRequest() throws Exception {
        var device = new VirtioBlk(node, true, 512, 1, "");
        serve(device, 0);
        request(0, IN, SECTORS, in(0, 512));
        serveAll();
        assertEquals(IOERR, status(0));

        node.resize(DISK + 512 + 100);
        assertEquals(SECTORS + 1, device.capacity());
        assertEquals(SECTORS + 1, MemorySegment.ofArray(device.config()).get(U64, 0));
        request(1, IN, SECTORS, in(1, 512));
        request(2, IN, SECTORS + 1, in(2, 512));
        serveAll();
        assertEquals(OK, status(1));
        assertEquals(IOERR, status(2));
    }

    /** What was taken and not given back by a process that died is executed by the next, once. */
    @Test
    void theNextProcessTakesUpWhatWasInFlight() throws Exception {
        var region = arena.allocate(InFlightLog.byteSize(SIZE), 64);
        node.cold = true;
        node.held = true;
        var device = new VirtioBlk(node, true, 512, 1, "");
        var queue = split.device(memory, FEATURES, 0);
        queue.log(region);
        var dying = new BlkQueueServer(device, queue, () -> {});
        var ids = new ArrayList<Integer>();
        for (int slot = 0; slot < 4; slot++) {
            fill(data(slot, 512), slot);
            ids.add(request(slot, OUT, slot, out(slot, 512)));
        }
        assertTrue(dying.poll());
        node.release(1);
        assertTrue(dying.poll());
        assertEquals(ids.get(1), driver.poll().orElseThrow().id());
        fill(data(4, 512), 4);
        ids.add(request(4, OUT, 4, out(4, 512))); // not taken by the one that dies

        node.held = false;
        var next = split.device(memory, FEATURES, 0); // a front end may have lost the position
        next.log(region);
        server = new BlkQueueServer(device, next, () -> {});
        serveAll();
        var back = new ArrayList<Integer>();
        for (Optional<Used> used; (used = driver.poll()).isPresent(); ) {
            back.add(used.get().id());
        }
        assertEquals(List.of(ids.get(0), ids.get(2), ids.get(3), ids.get(4)), back);
        for (int slot = 0; slot < 5; slot++) {
            assertArrayEquals(copy(data(slot, 512)), copy(node.bytes.asSlice(512L * slot, 512)));
        }
        assertEquals(5, next.position());
    }

    /** A queue that takes many reads better together gets them, once there are many. */
    @Test
    void manyReadsGoToAQueueThatIsGoodAtIt() throws Exception {
        node.batchesReads = true;
        serve(true, 512, 0);
        for (int round = 0; round < 3; round++) {
            for (int slot = 0; slot < 5; slot++) {
                request(slot, IN, slot, in(slot, 512));
            }
            serveAll();
            for (int slot = 0; slot < 5; slot++) {
                assertEquals(OK, status(slot));
                assertTrue(driver.poll().isPresent());
            }
        }
        assertEquals(5, node.triedReads, "the first round, which nothing tells to be one of many");
        assertEquals(3, notifications);
    }

    /** A driver that waits for all that it has sent gets half of it back early. */
    @Test
    void whoSpinsGivesBackInHalves() throws Exception {
        serve(true, 512, 0);
        reads(5);
        assertTrue(server.spin());
        assertEquals(5, backSince(0), "nothing is known of the driver yet");
        waitInVain();
        waitInVain();

        reads(5);
        assertTrue(server.spin());
        assertEquals(4, backSince(1), "half, but as many as are worth a turn");
        reads(3); // made ready in the meantime
        assertTrue(server.spin());
        assertEquals(4, backSince(2));

        waitInVain();
        reads(5);
        assertTrue(server.poll());
        assertEquals(5, backSince(3), "who was kicked has slept");
    }

    @Test
    void halvesAreOfWhatIsInFlightHoweverLongTheRingIsNotEmpty() throws Exception {
        serve(true, 512, 0);
        small(8);
        assertTrue(server.spin());
        waitInVain();
        int back = backSince(0);
        for (int round = 1; round <= 20; round++) {
            small(round == 1 ? 8 : back);
            assertTrue(server.spin());
            back = backSince(round);
            assertEquals(4, back, "of eight, in round " + round);
        }
        assertTrue(server.spin());
        assertEquals(4, backSince(21));
        waitInVain();

        small(8);
        assertTrue(server.spin());
        assertEquals(4, backSince(22), "eight were in flight, not the eighty that were taken");
    }

    @Test
    void afterSomeTimeWithoutAnEmptyRingAllThatIsThereIsTaken() throws Exception {
        serve(true, 512, 0);
        small(8);
        assertTrue(server.spin());
        waitInVain();
        assertEquals(8, backSince(0));
        small(8);
        int back = 4;
        int rounds = 0;
        while (back == 4) {
            assertTrue(server.spin());
            back = backSince(++rounds);
            assertTrue(rounds < 100, "a driver on the same processor pays for each round");
            small(back);
        }
        assertEquals(8, back);
        assertTrue(rounds > 8);
    }

    /** Two descriptors each, so that eight fit; answered at once. */
    private void small(int count) {
        for (int i = 0; i < count; i++) {
            request(i, 99, 0);
        }
    }

    @Test
    void aRingThatIsEmptyForAMomentIsNoReasonForHalves() throws Exception {
        serve(true, 512, 0);
        reads(5);
        assertTrue(server.spin());
        assertEquals(5, backSince(0));
        for (int i = 1; i < BlkQueueServer.IDLE; i++) {
            assertFalse(server.spin());
        }
        reads(5);
        assertTrue(server.spin());
        assertEquals(5, backSince(1), "the thread had other queues to serve");
    }

    /** Looks until the thread has nothing else to do either. */
    private void waitInVain() throws VirtqueueException {
        for (int i = 0; i < BlkQueueServer.IDLE; i++) {
            assertFalse(server.spin());
        }
    }

    private void reads(int count) {
        for (int i = 0; i < count; i++) {
            request(i, IN, i, in(i, 512));
        }
    }

    /** Takes what was given back. */
    private int backSince(int earlierNotifications) {
        assertEquals(earlierNotifications + 1, notifications);
        int count = 0;
        while (driver.poll().isPresent()) {
            count++;
        }
        driver.wantInterrupts(true);
        return count;
    }

    @Test
    void nothingIsAllocatedForARequest() throws Exception {
        serve(true, 512, 0);
        request(0, IN, 0, in(0, 4096));
        request(1, IN, 8, in(1, 4096));
        int[] heads = new int[1];
        Allocation.assertNone(
                "two reads",
                () -> {
                    serveAll();
                    // The same two chains again and again, without the driver's own bookkeeping.
                    split.available(0);
                    split.available(3);
                    heads[0] += 2;
                });
        assertEquals(heads[0], server.served());
    }
}

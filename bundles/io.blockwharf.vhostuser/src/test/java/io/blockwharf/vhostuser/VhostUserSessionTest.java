package io.blockwharf.vhostuser;

import static io.blockwharf.vhostuser.FakeFrontEnd.MEMORY;
import static io.blockwharf.vhostuser.FakeFrontEnd.USER;
import static io.blockwharf.vhostuser.FakeFrontEnd.address;
import static io.blockwharf.vhostuser.FakeFrontEnd.payload;
import static io.blockwharf.vhostuser.FakeFrontEnd.region;
import static io.blockwharf.vhostuser.FakeFrontEnd.slot;
import static io.blockwharf.vhostuser.FakeFrontEnd.state;
import static io.blockwharf.vhostuser.FakeFrontEnd.table;
import static io.blockwharf.vhostuser.FakeFrontEnd.u64;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.Errno;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.MemFd;
import io.blockwharf.testing.RecordingLog;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.vhostuser.wire.ProtocolFeatures;
import io.blockwharf.virtio.blk.MemoryNode;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.FakeVirtqueue;
import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.FakeVirtqueue.Used;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;

/** vhost-user specification: negotiation, ring states, and front ends that do not follow it. */
@Timeout(120)
class VhostUserSessionTest {
    private final RecordingLog log = new RecordingLog();
    private static final int DISK = 1 << 20;
    private static final int SIZE = 16;
    private static final int QUEUES = 2;
    private static final long RING = Virtqueue.F_VERSION_1 | Virtqueue.F_EVENT_IDX;
    private static final long NEGOTIATED = RING | ProtocolFeatures.F_PROTOCOL_FEATURES;
    private static final long CACHED = NEGOTIATED | VirtioBlk.F_FLUSH | VirtioBlk.F_CONFIG_WCE;
    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED;

    /** Offsets in the shared memory of a request's parts, each on a page of its own. */
    private static final int HEADER = 0x50000;

    private static final int STATUS = 0x60000;
    private static final int DATA = 0x70000;

    private final MemoryNode node = new MemoryNode(DISK);
    private final VirtioBlk device = new VirtioBlk(node, true, 512, QUEUES, "serial");
    private TestIoThread loop;
    private FakeFrontEnd front;
    private VhostUserSession session;
    private Thread thread;

    /** What the session's thread has ended with. */
    private Throwable escaped;

    private EventFd kick;
    private EventFd call;
    private EventFd error;

    @BeforeEach
    void connect() throws LinuxException {
        loop = new TestIoThread("test");
        kick = EventFd.open();
        call = EventFd.open();
        error = EventFd.open();
        reconnect();
    }

    private void reconnect() throws LinuxException {
        FdSocket[] pair = FdSocket.pair();
        front = new FakeFrontEnd(pair[0]);
        session =
                new VhostUserSession(
                        device,
                        pair[1],
                        QUEUES,
                        new QueueThreads(List.of(loop)),
                        log.logger,
                        new Complaints(log.logger, System::nanoTime));
        thread =
                Thread.ofPlatform()
                        .uncaughtExceptionHandler((_, e) -> escaped = e)
                        .start(session::run);
    }

    @AfterEach
    void leave() throws Exception {
        front.close();
        thread.join();
        assertNull(escaped, "the export's thread would have ended");
        loop.close();
        kick.close();
        call.close();
        error.close();
    }

    private void negotiate(long features) throws LinuxException {
        front.send(3, 0, new byte[0]);
        assertTrue((front.ask(1) & ProtocolFeatures.F_PROTOCOL_FEATURES) != 0);
        long protocol = ProtocolFeatures.ALL & ~ProtocolFeatures.INFLIGHT_SHMFD;
        front.send(16, 0, u64(front.ask(15) & protocol));
        front.good(2, u64(features));
    }

    private FakeVirtqueue.Split split() {
        return new FakeVirtqueue.Split(front.memory.segment(), SIZE, RING);
    }

    private FakeVirtqueue.Split startSplit() throws LinuxException {
        FakeVirtqueue.Split driver = split();
        front.startRing(0, SIZE, driver.avail, driver.used, 0, kick, call);
        front.good(14, u64(0), error.fd());
        return driver;
    }

    /** Starts a ring of either kind with more features than usual. */
    private FakeVirtqueue start(boolean packed, long more) throws LinuxException {
        long features = NEGOTIATED | more | (packed ? Virtqueue.F_RING_PACKED : 0);
        negotiate(features);
        front.shareMemory();
        if (!packed) {
            return startSplit();
        }
        var driver = new FakeVirtqueue.Packed(front.memory.segment(), SIZE, features);
        driver.wantInterrupts(true);
        front.startRing(0, SIZE, 0x30000, 0x30010, 0x8000_8000, kick, call);
        front.good(14, u64(0), error.fd());
        return driver;
    }

    private int add(FakeVirtqueue driver, int i, int type, long sector, Part data) {
        var memory = front.memory.segment();
        memory.set(U32, HEADER + 16L * i, type);
        memory.set(U64, HEADER + 16L * i + 8, sector);
        memory.set(ValueLayout.JAVA_BYTE, STATUS + i, (byte) 0xff);
        return driver.add(
                List.of(
                        new Part(SharedMemory.BASE + HEADER + 16L * i, 16, false),
                        data,
                        new Part(SharedMemory.BASE + STATUS + i, 1, true)));
    }

    private static Part read(int i) {
        return new Part(SharedMemory.BASE + DATA + 4096L * i, 512, true);
    }

    private int status(int i) {
        return front.memory.segment().get(ValueLayout.JAVA_BYTE, STATUS + i);
    }

    private Used await(FakeVirtqueue driver) throws LinuxException {
        for (; ; ) {
            Optional<Used> used = driver.poll();
            if (used.isPresent()) {
                return used.get();
            }
            call.await();
        }
    }

    /** Reads sector 1 through the ring. */
    private void serves(FakeVirtqueue driver) throws LinuxException {
        node.bytes.fill((byte) 0x5a);
        int id = add(driver, 0, 0, 1, read(0));
        kick.signal();
        assertEquals(new Used(id, 513), await(driver));
        assertEquals(0, status(0));
        assertEquals((byte) 0x5a, front.memory.segment().get(ValueLayout.JAVA_BYTE, DATA + 511));
    }

    @Test
    void whatIsOfferedIsTheDevices() throws Exception {
        front.send(3, 0, new byte[0]);
        assertEquals(
                device.features()
                        | Virtqueue.F_IN_ORDER
                        | ProtocolFeatures.F_PROTOCOL_FEATURES
                        | ProtocolFeatures.F_LOG_ALL,
                front.ask(1));
        assertEquals(ProtocolFeatures.ALL, front.ask(15));
        assertEquals(QUEUES, front.ask(17));
        assertTrue(front.ask(36) >= 509, "QEMU's most memory slots");
        front.send(24, 0, payload(12 + 60).putInt(0).putInt(60).putInt(0).array());
        ByteBuffer config = front.reply(24);
        assertEquals(60, config.position(4).getInt());
        var bytes = new byte[60];
        config.position(12).get(bytes);
        assertArrayEquals(device.config(), bytes);
    }

    @Test
    void featuresThatWereNotOfferedAreRefused() throws Exception {
        negotiate(NEGOTIATED);
        front.bad(2, u64(NEGOTIATED | 1L << 40));
    }

    @Test
    void aSplitRingIsServed() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        for (int i = 0; i < 3 * SIZE; i++) {
            serves(driver);
        }
    }

    @Test
    void aPackedRingIsServed() throws Exception {
        FakeVirtqueue driver = start(true, 0);
        for (int i = 0; i < 3 * SIZE; i++) {
            serves(driver);
        }
        front.send(11, 0, state(0, 0));
        int position = front.reply(11).position(4).getInt();
        front.good(10, state(0, position));
        front.good(12, u64(0), kick.fd());
        serves(driver);
    }

    /** SET_VRING_KICK without a descriptor: "polling should be used". */
    @Test
    void aRingWithoutAKickDescriptorIsPolled() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        front.good(12, u64(1 << 8));
        for (int i = 0; i < 3; i++) {
            add(driver, i, 0, 1, read(i));
            await(driver);
            assertEquals(0, status(i));
        }
        // Stopped until it is told again how it learns of buffers
        front.send(11, 0, state(0, 0));
        assertEquals(3, front.reply(11).position(4).getInt());
        front.good(12, u64(0), kick.fd());
        int id = add(driver, 3, 0, 1, read(3));
        kick.signal();
        assertEquals(id, await(driver).id());
    }

    /** "Ring states": GET_VRING_BASE stops a ring, the next kick descriptor starts it again. */
    @Test
    void aRingStopsAndGoesOnWhereItWas() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        serves(driver);
        front.send(11, 0, state(0, 0));
        assertEquals(2, front.reply(11).position(4).getInt());
        add(driver, 0, 0, 0, read(0));
        kick.signal();
        assertEquals(QUEUES, front.ask(17));
        assertEquals(Optional.empty(), driver.poll());

        front.good(10, state(0, 2));
        front.good(12, u64(0), kick.fd());
        await(driver);
        serves(driver);
    }

    @Test
    void aDisabledRingRests() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        front.good(18, state(0, 0));
        add(driver, 0, 0, 0, read(0));
        kick.signal();
        assertEquals(QUEUES, front.ask(17));
        assertEquals(Optional.empty(), driver.poll());
        front.good(18, state(0, 1));
        await(driver);
    }

    @Test
    void requestsInFlightAreFinishedBeforeARingStops() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        node.cold = true;
        node.held = true;
        add(driver, 0, 0, 0, read(0));
        kick.signal();
        while (node.heldBack() == 0) {
            Thread.onSpinWait();
        }
        front.send(11, 0, state(0, 0));
        node.release(0);
        assertEquals(1, front.reply(11).position(4).getInt());
        assertTrue(driver.poll().isPresent());
    }

    @Test
    void theCallDescriptorChangesWhileTheRingRuns() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        EventFd old = call;
        call = EventFd.open();
        front.good(13, u64(0), call.fd());
        old.clear();
        serves(driver);
        assertEquals(0, old.clear());
        old.close();
    }

    /** "ADD_MEM_REG" and "REM_MEM_REG" under a running ring. */
    @Test
    void memoryComesAndGoesUnderARunningRing() throws Exception {
        negotiate(NEGOTIATED);
        front.good(37, slot(SharedMemory.BASE, MEMORY, USER, 0), front.file.fd());
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        try (MemFd more = MemFd.create("more", 2 * MEMORY);
                MappedRegion bytes = more.map(2 * MEMORY)) {
            byte[] added = slot(SharedMemory.BASE + MEMORY, MEMORY, USER - MEMORY, MEMORY);
            front.good(37, added, more.fd());
            serves(driver);
            add(driver, 0, 0, 0, new Part(SharedMemory.BASE + MEMORY, 512, true));
            kick.signal();
            await(driver);
            assertEquals((byte) 0x5a, bytes.segment().get(ValueLayout.JAVA_BYTE, MEMORY + 511));

            front.good(38, added);
            serves(driver);
            add(driver, 0, 0, 0, new Part(SharedMemory.BASE + MEMORY, 512, true));
            kick.signal();
            error.await(); // the ring is broken: that is no memory any more
            front.bad(38, added);
        }
    }

    /** "CONFIGURE_MEM_SLOTS": hundreds of them, 5 GiB in one, while the ring runs. */
    @Test
    void hundredsOfSlotsHoldWhatRequestsReadAndWrite() throws Exception {
        negotiate(NEGOTIATED);
        front.good(37, slot(SharedMemory.BASE, MEMORY, USER, 0), front.file.fd());
        FakeVirtqueue.Split driver = startSplit();
        int slots = 300;
        int page = 4096;
        long large = 5L << 30;
        long first = 1L << 40; // where slots of a page each lie, with gaps
        long largest = 1L << 41;
        node.bytes.fill((byte) 0x5a);
        try (MemFd more = MemFd.create("more", large + slots * page);
                MappedRegion bytes = more.map(large + slots * page)) {
            front.good(37, slot(largest, large, 1L << 45, 0), more.fd());
            for (int i = 0; i < slots; i++) {
                long at = 2L * i * page;
                front.good(
                        37, slot(first + at, page, (1L << 46) + at, large + i * page), more.fd());
            }
            for (int i = 0; i < slots; i++) {
                reads(driver, first + 2L * i * page + 1024);
                assertEquals(0x5a, at(bytes, large + i * page + 1024 + 511));
            }
            for (long offset : new long[] {0, (2L << 30) - 256, (4L << 30) - 256, large - 512}) {
                reads(driver, largest + offset);
                assertEquals(0x5a, at(bytes, offset));
                assertEquals(0x5a, at(bytes, offset + 511));
            }
            for (int i = 0; i < slots; i += 2) {
                long at = 2L * i * page;
                front.good(38, slot(first + at, page, (1L << 46) + at, 0));
            }
            reads(driver, first + 2L * page);
            add(driver, 0, 0, 0, new Part(first + 4L * page, 512, true));
            kick.signal();
            error.await(); // one of those that are gone
        }
    }

    private static byte at(MappedRegion memory, long offset) {
        return memory.segment().get(ValueLayout.JAVA_BYTE, offset);
    }

    private void reads(FakeVirtqueue driver, long address) throws LinuxException {
        add(driver, 0, 0, 0, new Part(address, 512, true));
        kick.signal();
        assertEquals(513, await(driver).written());
        assertEquals(0, status(0));
    }

    /** What is finished together is told with one write to the call descriptor. */
    @ParameterizedTest(name = "packed {0}, event index {1}")
    @CsvSource({"false, false", "false, true", "true, false", "true, true"})
    void aBatchRingsTheDoorbellOnce(boolean packed, boolean eventIdx) throws Exception {
        long features =
                Virtqueue.F_VERSION_1
                        | ProtocolFeatures.F_PROTOCOL_FEATURES
                        | (eventIdx ? Virtqueue.F_EVENT_IDX : 0)
                        | (packed ? Virtqueue.F_RING_PACKED : 0);
        negotiate(features);
        front.shareMemory();
        var split = new FakeVirtqueue.Split(front.memory.segment(), SIZE, features);
        FakeVirtqueue driver =
                packed ? new FakeVirtqueue.Packed(front.memory.segment(), SIZE, features) : split;
        driver.wantInterrupts(true);
        for (int i = 0; i < 5; i++) {
            add(driver, i, 0, i, read(i));
        }
        front.good(8, state(0, SIZE));
        front.good(10, state(0, packed ? 0x8000_8000 : 0));
        front.good(
                9,
                packed
                        ? address(0, USER, USER + 0x30010, USER + 0x30000)
                        : address(0, USER, USER + split.used, USER + split.avail));
        front.good(13, u64(0), call.fd());
        call.clear(); // a new call descriptor is rung
        front.good(12, u64(0), kick.fd());
        front.good(18, state(0, 1)); // the ring is open on return, and what was there is done
        assertEquals(1, call.await());
        for (int i = 0; i < 5; i++) {
            assertTrue(driver.poll().isPresent());
            assertEquals(0, status(i));
        }
        assertEquals(0, call.clear());
    }

    /** VIRTIO_F_IN_ORDER from the negotiation to the ring. */
    @ParameterizedTest(name = "packed {0}")
    @ValueSource(booleans = {false, true})
    void inOrderWhatIsFinishedWaitsForWhatCameBefore(boolean packed) throws Exception {
        FakeVirtqueue driver = start(packed, Virtqueue.F_IN_ORDER);
        node.cold = true;
        node.held = true;
        int first = add(driver, 0, 0, 0, read(0));
        int second = add(driver, 1, 0, 1, read(1));
        kick.signal();
        while (node.heldBack() < 2) {
            Thread.onSpinWait();
        }
        node.release(1);
        while (status(1) != 0) {
            Thread.onSpinWait(); // executed, and not given back
        }
        node.release(0);
        assertEquals(first, await(driver).id());
        assertEquals(second, await(driver).id());
    }

    /** "Inflight I/O tracking": the next process executes what the log says, once. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void whatAnEarlierProcessHadInFlightIsExecuted(boolean packed) throws Exception {
        long features = NEGOTIATED | (packed ? Virtqueue.F_RING_PACKED : 0);
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(features));
        front.shareMemory();
        front.send(31, 0, payload(24).putLong(0).putLong(0).putInt(QUEUES | SIZE << 16).array());
        ByteBuffer answer = front.reply(31);
        long bytes = answer.getLong();
        assertEquals(QUEUES * InFlightLog.byteSize(SIZE) + 64, bytes);
        var memory = front.memory.segment();
        var split = split();
        FakeVirtqueue driver = packed ? new FakeVirtqueue.Packed(memory, SIZE, features) : split;
        driver.wantInterrupts(true);
        int taken = add(driver, 0, 1, 0, new Part(SharedMemory.BASE + DATA, 512, false));
        int fresh = add(driver, 1, 1, 1, new Part(SharedMemory.BASE + DATA, 512, false));
        try (MappedRegion log =
                MappedRegion.map(front.received.get(0), 0, bytes, MappedRegion.Access.READ_WRITE)) {
            if (packed) {
                packedLogOfOneBuffer(log.segment(), memory);
            } else {
                splitLogOfOneBuffer(log.segment(), taken);
            }
            front.good(32, inFlight(bytes), front.received.get(0));
            // The positions that QEMU gives after a crash: the used index, or an old one.
            if (packed) {
                front.startRing(0, SIZE, 0x30000, 0x30010, 0x8000_8000, kick, call);
            } else {
                front.startRing(0, SIZE, split.avail, split.used, 0, kick, call);
            }
            assertEquals(taken, await(driver).id());
            assertEquals(fresh, await(driver).id());
            front.send(11, 0, state(0, 0));
            assertEquals(packed ? 0x8006_8006 : 2, front.reply(11).position(4).getInt());
            assertEquals(Optional.empty(), driver.poll());
            assertEquals(List.of("write", "write"), node.calls);

            // A reset ends the log; the ring begins anew.
            front.good(34, new byte[0]);
            memory.asSlice(0, HEADER).fill((byte) 0);
            front.good(2, u64(NEGOTIATED));
            serves(startSplit());
        }
    }

    /** {@code QueueRegionSplit}: version 1, so many descriptors, one of them in flight. */
    private static void splitLogOfOneBuffer(MemorySegment log, int head) {
        log.set(U32, 8, 1 | SIZE << 16);
        log.set(ValueLayout.JAVA_BYTE, 16 + 16L * head, (byte) 1);
    }

    /** {@code QueueRegionPacked}: the first three descriptors of the ring are in flight. */
    private static void packedLogOfOneBuffer(MemorySegment log, MemorySegment ring) {
        log.set(U32, 8, 1 | SIZE << 16);
        log.set(U32, 12, 3 | 3 << 16); // free heads
        log.set(U32, 20, 0x101); // wrap counters
        for (int i = 0; i < SIZE; i++) {
            long entry = 32 + 32L * i;
            log.set(U32, entry, (i == 0 ? 1 : 0) | i + 1 << 16); // in flight, next
            log.set(U32, entry + 4, i == 0 ? 2 | 3 << 16 : 0); // last, number
            if (i < 3) {
                log.set(U32, entry + 16, ring.get(U32, 16L * i + 12)); // id, flags
                log.set(U32, entry + 20, ring.get(U32, 16L * i + 8));
                log.set(U64, entry + 24, ring.get(U64, 16L * i));
            }
        }
    }

    private static byte[] inFlight(long bytes) {
        return payload(24).putLong(bytes).putLong(0).putInt(QUEUES | SIZE << 16).array();
    }

    /** Messages that are refused; the session and its ring go on. */
    @Test
    void badMessagesAreRefusedAndHarmNothing() throws Exception {
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(NEGOTIATED));
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        int fd = front.file.fd();
        front.bad(5, table(region(0, MEMORY, USER, 0))); // no descriptor
        front.bad(5, table(region(0, 1, 0, 0), region(0, 1, 0, 0)), fd); // one too few
        front.bad(5, table(region(0, -1, USER, 0)), fd);
        front.bad(5, table(region(-4096, 8192, USER, 0)), fd);
        front.bad(5, table(region(0, 4096, USER, Long.MAX_VALUE)), fd);
        front.bad(5, table(region(0, 4096, USER, 0)), kick.fd()); // cannot be mapped
        front.bad(5, payload(8).putInt(9).array());
        front.bad(5, new byte[0]);
        front.bad(37, slot(SharedMemory.BASE, 4096, 0, 0), fd); // overlaps
        front.bad(37, slot(0, 4096, 0, 0));
        front.bad(37, new byte[39], fd);
        front.bad(38, slot(SharedMemory.BASE + 1, MEMORY, USER, 0));
        front.bad(6, payload(16).putLong(4096).array()); // no descriptor
        front.bad(6, payload(16).putLong(-1).array(), fd);
        front.bad(6, payload(16).putLong(0).array(), fd);
        front.bad(6, payload(16).putLong(1L << 40).array(), fd); // takes too many addresses
        front.bad(6, payload(16).putLong(4096).putLong(4).array(), fd); // between its words
        front.bad(6, payload(15).array(), fd);
        front.bad(8, state(QUEUES, 16));
        front.bad(8, state(-1, 16));
        front.bad(8, state(0, 0));
        front.bad(8, state(0, 65536));
        front.bad(9, address(99, 0, 0, 0));
        front.bad(9, payload(39).array());
        front.bad(10, state(QUEUES, 0));
        front.bad(11, state(QUEUES, 0));
        front.bad(12, u64(0)); // no descriptor
        front.bad(12, u64(QUEUES), kick.fd());
        front.bad(12, u64(0), fd); // no eventfd
        front.bad(13, u64(0));
        front.bad(13, u64(0), fd); // no eventfd
        front.bad(14, u64(0), fd);
        front.bad(14, u64(255), error.fd());
        front.bad(18, state(QUEUES, 1));
        front.bad(21, new byte[0]); // no descriptor
        front.bad(21, new byte[0], fd); // no socket
        front.bad(24, payload(12).putInt(0).putInt(60).array());
        front.bad(24, payload(12 + 8).putInt(252).putInt(8).array());
        front.bad(25, payload(12 + 8).putInt(0).putInt(8).array()); // capacity is read-only
        front.bad(25, payload(12 + 2).putInt(32).putInt(2).array());
        front.bad(31, payload(24).putInt(16, 0).array());
        front.bad(31, payload(24).putInt(16, QUEUES + 1 | 16 << 16).array());
        front.bad(31, payload(24).putInt(16, QUEUES | 2048 << 16).array());
        front.bad(32, inFlight(1), fd); // too small for its queues
        front.bad(32, inFlight(1L << 40), fd);
        front.bad(32, inFlight(1 << 16)); // no descriptor
        front.bad(63, new byte[0]);
        front.bad(1000, new byte[512]);
        front.bad(-1, u64(0));
        serves(driver);
    }

    /** Whoever did not ask for acknowledgements learns of a failure by the end. */
    @Test
    void withoutReplyAckAFailureEndsTheConnection() throws Exception {
        front.send(8, FakeFrontEnd.NEED_REPLY, state(QUEUES, 16));
        assertTrue(front.disconnected());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 11, 12, 19})
    void anUnfinishedMessageEndsTheSession(int length) throws Exception {
        byte[] whole = payload(20).putInt(2).putInt(1).putInt(8).putLong(0).array();
        front.raw(java.util.Arrays.copyOf(whole, length));
        front.socket.shutdownOutput();
        assertTrue(front.disconnected());
    }

    @Test
    void aBadHeaderEndsTheSession() throws Exception {
        front.raw(payload(12).putInt(1).putInt(2).putInt(0).array());
        assertTrue(front.disconnected());
    }

    /** Ring parts outside shared memory or misaligned, sizes that no ring has: broken, not more. */
    @Test
    void aRingInTheWrongPlaceIsBroken() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = split();
        front.good(14, u64(0), error.fd());
        byte[][] places = {
            address(0, 0, USER + driver.used, USER + driver.avail),
            address(0, USER, USER + MEMORY, USER + driver.avail),
            address(0, USER, USER + MEMORY - 4, USER + driver.avail),
            address(0, USER + MEMORY - 16, USER + driver.used, USER + driver.avail),
            address(0, USER + 8, USER + driver.used, USER + driver.avail),
            address(0, USER, USER + driver.used + 2, USER + driver.avail),
            address(0, USER, USER + driver.used, USER + driver.avail + 1),
            address(0, -1, -1, -1),
        };
        front.good(8, state(0, SIZE));
        front.good(10, state(0, 0));
        front.good(13, u64(0), call.fd());
        front.good(12, u64(0), kick.fd());
        front.good(18, state(0, 1));
        for (byte[] place : places) {
            front.good(9, place);
            error.await();
        }
        front.good(9, address(0, USER, USER + driver.used, USER + driver.avail));
        front.good(8, state(0, 15)); // no power of two
        error.await();
        front.good(8, state(0, SIZE));
        serves(driver);
    }

    /** Addresses that are aligned for the driver, in memory that is not where we map it. */
    @Test
    void aRingInARegionAtAnOddOffsetIsBroken() throws Exception {
        negotiate(NEGOTIATED);
        front.good(5, table(region(SharedMemory.BASE, MEMORY / 2, USER, 1)), front.file.fd());
        FakeVirtqueue.Split driver = split();
        front.good(14, u64(0), error.fd());
        front.startRing(0, SIZE, driver.avail, driver.used, 0, kick, call);
        error.await();
        // A warning: an error would be one of ours
        assertTrue(log.warnings.getLast().endsWith("is misaligned"), log.warnings::toString);
        front.shareMemory();
        serves(driver);
    }

    /** The JVM turns the access violation into an error, which must not reach anything else. */
    @Test
    void memoryThatIsTruncatedUnderARingBreaksThatRingOnly() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        add(driver, 0, 0, 0, read(0));
        front.file.resize(0);
        kick.signal();
        error.await();
        assertEquals(QUEUES, front.ask(17));
        front.send(11, 0, state(0, 0));
        front.reply(11);

        front.file.resize(MEMORY);
        FakeVirtqueue.Split next = split();
        front.startRing(0, SIZE, next.avail, next.used, 0, kick, call);
        serves(next);
    }

    @Test
    void memoryThatIsTruncatedUnderARequestInFlightEndsThatRingOnly() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        node.cold = true;
        node.held = true;
        add(driver, 0, 4, 0, read(0));
        kick.signal();
        while (node.heldBack() == 0) {
            Thread.onSpinWait();
        }
        front.send(11, 0, state(0, 0));
        front.file.resize(0);
        node.release(0);
        front.reply(11);
        assertEquals(QUEUES, front.ask(17));
    }

    @Test
    void anInFlightLogThatIsTruncatedEndsTheConnectionOnly() throws Exception {
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(NEGOTIATED));
        long bytes = QUEUES * InFlightLog.byteSize(SIZE);
        try (MemFd log = MemFd.create("log", bytes)) {
            front.good(32, inFlight(bytes), log.fd());
            log.resize(0);
            front.send(34, 0, new byte[0]); // forgets what is in flight
            assertTrue(front.disconnected());
        }
        front.close();
        thread.join();
        reconnect();
        negotiate(NEGOTIATED);
        front.shareMemory();
        serves(startSplit());
    }

    /** The session keeps nothing that it could not use. */
    @Test
    void descriptorsOfRefusedMessagesAreClosed() throws Exception {
        negotiate(NEGOTIATED);
        String name = "refused-" + System.nanoTime();
        try (MemFd refused = MemFd.create(name, 4096)) {
            front.bad(21, new byte[0], refused.fd()); // no socket
            front.bad(13, u64(0), refused.fd()); // no eventfd
            front.bad(14, u64(0), refused.fd());
            front.bad(12, u64(QUEUES), refused.fd()); // no such ring
            front.bad(6, payload(16).putLong(-1).array(), refused.fd());
            front.bad(37, slot(SharedMemory.BASE, -1, 0, 0), refused.fd());
            front.ask(17); // closes what came before
            assertEquals(1, openFiles(name));
        }
    }

    private static long openFiles(String name) throws IOException {
        try (Stream<Path> all = Files.list(Path.of("/proc/self/fd"))) {
            return all.filter(fd -> isOpen(fd, name)).count();
        }
    }

    private static boolean isOpen(Path fd, String name) {
        try {
            return Files.readSymbolicLink(fd).toString().contains(name);
        } catch (IOException e) {
            return false; // closed in the meantime
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {34, 39})
    void aResetStopsEverything(int message) throws Exception {
        negotiate(NEGOTIATED);
        front.good(39, u64(0xf));
        assertEquals(0xf, front.ask(40));
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        serves(driver);
        front.good(message, message == 39 ? u64(0) : new byte[0]);
        assertEquals(0, front.ask(40));
        add(driver, 0, 0, 0, read(0));
        kick.signal();
        front.send(11, 0, state(0, 0));
        assertEquals(0, front.reply(11).position(4).getInt());
        assertEquals(Optional.empty(), driver.poll());

        front.good(2, u64(NEGOTIATED));
        front.memory.segment().asSlice(0, HEADER).fill((byte) 0);
        serves(startSplit());
    }

    /** "Migration": a bit for each page of guest memory that the device writes to. */
    @ParameterizedTest(name = "packed {0}")
    @ValueSource(booleans = {false, true})
    void whatIsWrittenIsInTheDirtyLog(boolean packed) throws Exception {
        FakeVirtqueue driver = start(packed, 0);
        long features = NEGOTIATED | (packed ? Virtqueue.F_RING_PACKED : 0);
        long used = driver instanceof FakeVirtqueue.Split split ? split.used : 0;
        long pages = (SharedMemory.BASE + MEMORY) / 4096;
        long bytes = pages / 8;
        try (MemFd file = MemFd.create("log", bytes);
                MappedRegion log = file.map(bytes)) {
            front.send(6, 0, payload(16).putLong(bytes).putLong(0).array(), file.fd());
            front.reply(6);
            serves(driver);
            assertTrue(clean(log, 0, MEMORY), "not on yet");

            front.good(2, u64(features | ProtocolFeatures.F_LOG_ALL));
            serves(driver);
            assertTrue(dirty(log, DATA) && dirty(log, STATUS) && dirty(log, used));
            assertFalse(dirty(log, HEADER));
            assertTrue(clean(log, DATA + 4096, MEMORY));
            add(driver, 1, 1, 0, new Part(SharedMemory.BASE + DATA + 8192, 512, false));
            kick.signal();
            await(driver);
            assertFalse(dirty(log, DATA + 8192), "the device only read it");

            front.good(2, u64(features));
            log.segment().fill((byte) 0);
            serves(driver);
            assertTrue(clean(log, 0, MEMORY), "off again");
        }
    }

    private static boolean dirty(MappedRegion log, long offset) {
        long page = (SharedMemory.BASE + offset) / 4096;
        return (log.segment().get(ValueLayout.JAVA_BYTE, page / 8) >> page % 8 & 1) != 0;
    }

    private static boolean clean(MappedRegion log, long from, long to) {
        for (long offset = from; offset < to; offset += 4096) {
            if (dirty(log, offset)) {
                return false;
            }
        }
        return true;
    }

    @Test
    void aDirtyLogThatIsTooSmallIsNotExceeded() throws Exception {
        negotiate(NEGOTIATED | ProtocolFeatures.F_LOG_ALL);
        front.shareMemory();
        FakeVirtqueue.Split driver = startSplit();
        try (MemFd file = MemFd.create("log", 4096)) {
            front.send(6, 0, payload(16).putLong(4096).putLong(0).array(), file.fd());
            front.reply(6);
            serves(driver);
        }
    }

    /** "CONFIG_CHANGE_MSG": a front end that does not read holds nobody up. */
    @Test
    void aResizeIsToldToTheFrontEnd() throws Exception {
        negotiate(NEGOTIATED);
        FdSocket[] channel = FdSocket.pair();
        front.good(21, new byte[0], channel[1].fd());
        channel[1].close();
        session.configChanged();
        try (FdSocket backend = channel[0];
                var arena = java.lang.foreign.Arena.ofConfined()) {
            var message = arena.allocate(12, 4);
            assertEquals(12, backend.receive(message, 0, 12, FdSocket.WAIT_ALL));
            ByteBuffer header = message.asByteBuffer().order(ByteOrder.nativeOrder());
            assertEquals(
                    List.of(2, 1, 0), List.of(header.getInt(), header.getInt(), header.getInt()));
            for (int i = 0; i < 10_000; i++) {
                session.configChanged();
            }
        }
        session.configChanged(); // and nobody is there any more
    }

    /** SET_CONFIG of one byte or more. */
    private static byte[] config(int offset, int flags, byte... bytes) {
        return payload(12 + bytes.length)
                .putInt(offset)
                .putInt(bytes.length)
                .putInt(flags)
                .put(bytes)
                .array();
    }

    /**
     * VIRTIO 1.3 section 5.2.6.2; a front end that switches the dirty log does it while rings run.
     */
    @Test
    void aDriverThatDoesNotFlushGetsNoWriteCache() throws Exception {
        negotiate(NEGOTIATED);
        assertFalse(node.writeCache());
        front.good(2, u64(NEGOTIATED | ProtocolFeatures.F_LOG_ALL));
        front.good(2, u64(NEGOTIATED));
        assertFalse(node.writeCache());
        assertEquals(1, node.cacheSwitches);
        front.good(34, new byte[0]);
        front.good(2, u64(NEGOTIATED | VirtioBlk.F_FLUSH));
        assertTrue(node.writeCache());
        front.good(2, u64(NEGOTIATED));
        assertFalse(node.writeCache());
        front.close();
        thread.join();
        assertTrue(node.writeCache(), "the next front end's, until it negotiates");
        reconnect();
    }

    /** A reset does not switch it: to pause its guest is one for QEMU, which keeps the field. */
    @ParameterizedTest
    @ValueSource(ints = {34, 39})
    void theWriteCacheIsSwitchedByTheConfiguration(int reset) throws Exception {
        negotiate(CACHED);
        assertTrue(node.writeCache());
        front.good(25, config(32, 0, (byte) 0));
        assertFalse(node.writeCache());
        assertEquals(List.of("flush"), node.calls);
        front.good(reset, reset == 39 ? u64(0) : new byte[0]);
        front.good(2, u64(CACHED));
        assertFalse(node.writeCache());
        front.good(25, config(32, 0, (byte) 1));
        assertTrue(node.writeCache());

        node.failure = Errno.EIO;
        front.bad(25, config(32, 0, (byte) 0));
        assertTrue(node.writeCache(), "the driver has to flush");
        node.failure = Errno.OK;
        front.good(25, config(32, 0, (byte) 0));
        front.close();
        thread.join();
        assertTrue(node.writeCache(), "of the next front end");
        reconnect();
    }

    /** "Virtio device config space": flags 1, to the destination of a migration. */
    @Test
    void theSourcesWritebackIsTakenOver() throws Exception {
        negotiate(CACHED);
        byte[] space = device.config();
        space[0] ^= 1; // capacity, which is not the source's to say
        front.good(25, config(0, 1, space));
        assertTrue(node.writeCache());
        space[32] = 0;
        front.good(25, config(0, 1, space));
        assertFalse(node.writeCache());
        assertEquals(DISK / 512, device.capacity());
        front.good(25, config(33, 1, (byte) 1));
        front.good(25, config(31, 1, (byte) 1));
        front.good(25, config(32, 1));
        assertFalse(node.writeCache(), "not in what was sent");
        front.good(25, config(32, 1, (byte) 1));
        assertTrue(node.writeCache());
        front.bad(25, config(32, 2, (byte) 0));
        assertTrue(node.writeCache());
    }

    /**
     * What the front end holds for the next process has it, too: QEMU does not repeat SET_CONFIG.
     */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void theNextProcessLearnsThatTheWriteCacheIsOff(boolean before) throws Exception {
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(CACHED));
        if (before) {
            front.good(25, config(32, 0, (byte) 0));
        }
        front.send(31, 0, payload(24).putLong(0).putLong(0).putInt(QUEUES | SIZE << 16).array());
        long bytes = front.reply(31).getLong();
        try (MemFd held = MemFd.create("log", bytes);
                MappedRegion log = held.map(bytes);
                MappedRegion made =
                        MappedRegion.map(
                                front.received.get(0), 0, bytes, MappedRegion.Access.READ_WRITE)) {
            log.segment().copyFrom(made.segment());
            front.good(32, inFlight(bytes), held.fd());
            assertEquals(!before, node.writeCache());
            front.good(25, config(32, 0, (byte) 0));
            assertTrue(nextProcess(), "the default");
            front.good(32, inFlight(bytes), held.fd());
            assertFalse(node.writeCache());

            front.good(34, new byte[0]); // which the field outlives
            front.good(2, u64(CACHED));
            front.good(25, config(32, 0, (byte) 1));
            nextProcess();
            front.good(32, inFlight(bytes), held.fd());
            assertTrue(node.writeCache());

            nextProcess();
            front.good(25, config(32, 0, (byte) 0));
            front.good(32, inFlight(bytes), held.fd());
            assertFalse(node.writeCache(), "off is what this driver said last");
            nextProcess();
            front.good(32, inFlight(bytes), held.fd());
            assertFalse(node.writeCache());

            log.segment().set(U64, bytes - 64, 0);
            nextProcess();
            front.good(32, inFlight(bytes), held.fd());
            assertTrue(node.writeCache(), "the log is not of this back end");
        }
    }

    /** The same front end, at another process; whether its write cache is on. */
    private boolean nextProcess() throws Exception {
        front.close();
        thread.join();
        reconnect();
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(CACHED));
        return node.writeCache();
    }

    /** The front end has truncated what it holds. */
    @Test
    void keepingTheWriteCacheInMemoryThatIsGoneEndsTheConnectionOnly() throws Exception {
        front.send(16, 0, u64(ProtocolFeatures.ALL));
        front.good(2, u64(CACHED));
        long bytes = QUEUES * InFlightLog.byteSize(SIZE) + 64;
        try (MemFd held = MemFd.create("log", bytes)) {
            held.resize(0);
            front.send(32, FakeFrontEnd.NEED_REPLY, inFlight(bytes), held.fd());
            assertTrue(front.disconnected());
        }
        assertTrue(nextProcess());
        front.shareMemory();
        serves(startSplit());
    }

    @Test
    void theEndOfTheFrontEndStopsItsRings() throws Exception {
        negotiate(NEGOTIATED);
        front.shareMemory();
        serves(startSplit());
        front.close();
        thread.join();
        reconnect();
        negotiate(NEGOTIATED);
        front.shareMemory();
        serves(startSplit());
        session.shutdown();
        assertTrue(front.disconnected());
    }
}

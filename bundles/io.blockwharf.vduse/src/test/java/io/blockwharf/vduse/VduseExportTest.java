package io.blockwharf.vduse;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.testing.RecordingLog;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.virtio.blk.MemoryNode;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.FakeVirtqueue;
import io.blockwharf.virtio.queue.FakeVirtqueue.Part;
import io.blockwharf.virtio.queue.FakeVirtqueue.Used;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.osgi.service.log.Logger;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.function.BooleanSupplier;

/** An export in front of a {@link FakeKernel}: life of the device, messages, rings, recovery. */
@Timeout(120)
class VduseExportTest {
    private static final Logger SILENT = new RecordingLog().logger;
    private static final int DISK = 1 << 20;
    private static final int SIZE = 16;
    private static final long FEATURES = Virtqueue.F_VERSION_1 | Virtqueue.F_EVENT_IDX;
    private static final String NAME = "disk0";
    private static final int IN = 0;
    private static final int OUT = 1;
    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED;

    /** Offsets in the driver's memory of a request's parts. */
    private static final int HEADER = 0x50000;

    private static final int STATUS = 0x60000;
    private static final int DATA = 0x70000;

    @TempDir Path directory;
    private FakeKernel kernel = new FakeKernel();
    private final MemoryNode node = new MemoryNode(DISK);
    private final List<BlockExport> exports = new ArrayList<>();
    private Path bus;
    private Path logs;

    @BeforeEach
    void makeHost() throws Exception {
        bus = directory.resolve("vdpa");
        Files.createDirectories(bus.resolve("devices"));
        Files.createDirectories(bus.resolve("drivers/virtio_vdpa"));
        logs = Files.createDirectories(directory.resolve("shm"));
    }

    @AfterEach
    void end() {
        node.held = false;
        while (node.heldBack() > 0) {
            node.release(0);
        }
        for (BlockExport export : exports) {
            export.requestShutdown();
            export.closed().toCompletableFuture().join();
        }
    }

    private VduseBlkDriver driver() {
        return new VduseBlkDriver(
                new VduseExport.Host(kernel, new VdpaBus(bus), logs, TestIoThread::new, SILENT));
    }

    private ExportSpec<BlockExportOptionsVduseBlk> spec(
            String name, int queues, int queueSize, long blockSize, boolean writable) {
        return new ExportSpec<>(
                "e",
                node,
                writable,
                List.of(),
                new BlockExportOptionsVduseBlk(
                        name,
                        Optional.of(queues),
                        Optional.of(queueSize),
                        Optional.of(blockSize),
                        Optional.of("serial")));
    }

    private BlockExport open(ExportSpec<BlockExportOptionsVduseBlk> spec) {
        BlockExport export = driver().open(spec);
        exports.add(export);
        return export;
    }

    private BlockExport open() {
        return open(spec(NAME, 2, SIZE, 512, true));
    }

    private FakeKernel.Device device() {
        return kernel.devices.get(NAME);
    }

    /** vdpa dev add, and the kernel's virtio-blk driver. */
    private FakeVirtqueue.Split attach() throws Exception {
        FakeKernel.Device device = device();
        device.attached = true;
        Files.createFile(bus.resolve("devices").resolve(NAME));
        Files.createFile(bus.resolve("drivers/virtio_vdpa").resolve(NAME));
        return start();
    }

    private FakeVirtqueue.Split start() throws Exception {
        device().bytes().fill((byte) 0);
        var ring = new FakeVirtqueue.Split(device().bytes(), SIZE, FEATURES);
        device().start(0, SIZE, FEATURES, ring.avail, ring.used);
        return ring;
    }

    /** vdpa dev del. */
    private void detach() throws Exception {
        assertTrue(device().status(0));
        Files.delete(bus.resolve("drivers/virtio_vdpa").resolve(NAME));
        device().attached = false;
        Files.delete(bus.resolve("devices").resolve(NAME));
    }

    private int add(FakeVirtqueue ring, int slot, int type, long sector) {
        MemorySegment memory = device().bytes();
        memory.set(U32, HEADER + 16L * slot, type);
        memory.set(U64, HEADER + 16L * slot + 8, sector);
        memory.set(ValueLayout.JAVA_BYTE, STATUS + slot, (byte) 0xff);
        return ring.add(
                List.of(
                        new Part(SharedMemory.BASE + HEADER + 16L * slot, 16, false),
                        new Part(SharedMemory.BASE + DATA + 4096L * slot, 512, type == IN),
                        new Part(SharedMemory.BASE + STATUS + slot, 1, true)));
    }

    private MemorySegment data(int slot) {
        return device().bytes().asSlice(DATA + 4096L * slot, 512);
    }

    private int status(int slot) {
        return device().bytes().get(ValueLayout.JAVA_BYTE, STATUS + slot);
    }

    private Used await(FakeVirtqueue ring) throws LinuxException {
        for (; ; ) {
            Optional<Used> used = ring.poll();
            if (used.isPresent()) {
                return used.get();
            }
            device().rings[0].interrupts.await();
        }
    }

    private void serves(FakeVirtqueue ring) throws Exception {
        node.bytes.asSlice(512, 512).fill((byte) 0x5a);
        int id = add(ring, 0, IN, 1);
        device().rings[0].kick();
        assertEquals(new Used(id, 513), await(ring));
        assertEquals(0, status(0));
        assertEquals((byte) 0x5a, data(0).get(ValueLayout.JAVA_BYTE, 511));
    }

    private static void awaitTrue(BooleanSupplier condition) {
        while (!condition.getAsBoolean()) {
            LockSupport.parkNanos(100_000);
        }
    }

    private void closes(BlockExport export) {
        export.closed().toCompletableFuture().join();
        assertFalse(device() != null && device().connected);
    }

    private Path log() {
        return logs.resolve("blockwharf-vduse-" + NAME);
    }

    // ---- Options and the device

    @ParameterizedTest(name = "{5}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    disk0 | 0 |  256 |  512 | true | num-queues must be greater than 0
                    disk0 | 1 |    0 |  512 | true | queue-size is invalid
                    disk0 | 1 |    2 |  512 | true | queue-size is invalid
                    disk0 | 1 |  255 |  512 | true | queue-size is invalid
                    disk0 | 1 | 2048 |  512 | true | queue-size is invalid
                    disk0 | 1 |  256 |  511 | true | parameter logical-block-size must be a power of 2 between 512 and 2097152
                    a/b   | 1 |  256 |  512 | true | failed to create vduse device: 'a/b' is not a name for one
                    """)
    void optionsThatAreRefused(
            String name, int queues, int queueSize, long blockSize, boolean writable, String why) {
        var refused = spec(name, queues, queueSize, blockSize, writable);
        assertEquals(
                why, assertThrows(QmpException.class, () -> driver().open(refused)).getMessage());
        assertTrue(kernel.devices.isEmpty());
    }

    @Test
    void theDeviceIsWhatTheOptionsSay() throws Exception {
        BlockExport export = open(spec(NAME, 3, 4, 4096, false));
        FakeKernel.Device device = device();
        assertEquals(3, device.rings.length);
        assertEquals(4, device.rings[2].maxSize);
        MemorySegment config = MemorySegment.ofArray(device.config);
        assertEquals(DISK / 512, config.get(U64, 0));
        assertEquals(2, config.get(U32, 12), "seg_max: as many as fit into a ring");
        assertEquals(4096, config.get(U32, 20), "blk_size");
        assertEquals(3, config.get(ValueLayout.JAVA_SHORT_UNALIGNED, 34), "num_queues");
        assertTrue((device.features & 1L << 5) != 0, "read-only");
        assertEquals("/dev/vduse/disk0", export.details().get("device"));
        export.requestShutdown();
        closes(export);
        assertTrue(kernel.devices.isEmpty());
        assertFalse(Files.exists(log()));
    }

    @Test
    void aNameThatAnotherProcessServesIsRefused() {
        open();
        assertEquals(
                "failed to create vduse device: Failed to open /dev/vduse/disk0: Device or"
                        + " resource busy",
                assertThrows(
                                QmpException.class,
                                () -> driver().open(spec(NAME, 2, SIZE, 512, true)))
                        .getMessage());
        assertTrue(device().connected);
    }

    /** What a process that died before its device was attached has left. */
    @Test
    void aDeviceThatNobodyHasIsMadeAnew() throws Exception {
        kernel.devices.put(NAME, kernel.new Device(NAME, 1L << 33, new byte[8], 7));
        BlockExport export = open();
        assertEquals(2, device().rings.length);
        assertEquals(false, export.details().get("taken-over"));
    }

    // ---- Messages and rings

    @Test
    void requestsAreServedAndTheDriverIsInterrupted() throws Exception {
        open();
        FakeVirtqueue.Split ring = attach();
        serves(ring);
        data(1).fill((byte) 7);
        int id = add(ring, 1, OUT, 4);
        device().rings[0].kick();
        assertEquals(new Used(id, 1), await(ring));
        assertEquals(7, node.bytes.get(ValueLayout.JAVA_BYTE, 4 * 512));
        assertEquals(2, device().ask(0, 0, 0)[4], "position after two requests");
    }

    /** The kernel notes DRIVER_OK after it was answered; an interrupt before that is lost. */
    @Test
    void interruptsThatCameTooEarlyAreRepeated() throws Exception {
        open();
        device().attached = true;
        var ring = new FakeVirtqueue.Split(device().bytes(), SIZE, FEATURES);
        add(ring, 0, IN, 1);
        device().early = 5;
        device().start(0, SIZE, FEATURES, ring.avail, ring.used);
        await(ring);
        assertEquals(0, status(0));
    }

    @Test
    void aResizeReachesTheDriver() throws Exception {
        open();
        node.resize(DISK / 2); // nobody to interrupt
        attach();
        node.resize(2 * DISK);
        device().configInterrupts.await();
        assertEquals(2 * DISK / 512, MemorySegment.ofArray(device().config).get(U64, 0));
    }

    @Test
    void memoryThatChangesIsLookedUpAgain() throws Exception {
        open();
        FakeVirtqueue.Split ring = attach();
        serves(ring);
        // The same rings at the same addresses, in other memory
        MemorySegment before = device().bytes();
        device().newMemory();
        device().bytes().copyFrom(before);
        assertEquals(0, device().ask(2, 0, -1)[0]);
        var moved = new FakeVirtqueue.Split(device().bytes(), SIZE, FEATURES);
        moved.poll().orElseThrow(); // what was given back before
        moved.availableIndex(1);
        moved.descriptor(9, SharedMemory.BASE + HEADER, 16, 1, 10);
        moved.descriptor(10, SharedMemory.BASE + DATA, 512, 3, 11);
        moved.descriptor(11, SharedMemory.BASE + STATUS, 1, 2, 0);
        data(0).fill((byte) 0);
        moved.available(9);
        device().rings[0].kick();
        assertEquals(new Used(9, 513), await(moved));
        assertEquals((byte) 0x5a, data(0).get(ValueLayout.JAVA_BYTE, 0));
    }

    @Test
    void aResetBeginsAnew() throws Exception {
        open();
        serves(attach());
        assertTrue(device().status(0));
        device().newMemory();
        serves(start());
    }

    @Test
    void memoryThatMayOnlyBeReadIsNotWritten() throws Exception {
        open();
        device().permission = 1;
        FakeVirtqueue.Split ring = attach();
        add(ring, 0, IN, 1);
        device().rings[0].kick();
        assertTrue(device().status(0)); // the queue could not even be opened; nothing was written
        assertEquals(-1, status(0));
    }

    @Test
    void messagesThatMakeNoSenseAreRefused() throws Exception {
        open();
        attach();
        assertNull(device().ask(0, 2, 0), "a queue that is not there");
        assertNull(device().ask(0, -1, 0), "a queue that is not there");
        assertNull(device().ask(77, 0, 0), "an unknown message");
        assertTrue(device().status(0));
        device().accepted = 1L << 33;
        assertFalse(device().status(15), "a driver without VIRTIO 1");
    }

    @Test
    void aDriverThatBreaksARingLosesItUntilTheReset() throws Exception {
        open();
        FakeVirtqueue.Split ring = attach();
        ring.descriptor(0, 0xdead_0000L, 16, 0, 0);
        ring.available(0);
        device().rings[0].kick();
        assertTrue(device().status(0));
        serves(start());
    }

    // ---- The end

    @Test
    void anAttachedDeviceIsInUse() throws Exception {
        BlockExport export = open();
        assertFalse(export.inUse());
        attach();
        assertTrue(export.inUse());
        detach();
        assertFalse(export.inUse());
        export.requestRemoval();
        closes(export);
        assertTrue(kernel.devices.isEmpty());
        assertTrue(node.calls.contains("flush"));
    }

    @Test
    void aHiddenExportStaysForItsDriverAndTakesNoOther() throws Exception {
        BlockExport export = open();
        FakeVirtqueue.Split ring = attach();
        export.requestHide(false);
        serves(ring);
        assertTrue(device().status(0));
        assertFalse(device().status(1), "another driver");
        assertFalse(export.closed().toCompletableFuture().isDone());
        detach();
        closes(export);
        assertTrue(kernel.devices.isEmpty());
    }

    @Test
    void aSoftlyRemovedExportFailsRequests() throws Exception {
        BlockExport export = open();
        FakeVirtqueue.Split ring = attach();
        export.requestHide(true);
        add(ring, 0, OUT, 1);
        device().rings[0].kick();
        await(ring);
        assertEquals(1, status(0), "IOERR");
        detach();
        closes(export);
    }

    @Test
    void aRemovedDiskIsUnplugged() throws Exception {
        BlockExport export = open();
        attach();
        export.requestRemoval();
        closes(export);
        assertEquals(NAME, Files.readString(bus.resolve("drivers/virtio_vdpa/unbind")));
    }

    // ---- Recovery

    @Test
    void aDeviceLeftAttachedIsTakenOver() throws Exception {
        BlockExport first = open();
        FakeVirtqueue.Split ring = attach();
        serves(ring);
        first.requestShutdown();
        closes(first);
        assertTrue(Files.exists(log()));
        int id = add(ring, 1, IN, 1);
        device().rings[0].kick(); // nobody hears it
        node.resize(2 * DISK);
        BlockExport second = open();
        assertEquals(true, second.details().get("taken-over"));
        assertEquals(new Used(id, 513), await(ring));
        assertEquals(2 * DISK / 512, MemorySegment.ofArray(device().config).get(U64, 0));
        serves(ring);
        detach();
        second.requestShutdown();
        closes(second);
        assertFalse(Files.exists(log()));
    }

    /** Three requests were taken, the second one was given back; then the process dies. */
    @Test
    void whatADeadProcessHadTakenIsExecutedOnce() throws Exception {
        open();
        FakeVirtqueue.Split ring = attach();
        node.cold = true;
        node.held = true;
        var ids = new ArrayList<Integer>();
        for (int i = 0; i < 3; i++) {
            data(i).fill((byte) (i + 1));
            ids.add(add(ring, i, OUT, i));
        }
        device().rings[0].kick();
        awaitTrue(() -> node.heldBack() == 3);
        node.release(1);
        assertEquals(new Used(ids.get(1), 1), await(ring));

        // The world as the death of the process leaves it now
        FakeKernel.Device before = device();
        byte[] log = Files.readAllBytes(log());
        kernel = new FakeKernel();
        before.copyInto(kernel);
        logs = Files.createDirectories(directory.resolve("shm2"));
        Files.write(log(), log);
        node.calls.clear();
        node.held = false;
        BlockExport successor = open();
        var after = new FakeVirtqueue.Split(device().bytes(), SIZE, FEATURES);
        after.poll().orElseThrow(); // of the dead process
        var again = List.of(await(after).id(), await(after).id());
        assertEquals(List.of(ids.get(0), ids.get(2)), again);
        assertEquals(List.of("write", "write"), node.calls);
        assertEquals(1, node.bytes.get(ValueLayout.JAVA_BYTE, 0));
        assertEquals(3, node.bytes.get(ValueLayout.JAVA_BYTE, 2 * 512));
        assertEquals(3, device().ask(0, 0, 0)[4], "position");
        device().attached = false;
        successor.requestShutdown();
        closes(successor);
    }

    /** VIRTIO 1.3 section 5.2.6.2, also for who takes the device over. */
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aDriverThatDoesNotFlushGetsNoWriteCache(boolean flush) throws Exception {
        BlockExport first = open();
        assertTrue(node.writeCache());
        long features = FEATURES | (flush ? VirtioBlk.F_FLUSH : 0);
        device().attached = true;
        var ring = new FakeVirtqueue.Split(device().bytes(), SIZE, features);
        device().start(0, SIZE, features, ring.avail, ring.used);
        assertEquals(flush, node.writeCache());
        first.requestShutdown();
        closes(first);

        node.writeCache(true); // another handle on it
        BlockExport second = open();
        assertEquals(true, second.details().get("taken-over"));
        assertEquals(flush, node.writeCache());
        assertTrue(device().status(0));
        assertTrue(node.writeCache(), "until the next driver has negotiated");
        device().attached = false;
        second.requestShutdown();
        closes(second);
    }

    @Test
    void aPackedRingIsServedAndTakenOver() throws Exception {
        BlockExport first = open();
        long features = FEATURES | Virtqueue.F_RING_PACKED;
        device().attached = true;
        var ring = new FakeVirtqueue.Packed(device().bytes(), SIZE, features);
        device().start(0, SIZE, features, 0x30000, 0x30010);
        serves(ring);
        assertEquals(3, device().ask(0, 0, 0)[6], "available index behind three descriptors");
        first.requestShutdown();
        closes(first);
        int id = add(ring, 1, IN, 1);
        BlockExport second = open();
        assertEquals(new Used(id, 513), await(ring));
        serves(ring);
        device().attached = false;
        second.requestShutdown();
        closes(second);
    }

    /** The interrupt for what the dead process had given back may never have been sent. */
    @Test
    void aTakenOverDriverIsInterrupted() throws Exception {
        BlockExport first = open();
        attach();
        first.requestShutdown();
        closes(first);
        device().rings[0].interrupts.clear();
        open();
        assertTrue(device().rings[0].interrupts.await() > 0);
    }

    @ParameterizedTest(name = "{3}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    3 |  512 | true  | is attached with another number of queues
                    1 |  512 | true  | is attached with another number of queues
                    2 | 4096 | true  | is of a device with other queues, block size or features
                    2 |  512 | false | is of a device with other queues, block size or features
                    """)
    void anotherDeviceIsNotTakenOver(int queues, long blockSize, boolean writable, String why)
            throws Exception {
        BlockExport first = open();
        FakeVirtqueue.Split ring = attach();
        first.requestShutdown();
        closes(first);
        String message =
                assertThrows(
                                QmpException.class,
                                () -> driver().open(spec(NAME, queues, SIZE, blockSize, writable)))
                        .getMessage();
        assertTrue(message.startsWith("failed to create vduse device: "), message);
        assertTrue(message.contains(why), message);
        assertFalse(device().connected);
        open();
        serves(ring);
        detach();
    }

    /** Everybody may make files in /dev/shm. */
    @Test
    void aLogIsNeitherALinkNorShared() throws Exception {
        BlockExport first = open();
        attach();
        assertEquals("rw-------", permissions(log()));
        first.requestShutdown();
        closes(first);
        Path elsewhere = Files.write(directory.resolve("elsewhere"), new byte[] {1});
        Files.delete(log());
        Files.createSymbolicLink(log(), elsewhere);
        assertThrows(QmpException.class, () -> driver().open(spec(NAME, 2, SIZE, 512, true)));
        assertArrayEquals(new byte[] {1}, Files.readAllBytes(elsewhere));
    }

    private static String permissions(Path path) throws Exception {
        return PosixFilePermissions.toString(Files.getPosixFilePermissions(path));
    }
}

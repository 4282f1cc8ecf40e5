package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.cached;
import static io.blockwharf.core.graph.FakeDriver.options;
import static io.blockwharf.core.graph.FakeDriver.over;
import static io.blockwharf.core.graph.FakeDriver.readOnly;
import static io.blockwharf.core.graph.FakeDriver.with;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.BlockdevOptions.Discard;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadMXBean;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.atomic.AtomicBoolean;

/** What core does to the requests of a node's users. */
@Timeout(120)
class NodeHandleTest {
    private final List<String> log = new ArrayList<>();
    private final BlockGraph graph = new BlockGraph(new ControlLock(), Fakes.logger(log));
    private final FakeDriver driver = new FakeDriver();
    private final MemorySegment memory = Arena.ofAuto().allocate(4 << 20, 4096);
    private final IoVector vector = new IoVector(Arena.ofAuto(), 16);

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    private BlockNode open(FakeImage image, BlockdevOptions options) {
        driver.maker = _ -> image;
        graph.add(options);
        Set<Permission> taken = EnumSet.of(Permission.CONSISTENT_READ);
        if (!options.readOnly().orElse(false)) {
            taken.add(Permission.WRITE);
            taken.add(Permission.RESIZE);
        }
        String name = options.nodeName().orElseThrow();
        return graph.attach(graph.find(name).orElseThrow(), () -> {}, taken, Permission.all());
    }

    private BlockNode open(FakeImage image) {
        return open(image, options("n"));
    }

    private IoVector buffer(long bytes) {
        return vector.set(memory, 0, bytes);
    }

    private IoVector filled(long bytes, int value) {
        memory.asSlice(0, bytes).fill((byte) value);
        return buffer(bytes);
    }

    private static Errno errno(Executable action) {
        return assertThrows(BlockIoException.class, action).errno();
    }

    // --- Range and permission ------------------------------------------------------------------

    @ParameterizedTest(name = "{0}+{1} of 4096: {2}")
    @CsvSource({
        "0,    4096, true",
        "4095, 1,    true",
        "4096, 0,    true",
        "0,    0,    true",
        "4096, 1,    false",
        "4097, 0,    false",
        "0,    4097, false",
        "-1,   1,    false",
        "-512, 512,  false",
        "9223372036854775807, 1, false",
        "9223372036854775807, 4096, false",
    })
    void range(long offset, int bytes, boolean inside) throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image);
        IoVector data = filled(bytes, 1);
        List<Executable> requests =
                List.of(
                        () -> node.read(offset, data),
                        () -> node.tryRead(offset, data),
                        () -> node.write(offset, data, 0),
                        () -> node.tryWrite(offset, data, 0),
                        () -> node.writeZeroes(offset, bytes, 0),
                        () -> node.discard(offset, bytes));
        for (Executable request : requests) {
            if (inside) {
                assertTrue(succeeds(request));
            } else {
                assertEquals(Errno.EINVAL, errno(request));
            }
        }
        if (!inside || bytes == 0) {
            assertEquals(List.of(), image.calls);
            assertEquals(Optional.empty(), node.hostExtent(offset, bytes));
        }
    }

    private static boolean succeeds(Executable request) {
        try {
            request.execute();
            return true;
        } catch (Throwable e) {
            throw new AssertionError(e);
        }
    }

    @Test
    void writesNeedThePermission() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image);
        node.permissions(Set.of(Permission.CONSISTENT_READ), Permission.all());
        IoVector data = filled(512, 1);
        assertEquals(Errno.EPERM, errno(() -> node.write(0, data, 0)));
        assertEquals(Errno.EPERM, errno(() -> node.tryWrite(0, data, 0)));
        assertEquals(Errno.EPERM, errno(() -> node.writeZeroes(0, 512, 0)));
        assertEquals(Errno.EPERM, errno(() -> node.discard(0, 512)));
        assertEquals(Errno.EPERM, errno(() -> node.resize(512)));
        node.read(0, data);
        node.flush();
        assertEquals(List.of("read 0+512", "flush"), image.calls);
    }

    // --- Generic options -----------------------------------------------------------------------

    @Test
    void writeCacheOffForcesUnitAccess() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image);
        node.writeCache(false);
        assertFalse(node.writeCache());
        node.write(0, filled(512, 1), 0);
        assertTrue(node.tryWrite(0, buffer(512), 0));
        node.writeZeroes(0, 512, RequestFlags.NO_FALLBACK);
        node.writeCache(true);
        node.write(0, buffer(512), 0);
        node.write(0, buffer(512), RequestFlags.FUA);
        assertEquals(
                List.of(
                        "write 0+512 fua",
                        "write 0+512 fua",
                        "zero 0+512 fua fast",
                        "write 0+512",
                        "write 0+512 fua"),
                image.calls);
    }

    /**
     * Compiled code must look each time: it would be free to keep what it has read of a plain field
     * for as long as the loop lasts. The thread that looks gets the time to be compiled first.
     */
    @Test
    @Timeout(60)
    void aThreadThatServesSeesTheWriteCacheSwitched() throws Exception {
        BlockNode node = open(new FakeImage(4096));
        Thread serving =
                Thread.ofPlatform()
                        .daemon()
                        .start(
                                () -> {
                                    while (node.writeCache()) {
                                        // looks again
                                    }
                                });
        ThreadMXBean times = ManagementFactory.getThreadMXBean();
        while (times.getThreadCpuTime(serving.threadId()) < 500_000_000) {
            Thread.sleep(10);
        }
        node.writeCache(false);
        serving.join();
    }

    @Test
    void noFlushIgnoresFlushesAndForcedUnitAccess() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image, cached(options("n"), false, true));
        node.flush();
        node.write(0, filled(512, 1), RequestFlags.FUA);
        assertEquals(List.of("write 0+512"), image.calls);
    }

    @Test
    void discardIsIgnoredByDefault() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image);
        node.discard(0, 512);
        node.writeZeroes(0, 512, RequestFlags.MAY_UNMAP);
        assertEquals(List.of("zero 0+512"), image.calls);
    }

    @Test
    void discardUnmapPassesOn() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image, with(options("n"), Discard.UNMAP));
        node.discard(0, 512);
        node.writeZeroes(0, 512, RequestFlags.MAY_UNMAP);
        assertEquals(List.of("discard 0+512", "zero 0+512 unmap"), image.calls);
    }

    @ParameterizedTest
    @CsvSource({"OFF, write 0+1024", "ON, zero 0+1024", "UNMAP, zero 0+1024 unmap"})
    void detectZeroes(DetectZeroes mode, String call) throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image, with(with(options("n"), Discard.UNMAP), mode));
        node.write(0, filled(1024, 0), 0);
        memory.set(ValueLayout.JAVA_BYTE, 1023, (byte) 1);
        node.write(0, buffer(1024), 0);
        assertEquals(List.of(call, "write 0+1024"), image.calls);
        assertEquals(mode == DetectZeroes.OFF, node.tryWrite(0, filled(1024, 0), 0));
    }

    // --- Sizes that are not whole sectors ------------------------------------------------------

    @Test
    void sizeIsRoundedUpToSectors() {
        assertEquals(1049088, open(new FakeImage(1048579)).length());
    }

    @Test
    void tailReadsAsZeroes() throws BlockIoException {
        FakeImage image = new FakeImage(515);
        image.memory().asSlice(0, 1024).fill((byte) 7);
        BlockNode node = open(image);
        assertFalse(node.tryRead(512, filled(512, 1)));
        node.read(512, buffer(512));
        assertEquals(7, memory.get(ValueLayout.JAVA_BYTE, 2));
        assertEquals(-1, nonZero(3, 512));
        node.read(600, filled(100, 1));
        assertEquals(-1, nonZero(0, 100));
        assertEquals(List.of("read 512+3"), image.calls);
    }

    private long nonZero(long from, long to) {
        for (long i = from; i < to; i++) {
            if (memory.get(ValueLayout.JAVA_BYTE, i) != 0) {
                return i;
            }
        }
        return -1;
    }

    @Test
    void writeIntoTheTailMakesTheImageWhole() throws BlockIoException {
        FakeImage image = new FakeImage(515);
        BlockNode node = open(image);
        int[] resizes = new int[1];
        node.onResize(() -> resizes[0]++);
        node.write(514, filled(1, 9), 0);
        node.write(515, filled(2, 9), 0);
        node.write(1023, filled(1, 9), 0);
        assertEquals(
                List.of("write 514+1", "resize 1024", "write 515+2", "write 1023+1"), image.calls);
        assertEquals(1024, node.length());
        assertEquals(0, resizes[0]);
    }

    @Test
    void zeroesAndDiscardsStopAtTheImagesEnd() throws BlockIoException {
        FakeImage image = new FakeImage(515);
        BlockNode node = open(image, with(options("n"), Discard.UNMAP));
        node.writeZeroes(512, 512, 0);
        node.writeZeroes(600, 10, 0);
        node.discard(0, 1024);
        assertEquals(List.of("zero 512+3", "discard 0+515"), image.calls);
    }

    @Test
    void tailIsHole() throws BlockIoException {
        BlockNode node = open(new FakeImage(515));
        assertEquals(Extent.data(0, 515), node.extentAt(0, 1024));
        assertEquals(Extent.hole(515, 509), node.extentAt(515, 1));
        assertEquals(Errno.EINVAL, errno(() -> node.extentAt(1024, 1)));
        assertEquals("data 515 zero 509 ", runs(node, 0));
        assertEquals("data 3 zero 509 ", runs(node, 512));
        assertEquals("data 2 zero 509 ", runs(node, 513));
        assertEquals("zero 9 ", runs(node, 1015));
        assertEquals(Errno.EINVAL, errno(() -> node.extents(1024, 1, (_, _, _, _) -> true)));
    }

    /** What a walk from an offset to the end is told. */
    private static String runs(BlockNode node, long offset) throws BlockIoException {
        StringBuilder told = new StringBuilder();
        long[] at = {offset};
        while (at[0] < node.length()) {
            node.extents(
                    at[0],
                    node.length() - at[0],
                    (length, data, zero, _) -> {
                        assertEquals(data, !zero);
                        told.append(data ? "data " : "zero ").append(length).append(' ');
                        at[0] += length;
                        return at[0] < node.length();
                    });
        }
        return told.toString();
    }

    // --- Requests that do not fit ----------------------------------------------------------------

    @Test
    void longRequestsAreCutUp() throws BlockIoException {
        FakeImage image = new FakeImage(1 << 20, new BlockLimits(1, 1, 0, 1000, 1));
        BlockNode node = open(image);
        node.write(1, filled(2500, 5), RequestFlags.FUA);
        node.read(0, buffer(2000));
        assertEquals(
                List.of(
                        "write 1+1000 fua",
                        "write 1001+1000 fua",
                        "write 2001+500 fua",
                        "read 0+1000",
                        "read 1000+1000"),
                image.calls);
        assertEquals(0, memory.get(ValueLayout.JAVA_BYTE, 0));
        assertEquals(5, memory.get(ValueLayout.JAVA_BYTE, 1999));
    }

    @Test
    void alignedRequestsOfAlignedMemoryPassStraight() throws BlockIoException {
        FakeImage image = FakeImage.aligned(1 << 20, 512);
        BlockNode node = open(image);
        node.write(512, filled(1024, 1), 0);
        node.read(512, buffer(1024));
        assertTrue(node.tryRead(0, buffer(512)));
        assertEquals(List.of("write 512+1024", "read 512+1024", "read 0+512"), image.calls);
    }

    @Test
    void misalignedMemoryIsCopiedWithoutReading() throws BlockIoException {
        FakeImage image = FakeImage.aligned(1 << 20, 512);
        BlockNode node = open(image);
        memory.asSlice(1, 512).fill((byte) 3);
        node.write(512, vector.set(memory, 1, 512), 0);
        assertFalse(node.tryWrite(512, vector, 0));
        assertFalse(node.tryRead(512, vector));
        node.read(512, vector);
        assertEquals(List.of("write 512+512", "read 512+512"), image.calls);
        assertEquals(3, image.memory().get(ValueLayout.JAVA_BYTE, 1023));
    }

    @Test
    void partOfBlockIsReadChangedAndWritten() throws BlockIoException {
        FakeImage image = FakeImage.aligned(1 << 20, 512);
        BlockNode node = open(image);
        node.write(100, filled(10, 1), 0);
        node.write(500, filled(1000, 2), RequestFlags.FUA);
        node.writeZeroes(510, 1100, 0);
        assertEquals(
                List.of(
                        "read 0+512",
                        "write 0+512",
                        "read 0+512",
                        "read 1024+512",
                        "write 0+1536 fua",
                        "read 0+512",
                        "write 0+512",
                        "zero 512+1024",
                        "read 1536+512",
                        "write 1536+512"),
                image.calls);
    }

    @Test
    void discardOfPartsOfBlocksIsDropped() throws BlockIoException {
        FakeImage image = FakeImage.aligned(1 << 20, 512);
        BlockNode node = open(image, with(options("n"), Discard.UNMAP));
        node.discard(1, 1022);
        node.discard(1, 1600);
        assertEquals(List.of("discard 512+1024"), image.calls);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 512, 4096})
    void anyRequestsDoWhatAnArrayDoes(int alignment) throws BlockIoException {
        int size = 300 << 10;
        FakeImage image = new FakeImage(size, new BlockLimits(alignment, alignment, 0, 1 << 16, 1));
        BlockNode node = open(image, with(options("n"), DetectZeroes.ON));
        byte[] model = new byte[size];
        Random random = new Random(alignment);
        for (int i = 0; i < 3000; i++) {
            int unit = random.nextInt(3) == 0 ? 512 : 1;
            int offset = random.nextInt(size / unit) * unit;
            int bytes = random.nextInt(1, random.nextBoolean() ? 2000 : 100_000);
            bytes = Math.min((bytes + unit - 1) / unit * unit, size - offset);
            int at = random.nextInt(2) * random.nextInt(512);
            int cut = random.nextInt(bytes + 1);
            vector.clear().add(memory, at, cut).add(memory, 2_000_000 + at, bytes - cut);
            switch (random.nextInt(4)) {
                case 0 -> {
                    node.writeZeroes(offset, bytes, 0);
                    Arrays.fill(model, offset, offset + bytes, (byte) 0);
                }
                case 1 -> {
                    node.read(offset, vector);
                    byte[] got = new byte[bytes];
                    vector.copyTo(MemorySegment.ofArray(got), 0);
                    assertEquals(
                            -1,
                            Arrays.mismatch(
                                    got, Arrays.copyOfRange(model, offset, offset + bytes)));
                }
                default -> {
                    byte[] data = new byte[bytes];
                    if (random.nextInt(5) > 0) {
                        random.nextBytes(data);
                    }
                    vector.copyFrom(MemorySegment.ofArray(data), 0);
                    node.write(offset, vector, 0);
                    System.arraycopy(data, 0, model, offset, bytes);
                }
            }
        }
        assertEquals(
                -1,
                MemorySegment.mismatch(
                        image.memory(), 0, size, MemorySegment.ofArray(model), 0, size));
    }

    @Test
    void writesIntoOneBlockDoNotUndoEachOther() throws Exception {
        FakeImage image = FakeImage.aligned(4096, 4096);
        BlockNode node = open(image);
        int threads = 8;
        CyclicBarrier start = new CyclicBarrier(threads);
        List<Thread> writers = new ArrayList<>();
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        for (int t = 0; t < threads; t++) {
            int mine = t;
            writers.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try (Arena arena = Arena.ofConfined()) {
                                            MemorySegment data = arena.allocate(512);
                                            IoVector own = new IoVector(arena, 1);
                                            for (int round = 1; round <= 100; round++) {
                                                start.await();
                                                data.fill((byte) round);
                                                node.write(mine * 512L, own.set(data, 0, 512), 0);
                                                start.await();
                                                node.read(mine * 512L, own);
                                                assertEquals(
                                                        (byte) round,
                                                        data.get(ValueLayout.JAVA_BYTE, 511));
                                            }
                                        } catch (Throwable e) {
                                            failures.add(e);
                                            start.reset();
                                        }
                                    }));
        }
        for (Thread writer : writers) {
            writer.join();
        }
        assertEquals(List.of(), failures);
    }

    @Test
    void lastBlockOfDirectImageIsReadWhole() throws BlockIoException {
        FakeImage image = FakeImage.aligned(5 * 512, 4096);
        image.memory().asSlice(0, 5 * 512).fill((byte) 4);
        BlockNode node = open(image, readOnly(options("n")));
        node.read(0, buffer(5 * 512));
        assertEquals(List.of("read 0+4096"), image.calls);
        assertEquals(4, memory.get(ValueLayout.JAVA_BYTE, 5 * 512 - 1));
    }

    @Test
    void imageMayReadTheLastBlockOfItsChildWhole() throws BlockIoException {
        FakeImage file = FakeImage.aligned(5 * 512, 4096);
        file.memory().asSlice(0, 4096).fill((byte) 4);
        open(file, options("file"));
        driver.maker = _ -> FakeImage.aligned(5 * 512, 4096);
        graph.add(readOnly(over("top", "file")));
        BlockNode child = driver.specs.get("top").child("file");
        child.read(0, filled(4096, 1));
        assertEquals(4, memory.get(ValueLayout.JAVA_BYTE, 5 * 512 - 1));
        assertEquals(0, memory.get(ValueLayout.JAVA_BYTE, 5 * 512));
        assertEquals(Errno.EINVAL, errno(() -> child.read(0, buffer(4097))));
        assertEquals(Errno.EINVAL, errno(() -> child.read(8192, buffer(512))));
        assertEquals(Errno.EINVAL, errno(() -> child.read(-4096, buffer(4096))));
    }

    @Test
    void writeIntoTheLastBlockOfDirectImageMakesItWhole() throws BlockIoException {
        FakeImage image = FakeImage.aligned(5 * 512, 4096);
        BlockNode node = open(image);
        node.write(4 * 512, filled(512, 1), 0);
        assertEquals(List.of("resize 4096", "read 0+4096", "write 0+4096"), image.calls);
        assertEquals(4096, node.length());
    }

    // --- Observers -------------------------------------------------------------------------------

    @Test
    void observersSeeEveryChangeWellOrBadlyDone() throws BlockIoException {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image, with(options("n"), Discard.UNMAP));
        List<String> seen = new ArrayList<>();
        WriteObserver observer = (offset, length) -> seen.add(offset + "+" + length);
        Node vertex = graph.find("n").orElseThrow();
        vertex.observe(observer);
        node.read(0, buffer(512));
        node.write(0, filled(10, 1), 0);
        node.writeZeroes(20, 30, 0);
        node.discard(100, 200);
        assertTrue(node.tryWrite(7, buffer(8), 0));
        node.write(4, buffer(0), 0);
        assertEquals(Errno.EINVAL, errno(() -> node.write(4096, buffer(1), 0)));
        image.failure = Optional.of(Errno.ENOSPC);
        assertEquals(Errno.ENOSPC, errno(() -> node.write(1, buffer(2), 0)));
        assertEquals(Errno.ENOSPC, errno(() -> node.tryWrite(3, buffer(4), 0)));
        assertEquals(List.of("0+10", "20+30", "100+200", "7+8", "4+0", "1+2", "3+4"), seen);
        vertex.unobserve(observer);
        image.failure = Optional.empty();
        node.write(0, buffer(1), 0);
        assertEquals(7, seen.size());
    }

    /** An image that is a file of the host as it is. */
    private static final class FileImage extends FakeImage {
        int direct;

        FileImage(long length) {
            super(length);
        }

        @Override
        public Optional<DirectAccess> directAccess(boolean write) {
            direct++;
            return Optional.of(
                    new DirectAccess() {
                        @Override
                        public int fd() {
                            return 42;
                        }

                        @Override
                        public void sizeChanged() throws BlockIoException {
                            resize(8192);
                        }

                        @Override
                        public void close() {
                            direct--;
                        }
                    });
        }
    }

    @Test
    void directAccessAndObserversKeepEachOtherOut() throws BlockIoException {
        FileImage image = new FileImage(4096);
        BlockNode node = open(image);
        Node vertex = graph.find("n").orElseThrow();
        WriteObserver observer = (_, _) -> {};
        int[] resizes = new int[1];
        node.onResize(() -> resizes[0]++);
        DirectAccess access = node.directAccess(true).orElseThrow();
        assertEquals(42, access.fd());
        assertEquals(
                "Node 'n' is in direct use by an export",
                assertThrows(QmpException.class, () -> vertex.observe(observer)).getMessage());
        assertThrows(IllegalStateException.class, () -> node.writeCache(false));
        access.sizeChanged();
        assertEquals(8192, node.length());
        assertEquals(1, resizes[0]);
        access.close();
        access.close();
        assertEquals(0, image.direct);
        assertTrue(node.directAccess(false).isPresent());
        node.close();
        assertEquals(0, image.direct);
        vertex.observe(observer);
        assertFalse(vertex.directBegins());
    }

    @Test
    void directAccessIsRefusedWhereCoreHasToSeeRequests() {
        BlockNode plain = open(new FakeImage(4096), options("plain"));
        BlockNode odd = open(new FileImage(4097), options("odd"));
        BlockNode zeroes = open(new FileImage(4096), with(options("zeroes"), DetectZeroes.ON));
        BlockNode through = open(new FileImage(4096), options("through"));
        BlockNode reader = open(new FileImage(4096), readOnly(options("reader")));
        through.writeCache(false);
        assertEquals(Optional.empty(), plain.directAccess(false));
        assertEquals(Optional.empty(), odd.directAccess(false));
        assertEquals(Optional.empty(), zeroes.directAccess(false));
        assertEquals(Optional.empty(), through.directAccess(false));
        assertEquals(Optional.empty(), reader.directAccess(true));
        assertTrue(reader.directAccess(false).isPresent());
    }

    // --- Size ------------------------------------------------------------------------------------

    @Test
    void resizeReachesUsersOfTheNodeAndOfItsParents() throws BlockIoException {
        FakeImage file = new FakeImage(4096);
        BlockNode node = open(file, options("file"));
        // As a filter has it: the child's size is its own
        driver.maker =
                name ->
                        new FakeImage(0) {
                            @Override
                            public long length() {
                                return driver.specs.containsKey(name)
                                        ? driver.specs.get(name).child("file").length()
                                        : 4096;
                            }
                        };
        graph.add(over("top", "file"));
        BlockNode top =
                graph.attach(
                        graph.find("top").orElseThrow(),
                        () -> {},
                        Set.of(Permission.CONSISTENT_READ),
                        Permission.all());
        List<String> heard = new ArrayList<>();
        node.onResize(() -> heard.add("file " + node.length()));
        top.onResize(() -> heard.add("top " + top.length()));
        node.resize(10_000);
        assertEquals(Set.of("file 10240", "top 10240"), Set.copyOf(heard));
        top.close();
        node.resize(512);
        assertEquals("file 512", heard.getLast());
        assertEquals(3, heard.size());
        assertEquals(Errno.EINVAL, errno(() -> node.read(512, buffer(1))));
    }

    @Test
    void failedResizeTellsNobody() {
        FakeImage image = new FakeImage(4096);
        BlockNode node = open(image);
        node.onResize(() -> log.add("resized"));
        image.failure = Optional.of(Errno.ENOSPC);
        assertEquals(Errno.ENOSPC, errno(() -> node.resize(8192)));
        assertEquals(Errno.EINVAL, errno(() -> node.resize(-1)));
        assertEquals(4096, node.length());
        assertEquals(List.of(), log);
    }

    // --- Changes of the graph under way ----------------------------------------------------------

    @Test
    void requestsGoOnWhileTheGraphChanges() throws Exception {
        FakeImage image =
                new FakeImage(1 << 20) {
                    @Override
                    public void write(long offset, IoVector from, int flags) {
                        from.copyTo(memory(), offset);
                    }

                    @Override
                    public void read(long offset, IoVector into) {
                        into.copyFrom(memory(), offset);
                    }
                };
        BlockNode node = open(image);
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        CyclicBarrier start = new CyclicBarrier(3);
        AtomicBoolean done = new AtomicBoolean();
        List<Thread> users = new ArrayList<>();
        for (int t = 0; t < 2; t++) {
            int mine = t;
            users.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try (Arena arena = Arena.ofConfined()) {
                                            IoVector own =
                                                    new IoVector(arena, 1)
                                                            .set(arena.allocate(512), 0, 512);
                                            start.await();
                                            while (!done.get()) {
                                                node.write(mine * 512L, own, 0);
                                                node.read(mine * 512L, own);
                                            }
                                        } catch (Throwable e) {
                                            failures.add(e);
                                        }
                                    }));
        }
        start.await();
        driver.maker = _ -> new FakeImage(4096);
        for (int round = 0; round < 300; round++) {
            graph.add(over("top", "n"));
            BlockNode top =
                    graph.attach(
                            graph.find("top").orElseThrow(),
                            () -> {},
                            Set.of(Permission.WRITE),
                            Permission.all());
            node.resize((1 << 20) + round * 512L);
            node.permissions(
                    Set.of(Permission.WRITE, Permission.CONSISTENT_READ, Permission.RESIZE),
                    Permission.all());
            node.openQueue(4).close();
            top.close();
            graph.remove("top");
        }
        done.set(true);
        for (Thread user : users) {
            user.join();
        }
        assertEquals(List.of(), failures);
    }
}

package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.backedBy;
import static io.blockwharf.core.graph.FakeDriver.options;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;

/** Dirty bitmaps and their commands; texts are QEMU's. The node "n" has 1 MiB. */
class BitmapTest {
    private static final int SIZE = 1 << 20;

    private final ControlLock lock = new ControlLock();
    private final BlockGraph graph = new BlockGraph(lock, Fakes.logger(new ArrayList<>()));
    private final Bitmaps bitmaps = new Bitmaps(graph, lock);

    @BeforeEach
    void makeNode() {
        graph.addDriver(new FakeDriver(), FakeDriver.PROPERTIES);
        graph.add(options("n"));
    }

    private void add(String name, long granularity) {
        bitmaps.add("n", name, Optional.of(granularity), false, false);
    }

    private Bitmap bitmap(String name) {
        return graph.find("n").orElseThrow().bitmaps.get(name);
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    private String runs(String name) {
        StringBuilder text = new StringBuilder();
        for (long at = 0; at < SIZE; ) {
            long end = bitmap(name).runEnd(at, SIZE);
            assertTrue(end > at);
            if (bitmap(name).isDirty(at)) {
                text.append(at).append('-').append(end).append(' ');
            }
            at = end;
        }
        return text.toString().trim();
    }

    @ParameterizedTest(name = "granularity {0}: {1}+{2} -> {3}")
    @CsvSource({
        "512, 0, 1, 0-512",
        "512, 511, 2, 0-1024",
        "512, 32768, 512, 32768-33280",
        "4096, 1048575, 1, 1044480-1048576",
        "65536, 65535, 1, 0-65536",
        "65536, 65535, 2, 0-131072",
        "512, 0, 1048576, 0-1048576",
        "512, 1000, 100000, 512-101376",
        "512, 0, 0, ''",
        "1048576, 5, 5, 0-1048576",
        "2097152, 5, 5, 0-1048576",
    })
    void whatIsWrittenIsDirty(long granularity, long offset, long length, String dirty) {
        add("b", granularity);
        bitmap("b").changed(offset, length);
        assertEquals(dirty, runs("b"));
    }

    @Test
    void requestsOfEveryKindOfWriteAreRecorded() throws Exception {
        add("b", 4096);
        try (Arena arena = Arena.ofConfined();
                BlockNode user =
                        graph.attach(
                                graph.find("n").orElseThrow(),
                                () -> {},
                                EnumSet.of(Permission.WRITE),
                                Permission.all())) {
            IoVector block = new IoVector(arena, 1).set(arena.allocate(512), 0, 512);
            user.write(8192, block, 0);
            user.tryWrite(20000, block, 0);
            user.writeZeroes(40960, 4096, 0);
            user.discard(81920, 4096); // the node ignores it
            user.read(900000, block);
        }
        assertEquals("8192-12288 16384-24576 40960-45056", runs("b"));
    }

    @Test
    void disabledBitmapsRecordNothing() {
        bitmaps.add("n", "b", Optional.of(512L), false, true);
        bitmap("b").changed(0, 512);
        bitmaps.enable("n", "b", true);
        bitmap("b").changed(1024, 512);
        bitmaps.enable("n", "b", false);
        bitmap("b").changed(4096, 512);
        assertEquals("1024-1536", runs("b"));
        bitmaps.clear("n", "b");
        assertEquals("", runs("b"));
        assertEquals(0, bitmap("b").count());
    }

    @Test
    void mergeUnitesBitsOfAnyGranularity() {
        add("fine", 512);
        add("coarse", 65536);
        add("target", 4096);
        bitmap("fine").changed(0, 1);
        bitmap("coarse").changed(131072, 1);
        bitmap("target").changed(1044480, 1);
        bitmaps.merge(
                "n",
                "target",
                List.of(
                        new Bitmaps.Source.Local("fine"),
                        new Bitmaps.Source.External("n", "coarse")));
        assertEquals("0-4096 131072-196608 1044480-1048576", runs("target"));
        assertEquals(4096 + 65536 + 4096, bitmap("target").count());
    }

    @Test
    void mergeOfSomethingMissingLeavesTheTarget() {
        add("a", 512);
        add("target", 512);
        bitmap("a").changed(0, 512);
        refused(
                "Dirty bitmap 'no' not found",
                () ->
                        bitmaps.merge(
                                "n",
                                "target",
                                List.of(
                                        new Bitmaps.Source.Local("a"),
                                        new Bitmaps.Source.Local("no"))));
        assertEquals("", runs("target"));
    }

    @ParameterizedTest(name = "{0} {1} {2} -> {3}")
    @CsvSource({
        "n, '', 512, Bitmap name cannot be empty",
        "x, b, 512, Cannot find device='x' nor node-name='x'",
        "n, b, 511, Granularity must be power of 2 and at least 512",
        "n, b, 256, Granularity must be power of 2 and at least 512",
        "n, b, 0, Granularity must be power of 2 and at least 512",
        "n, there, 512, Bitmap already exists: there",
    })
    void refusedBitmaps(String node, String name, long granularity, String message) {
        add("there", 512);
        refused(message, () -> bitmaps.add(node, name, Optional.of(granularity), false, false));
    }

    @Test
    void namesAndPersistenceHaveLimits() {
        String name = "x".repeat(1024);
        refused("Bitmap name too long: " + name, () -> add(name, 512));
        add(name.substring(1), 512);
        refused(
                "Can't store persistent bitmaps to n: Operation not supported",
                () -> bitmaps.add("n", "p", Optional.empty(), true, false));
    }

    @Test
    void unknownNodesAndBitmaps() {
        refused("Node 'x' not found", () -> bitmaps.remove("x", "b"));
        refused("Dirty bitmap 'b' not found", () -> bitmaps.remove("n", "b"));
        refused("Dirty bitmap 'b' not found", () -> bitmaps.clear("n", "b"));
        refused("Dirty bitmap 'b' not found", () -> bitmaps.enable("n", "b", true));
        refused("Dirty bitmap 'b' not found", () -> bitmaps.merge("n", "b", List.of()));
        refused("Node 'x' not found", () -> bitmaps.find("x", "b", true));
        assertTrue(bitmaps.find("n", "b", true).isEmpty());
    }

    @Test
    void busyBitmapsAreNotChangedButRecord() {
        add("b", 512);
        add("c", 512);
        String message = "Bitmap 'b' is currently in use by another operation and cannot be used";
        DirtyBitmap use = bitmaps.find("n", "b", false).orElseThrow().use();
        refused(message, () -> bitmaps.remove("n", "b"));
        refused(message, () -> bitmaps.clear("n", "b"));
        refused(message, () -> bitmaps.enable("n", "b", false));
        refused(message, () -> bitmaps.merge("n", "b", List.of(new Bitmaps.Source.Local("c"))));
        refused(message, () -> bitmaps.find("n", "b", false).orElseThrow().use());
        bitmap("b").changed(512, 1);
        assertTrue(use.isDirty(1000));
        assertFalse(use.isDirty(511));
        assertEquals(512, use.runEnd(0, SIZE));
        use.close();
        use.close();
        bitmaps.remove("n", "b");
        assertTrue(bitmaps.find("n", "b", false).isEmpty());
    }

    @Test
    void bitmapsOfBackingNodesAreFoundFromAbove() {
        graph.add(backedBy("top", options("base")));
        bitmaps.add("base", "b", Optional.empty(), false, false);
        assertEquals("b", bitmaps.find("top", "b", true).orElseThrow().name());
        assertTrue(bitmaps.find("top", "b", false).isEmpty());
    }

    @Test
    void grownNodeHasRoomForItsNewEnd() throws Exception {
        add("b", 512);
        bitmap("b").changed(0, SIZE);
        graph.resize(graph.find("n").orElseThrow(), 4 * SIZE);
        assertFalse(bitmap("b").isDirty(2 * SIZE));
        bitmap("b").changed(4 * SIZE - 1, 1);
        assertTrue(bitmap("b").isDirty(4 * SIZE - 1));
        assertEquals(SIZE, bitmap("b").runEnd(0, 4 * SIZE));
        graph.resize(graph.find("n").orElseThrow(), 512);
        bitmap("b").changed(4 * SIZE - 1, 1);
        assertFalse(bitmap("b").isDirty(4 * SIZE - 1));
    }

    /** Every bit that a thread has set is there, whatever the others and a resize do. */
    @Test
    void threadsDoNotLoseBits() throws Exception {
        add("b", 512);
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 4; t++) {
            int first = t;
            threads.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        for (int i = first; i < SIZE / 512; i += 4) {
                                            bitmap("b").changed(i * 512L, 512);
                                        }
                                    }));
        }
        graph.resize(graph.find("n").orElseThrow(), 8 * SIZE);
        for (Thread thread : threads) {
            thread.join();
        }
        assertEquals(SIZE, bitmap("b").count());
    }
}

package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.backedBy;
import static io.blockwharf.core.graph.FakeDriver.inactive;
import static io.blockwharf.core.graph.FakeDriver.options;
import static io.blockwharf.core.graph.FakeDriver.over;
import static io.blockwharf.core.graph.FakeDriver.readOnly;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.CompletableFuture;

/** Nodes that are left to somebody else, and taken back. */
@Timeout(120)
class ActivationTest {
    private static final int BLOCK = 4096;

    private final List<String> log = Collections.synchronizedList(new ArrayList<>());
    private final ControlLock lock = new ControlLock();
    private final BlockGraph graph = new BlockGraph(lock, Fakes.logger(log));
    private final Bitmaps bitmaps = new Bitmaps(graph, lock);
    private final FakeDriver driver = new FakeDriver();

    /** An image that notes when it is left and taken back, and keeps bitmaps if it is a format. */
    private static final class Switched extends FakeImage {
        final boolean format;
        final Store store;
        long grownTo;

        Switched(boolean format, Store store) {
            super(1 << 20);
            this.format = format;
            this.store = store;
        }

        @Override
        public boolean closedForOthers() {
            return format;
        }

        @Override
        public long length() {
            return Math.max(super.length(), grownTo);
        }

        @Override
        public void active(boolean active) {
            calls.add(active ? "active" : "inactive");
        }

        @Override
        public Optional<BitmapStore> bitmapStore() {
            return format ? Optional.of(store) : Optional.empty();
        }
    }

    /** The bitmaps in a file; who opens the image next finds them. */
    private static final class Store implements BitmapStore {
        final Set<String> names = new TreeSet<>();
        boolean failing;

        @Override
        public List<Stored> stored() {
            return names.stream().map(name -> new Stored(name, 512, true, false)).toList();
        }

        @Override
        public void load(String name, Dirty dirty) {
            dirty.run(0, 512);
        }

        @Override
        public void check(String name, long granularity) {}

        @Override
        public void store(List<Kept> kept, List<String> inconsistent) throws BlockIoException {
            if (failing) {
                throw new BlockIoException(Errno.ENOSPC, "full");
            }
            names.clear();
            kept.forEach(each -> names.add(each.bitmap().name()));
        }
    }

    private final Store store = new Store();

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
        driver.maker = name -> new Switched(name.startsWith("q"), store);
    }

    private Node node(String name) {
        return graph.find(name).orElseThrow();
    }

    private Switched image(String name) {
        return (Switched) driver.images.get(name);
    }

    private String inactiveNodes() {
        Set<String> names = new TreeSet<>();
        graph.nodes().stream().filter(each -> !each.active()).forEach(each -> names.add(each.name));
        return String.join(" ", names);
    }

    private BlockNode writer(String name, boolean allowsInactive) {
        NodeUser user =
                new NodeUser() {
                    @Override
                    public void evict() {}

                    @Override
                    public boolean allowsInactive() {
                        return allowsInactive;
                    }
                };
        return graph.attach(
                node(name),
                user,
                EnumSet.of(Permission.CONSISTENT_READ, Permission.WRITE),
                EnumSet.complementOf(EnumSet.of(Permission.RESIZE)));
    }

    private BlockNode reader(String name) {
        return graph.attach(
                node(name), () -> {}, EnumSet.of(Permission.CONSISTENT_READ), Permission.all());
    }

    private void set(String name, boolean active) {
        graph.setActive(Optional.of(name), active);
    }

    private void setAll(boolean active) {
        graph.setActive(Optional.empty(), active);
    }

    private static IoVector buffer() {
        MemorySegment memory = Arena.ofAuto().allocate(BLOCK, BLOCK);
        return new IoVector(Arena.ofAuto(), 1).set(memory, 0, BLOCK);
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    // --- Which nodes -------------------------------------------------------------------------

    @Test
    void aNodeTakesThoseBelowWithIt() {
        graph.add(over("q", options("f")));
        graph.add(options("apart"));
        set("q", false);
        assertEquals("f q", inactiveNodes());
        set("q", false);
        set("f", true);
        assertEquals("q", inactiveNodes());
        set("q", true);
        assertEquals("", inactiveNodes());
        refused("Node has active parent node", () -> set("f", false));
        refused("Failed to find node with node-name='x'", () -> set("x", false));
    }

    @Test
    void whatAnActiveNodeNeedsStaysActive() {
        graph.add(readOnly(options("base")));
        graph.add(over("a", "base"));
        graph.add(over("b", "base"));
        set("a", false);
        assertEquals("a", inactiveNodes());
        set("b", false);
        assertEquals("a b base", inactiveNodes());
        set("a", true);
        assertEquals("b", inactiveNodes());
        setAll(false);
        assertEquals("a b base", inactiveNodes());
        setAll(true);
        assertEquals("", inactiveNodes());
    }

    @Test
    void nodesAreAddedInactive() {
        graph.add(inactive(options("q")));
        assertTrue(driver.specs.get("q").flags().inactive());
        assertFalse(driver.specs.get("q").flags().readOnly());
        assertFalse(node("q").readOnly());
        refused(
                "Inactive 'q' can't be a file child of active 'top'",
                () -> graph.add(over("top", "q")));
        graph.add(inactive(over("top", "q")));
        graph.add(inactive(over("other", options("made"))));
        assertEquals("other q top", inactiveNodes());
        set("top", true);
        assertEquals("other", inactiveNodes());
        assertFalse(driver.specs.get("q").flags().inactive());
    }

    @Test
    void aNodeKeepsItsStateWhenItIsReopened() {
        graph.add(options("n"));
        set("n", false);
        graph.reopen(List.of(FakeDriver.cached(options("n"), true, false)));
        assertEquals("n", inactiveNodes());
        refused(
                "Cannot change the option 'active'",
                () -> {
                    set("n", true);
                    graph.reopen(List.of(inactive(options("n"))));
                });
        assertEquals("", inactiveNodes());
        graph.add(options("other"));
        graph.add(backedBy("top", options("made")));
        set("other", false);
        refused(
                "Inactive 'other' can't be a backing child of active 'top'",
                () ->
                        graph.reopen(
                                List.of(
                                        options(
                                                "top",
                                                new FakeDriver.Options(
                                                        Optional.empty(),
                                                        Optional.of(
                                                                new io.blockwharf.api.block
                                                                        .BlockdevRef.Reference(
                                                                        "other")))))));
    }

    @Test
    void theOverlayOfAnInactiveNodeIsInactive() {
        graph.add(options("base"));
        graph.add(options("over"));
        set("base", false);
        set("over", false);
        try (BlockNode _ = reader("over")) {
            refused("The overlay is already in use", () -> graph.snapshot("base", "over"));
        }
        set("over", true);
        graph.snapshot("base", "over");
        assertEquals("base over", inactiveNodes());
        assertFalse(node("base").readOnly());
    }

    // --- Users -------------------------------------------------------------------------------

    @Test
    void whoWritesKeepsANodeActiveUnlessItAllowsIt() {
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", false)) {
            refused("Failed to inactivate node: Operation not permitted", () -> set("q", false));
            refused("Failed to inactivate all nodes: Operation not permitted", () -> setAll(false));
            assertTrue(user.active());
        }
        try (BlockNode _ = reader("q");
                BlockNode _ = writer("q", true)) {
            set("q", false);
            assertEquals("f q", inactiveNodes());
        }
    }

    @Test
    void aUserWaitsForItsPermissions() throws BlockIoException {
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", true)) {
            set("q", false);
            assertFalse(user.active());
            user.read(0, buffer());
            user.flush();
            for (Executable change :
                    List.<Executable>of(
                            () -> user.write(0, buffer(), 0),
                            () -> user.tryWrite(0, buffer(), 0),
                            () -> user.discard(0, BLOCK),
                            () -> user.writeZeroes(0, BLOCK, 0))) {
                assertEquals(Errno.EPERM, assertThrows(BlockIoException.class, change).errno());
            }
            assertEquals("[] " + Permission.all(), image("f").permissions.getLast());
            set("q", true);
            user.write(0, buffer(), 0);
            assertEquals(
                    "[consistent read, write] [consistent read, write, write unchanged]",
                    image("q").permissions.getLast());
        }
    }

    @Test
    void somebodyWhoComesToAnInactiveNodeWaitsToo() throws BlockIoException {
        graph.add(inactive(options("n")));
        refused(
                "Permission 'write' unavailable on inactive node",
                () -> writer("n", false).close());
        refused(
                "Permission 'resize' unavailable on inactive node",
                () -> graph.resize(node("n"), 8192));
        try (BlockNode user = writer("n", true)) {
            assertEquals(List.of(), image("n").permissions);
            user.permissions(Set.of(Permission.CONSISTENT_READ), Permission.all());
            user.permissions(Set.of(Permission.WRITE), Permission.all());
            assertEquals(List.of(), image("n").permissions);
            set("n", true);
            assertEquals(List.of("[write] " + Permission.all()), image("n").permissions);
            user.write(0, buffer(), 0);
        }
    }

    @Test
    void requestsWaitWhileNodesChange() throws Exception {
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", true)) {
            var writes =
                    CompletableFuture.supplyAsync(
                            () -> {
                                int refused = 0;
                                for (int i = 0; i < 20_000; i++) {
                                    try {
                                        user.write(0, buffer(), 0);
                                    } catch (BlockIoException e) {
                                        assertEquals(Errno.EPERM, e.errno());
                                        refused++;
                                    }
                                }
                                return refused;
                            });
            do {
                set("q", false);
                Switched left = image("q");
                assertEquals(List.of(), written(left));
                set("q", true);
                assertEquals(List.of(), written(left));
                assertTrue(left.closed);
            } while (!writes.isDone());
            assertTrue(writes.get() < 20_000);
        }
        assertEquals(List.of(), log);
    }

    private static List<String> written(FakeImage image) {
        return image.calls.stream().filter(call -> call.startsWith("write")).toList();
    }

    // --- Images ------------------------------------------------------------------------------

    @Test
    void everythingIsWrittenBackBeforeAnImageIsLeft() throws BlockIoException {
        List<String> order = Collections.synchronizedList(new ArrayList<>());
        driver.maker =
                name -> {
                    order.add("open " + name);
                    return new FakeImage(1 << 20) {
                        @Override
                        public boolean closedForOthers() {
                            return name.equals("q");
                        }

                        @Override
                        public void flush() {
                            order.add("flush " + name);
                        }

                        @Override
                        public void permissions(Set<Permission> taken, Set<Permission> shared) {
                            order.add(name + " " + taken);
                        }

                        @Override
                        public void active(boolean active) {
                            order.add(name + (active ? " active" : " inactive"));
                        }

                        @Override
                        public void close() {
                            super.close();
                            order.add("close " + name);
                        }
                    };
                };
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", true)) {
            user.write(0, buffer(), 0);
            order.clear();
            set("q", false);
            assertEquals(
                    List.of(
                            "flush q",
                            "flush f",
                            "flush q",
                            "flush f",
                            "close q",
                            "flush f", // what closing has written
                            "open q",
                            "f []",
                            "f inactive"),
                    order);
            order.clear();
            set("q", true);
            assertEquals(
                    List.of(
                            "close q",
                            "f [consistent read, write]",
                            "f active",
                            "open q",
                            "q [consistent read, write]"),
                    order);
        }
    }

    @Test
    void theSizeIsThatOfNow() {
        graph.add(over("top", options("f")));
        List<String> told = new ArrayList<>();
        try (BlockNode user = reader("top")) {
            user.onResize(() -> told.add("resized"));
            set("top", false);
            image("f").grownTo = 2 << 20;
            image("top").grownTo = 2 << 20;
            assertEquals(1 << 20, user.length());
            set("top", true);
            assertEquals(2 << 20, user.length());
            assertEquals(List.of("resized"), told);
        }
    }

    @Test
    void anImageThatSomebodyElseHasStaysInactive() {
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", true)) {
            set("q", false);
            image("f").refused = Optional.of(Permission.WRITE);
            refused("Failed to get \"write\" lock", () -> set("q", true));
            refused("Failed to get \"write\" lock", () -> setAll(true));
            assertEquals("f q", inactiveNodes());
            assertTrue(driver.specs.get("q").flags().inactive());
            assertFalse(user.active());
            image("f").refused = Optional.empty();
            set("q", true);
            assertEquals("", inactiveNodes());
        }
        assertEquals(List.of(), log);
    }

    @Test
    void anImageThatCannotBeWrittenBackStaysActive() throws BlockIoException {
        graph.add(over("q", options("f")));
        try (BlockNode user = writer("q", true)) {
            image("f").failure = Optional.of(Errno.EIO);
            refused("Error flushing node 'f': as the test wants it", () -> set("q", false));
            image("f").failure = Optional.empty();
            assertEquals("", inactiveNodes());
            user.write(0, buffer(), 0);
        }
    }

    @Test
    void whatHasNothingInMemoryStaysOpen() {
        graph.add(options("f"));
        Switched image = image("f");
        set("f", false);
        set("f", true);
        assertSame(image, node("f").image());
        assertEquals(
                List.of("inactive", "active"),
                image.calls.stream().filter(call -> !call.equals("flush")).toList());
    }

    @Test
    void anInactiveImageIsClosedWithoutAnotherWord() {
        graph.add(options("f"));
        Switched image = image("f");
        set("f", false);
        image.calls.clear();
        graph.remove("f");
        assertTrue(image.closed);
        assertEquals(List.of(), image.calls);
    }

    // --- Bitmaps -----------------------------------------------------------------------------

    private void addBitmap(String name, boolean persistent) {
        bitmaps.add("q", name, Optional.empty(), persistent, false);
    }

    @Test
    void bitmapsAreInTheImageMeanwhile() {
        graph.add(options("q"));
        addBitmap("kept", true);
        addBitmap("ours", false);
        set("q", false);
        assertEquals(Set.of("kept"), store.names);
        assertEquals(Set.of("ours"), node("q").bitmaps.keySet());
        refused(
                "Can't store persistent bitmaps to q: Operation not supported",
                () -> addBitmap("x", true));
        store.names.add("theirs");
        set("q", true);
        assertEquals(Set.of("ours", "kept", "theirs"), node("q").bitmaps.keySet());
        assertEquals(512, node("q").bitmaps.get("kept").count());
    }

    @Test
    void bitmapsThatCannotBeKeptKeepTheNodeActive() {
        graph.add(options("q"));
        addBitmap("kept", true);
        store.failing = true;
        refused("Bitmaps of node 'q' were not stored: full", () -> set("q", false));
        assertEquals(Set.of("kept"), node("q").bitmaps.keySet());
        store.failing = false;
        try (DirtyBitmap _ = node("q").bitmaps.get("kept").use()) {
            refused(
                    "Bitmap 'kept' is currently in use by another operation and cannot be used",
                    () -> set("q", false));
        }
        set("q", false);
        addBitmap("kept", false);
        refused("Bitmap 'kept' of node 'q' is in memory and in the image", () -> set("q", true));
        assertEquals("q", inactiveNodes());
        bitmaps.remove("q", "kept");
        set("q", true);
        assertTrue(node("q").bitmaps.get("kept").persistent());
    }
}

package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.backedBy;
import static io.blockwharf.core.graph.FakeDriver.options;
import static io.blockwharf.core.graph.FakeDriver.over;
import static io.blockwharf.core.graph.FakeDriver.readOnly;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotSame;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;
import io.blockwharf.linux.Epoll;
import io.blockwharf.linux.LinuxException;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicReference;

/** Changes of nodes: what they make of the graph, and what users notice of them. */
@Timeout(120)
class GraphChangeTest {
    private static final int BLOCK = 4096;

    private final List<String> log = Collections.synchronizedList(new ArrayList<>());
    private final BlockGraph graph = new BlockGraph(new ControlLock(), Fakes.logger(log));
    private final FakeDriver driver = new FakeDriver();

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
        driver.maker =
                name ->
                        Optional.ofNullable(driver.images.get(name))
                                .map(FakeImage::again)
                                .orElseGet(() -> new FakeImage(1 << 20));
    }

    private Node node(String name) {
        return graph.find(name).orElseThrow();
    }

    private BlockNode writer(String name) {
        return graph.attach(
                node(name),
                () -> {},
                EnumSet.of(Permission.CONSISTENT_READ, Permission.WRITE),
                Permission.all());
    }

    private BlockNode reader(String name) {
        return graph.attach(
                node(name), () -> {}, EnumSet.of(Permission.CONSISTENT_READ), Permission.all());
    }

    private static IoVector buffer() {
        MemorySegment memory = Arena.ofAuto().allocate(BLOCK, BLOCK);
        return new IoVector(Arena.ofAuto(), 1).set(memory, 0, BLOCK);
    }

    private static BlockdevOptions backed(String name, String backing) {
        return options(
                name,
                new FakeDriver.Options(
                        Optional.empty(), Optional.of(new BlockdevRef.Reference(backing))));
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    private String edges() {
        StringBuilder edges = new StringBuilder();
        for (Node node : graph.nodes()) {
            node.children.forEach(
                    (name, edge) ->
                            edges.append(node.name).append(' ').append(edge.node.name).append(' '));
            for (NodeHandle user : node.users) {
                if (user.user != null) {
                    edges.append("user ").append(node.name).append(' ');
                }
            }
        }
        return edges.toString().trim();
    }

    // --- What becomes of nodes ---------------------------------------------------------------

    @Test
    void aReopenedNodeHasAnotherImage() {
        graph.add(options("n"));
        FakeImage before = driver.images.get("n");
        try (BlockNode user = reader("n")) {
            graph.reopen(List.of(readOnly(options("n"))));
            assertTrue(before.closed);
            assertTrue(user.readOnly());
            assertTrue(driver.specs.get("n").flags().readOnly());
            assertEquals(1, driver.images.get("n").permissions.size());
        }
    }

    @Test
    void whatCoreDoesByItselfNeedsNoOtherImage() {
        graph.add(options("n"));
        graph.reopen(List.of(FakeDriver.with(options("n"), BlockdevOptions.DetectZeroes.ON)));
        assertFalse(driver.images.get("n").closed);
        assertTrue(node("n").detectsZeroes());
        graph.reopen(List.of(options("n")));
        assertFalse(node("n").detectsZeroes());
    }

    @Test
    void usersFollowWhatCoreDoesByItself() throws BlockIoException {
        graph.add(options("n"));
        try (BlockNode user = writer("n")) {
            graph.reopen(List.of(FakeDriver.with(options("n"), BlockdevOptions.DetectZeroes.ON)));
            user.write(0, buffer(), 0);
            graph.reopen(List.of(options("n")));
            user.write(0, buffer(), 0);
        }
        assertEquals(
                List.of("zero 0+4096", "write 0+4096"),
                driver.images.get("n").calls.stream().filter(c -> !c.equals("flush")).toList());
    }

    @Test
    void childrenMadeWithTheirParentInheritAgain() {
        graph.add(over("top", options("made")));
        graph.add(options("own"));
        graph.add(over("other", "own"));
        graph.reopen(
                List.of(
                        readOnly(over("top", "made")),
                        FakeDriver.cached(over("other", "own"), true, false)));
        assertTrue(node("made").readOnly());
        assertFalse(node("own").options().direct());
        graph.reopen(List.of(over("top", "made")));
        assertFalse(node("made").readOnly());
    }

    @Test
    void parentsAreClosedBeforeChildrenAndOpenedAfterThem() {
        List<String> order = new ArrayList<>();
        driver.maker =
                name -> {
                    order.add("open " + name);
                    return new FakeImage(1 << 20) {
                        @Override
                        public void close() {
                            super.close();
                            order.add("close " + name);
                        }
                    };
                };
        graph.add(over("top", over("mid", options("low"))));
        order.clear();
        graph.reopen(List.of(readOnly(over("top", "mid"))));
        assertEquals(
                List.of("close top", "close mid", "close low", "open low", "open mid", "open top"),
                order);
    }

    @Test
    void aBackingNodeIsExchangedTakenAwayAndPutBack() {
        graph.add(options("a"));
        graph.add(options("b"));
        graph.add(backed("n", "a"));
        graph.reopen(List.of(backed("n", "b")));
        assertEquals("n b", edges());
        assertSame(node("b").users.getFirst(), node("n").children.get("backing"));
        assertEquals(List.of(), node("a").users);
        refused("backing is missing for 'n'", () -> graph.reopen(List.of(options("n"))));
        refused(
                "Making 'n' a backing child of 'n' would create a cycle",
                () -> graph.reopen(List.of(backed("n", "n"))));
        refused(
                "Cannot find device='' nor node-name='x'",
                () -> graph.reopen(List.of(backed("n", "x"))));
        graph.reopen(List.of(backed("b", "a")));
        refused(
                "Making 'n' a backing child of 'a' would create a cycle",
                () -> graph.reopen(List.of(backed("a", "n"))));
        assertEquals("n b b a", edges());
    }

    @Test
    void whatNobodyNeedsAnyMoreIsClosed() {
        graph.add(backedBy("n", options("made")));
        graph.add(options("b"));
        FakeImage made = driver.images.get("made");
        graph.reopen(List.of(backed("n", "b")));
        assertTrue(made.closed);
        assertEquals(Optional.empty(), graph.find("made"));
    }

    @Test
    void wrongRequestsChangeNothing() {
        graph.add(options("n"));
        graph.add(over("top", "n"));
        refused("node-name not specified", () -> graph.reopen(List.of(options(null))));
        refused(
                "Failed to find node with node-name='x'",
                () -> graph.reopen(List.of(readOnly(options("n")), options("x"))));
        refused(
                "Cannot change the option 'force-share'",
                () -> graph.reopen(List.of(FakeDriver.forceShare(readOnly(options("n"))))));
        try (BlockNode _ = writer("top")) {
            refused(
                    "Read-only block node 'n' cannot support read-write users",
                    () -> graph.reopen(List.of(readOnly(options("n")))));
        }
        graph.reopen(List.of());
        assertFalse(node("n").readOnly());
        assertFalse(driver.images.get("n").closed);
    }

    // --- All or nothing ----------------------------------------------------------------------

    @Test
    void ifOneImageCannotBeOpenedAllAreAsBefore() throws BlockIoException {
        graph.add(options("a"));
        graph.add(over("n", "a"));
        try (BlockNode user = writer("n")) {
            user.write(0, buffer(), 0);
            var refuse = new AtomicBoolean(true);
            var maker = driver.maker;
            driver.maker =
                    name -> {
                        if (name.equals("n") && refuse.getAndSet(false)) {
                            throw QmpException.generic("no");
                        }
                        return maker.apply(name);
                    };
            refused(
                    "no",
                    () ->
                            graph.reopen(
                                    List.of(
                                            FakeDriver.cached(options("a"), true, false),
                                            FakeDriver.cached(over("n", "a"), true, false))));
            assertFalse(node("a").options().direct());
            assertFalse(node("n").options().direct());
            assertFalse(driver.specs.get("a").flags().direct());
            user.write(0, buffer(), 0);
            assertEquals(
                    node("n").committed.taken(),
                    Perms.of(user(node("n")), user(node("n"))).taken());
            assertEquals(1, driver.images.get("n").permissions.size());
        }
        assertEquals(List.of(), log);
    }

    private static EnumSet<Permission> user(Node node) {
        return EnumSet.copyOf(Perms.set(node.users.getFirst().perms().taken()));
    }

    @Test
    void anImageThatCannotBeOpenedAtAllFailsItsRequests() {
        graph.add(options("n"));
        try (BlockNode user = writer("n")) {
            driver.refusal = Optional.of("gone");
            refused(
                    "gone",
                    () -> graph.reopen(List.of(FakeDriver.cached(options("n"), true, false))));
            assertEquals(
                    Errno.EIO,
                    assertThrows(BlockIoException.class, () -> user.read(0, buffer())).errno());
            assertEquals(1 << 20, user.length());
            driver.refusal = Optional.empty();
            graph.reopen(List.of(FakeDriver.cached(options("n"), true, false)));
            assertTrue(works(user));
        }
        assertEquals(1, log.size());
    }

    private static boolean works(BlockNode user) {
        try {
            return user.tryRead(0, buffer());
        } catch (BlockIoException e) {
            return false;
        }
    }

    @Test
    void aChangeIsRefusedThatWouldCloseAFileInUse() {
        graph.add(backedBy("n", options("made")));
        graph.add(options("b"));
        try (BlockNode user = reader("n")) {
            assertTrue(user.pin());
            refused(
                    "Node 'n' is being sent to a client",
                    () -> graph.reopen(List.of(backed("n", "b"))));
            graph.reopen(List.of(FakeDriver.cached(backed("n", "made"), true, false)));
            user.unpin();
            graph.reopen(List.of(backed("n", "b")));
        }
    }

    // --- Overlays ----------------------------------------------------------------------------

    @Test
    void usersOfANodeAreUsersOfItsOverlayThen() {
        graph.add(options("base"));
        graph.add(over("filter", "base"));
        graph.add(options("overlay"));
        try (BlockNode above = reader("filter");
                BlockNode user = writer("base")) {
            graph.snapshot("base", "overlay");
            assertEquals("overlay base user overlay filter overlay user filter", edges());
            assertEquals("overlay", user.name());
            assertEquals("filter", above.name());
            assertTrue(node("base").readOnly());
            assertTrue(driver.images.get("base").calls.isEmpty()); // opened anew, read-only
        }
    }

    @Test
    void overlaysThatAreNone() {
        graph.add(options("base"));
        graph.add(options("used"));
        graph.add(backed("top", "base"));
        graph.add(options("free"));
        refused("Cannot find device='x' nor node-name='x'", () -> graph.snapshot("x", "free"));
        refused(
                "Node 'base' is busy: node is used as backing hd of 'top'",
                () -> graph.snapshot("base", "free"));
        refused("Cannot find device='x' nor node-name='x'", () -> graph.snapshot("top", "x"));
        refused("The overlay already has a backing image", () -> graph.snapshot("free", "top"));
        refused(
                "Making 'free' a backing child of 'free' would create a cycle",
                () -> graph.snapshot("free", "free"));
        try (BlockNode _ = reader("used")) {
            refused("The overlay is already in use", () -> graph.snapshot("top", "used"));
        }
    }

    /** A FUSE export may grow its node at any time. */
    @Test
    void anOverlayThatWouldCutOffWhatWasWrittenMeanwhileIsRefused() {
        graph.add(options("base"));
        graph.add(options("overlay"));
        try (BlockNode user = writer("base")) {
            String before = edges();
            refused(
                    "Node 'base' has got another size meanwhile",
                    () ->
                            Overlays.put(
                                    graph,
                                    node("base"),
                                    node("overlay"),
                                    OptionalLong.of((1 << 20) - 512)));
            assertEquals(before, edges());
            assertEquals("base", user.name());
            Overlays.put(graph, node("base"), node("overlay"), OptionalLong.of(1 << 20));
            assertEquals("overlay", user.name());
        }
    }

    @Test
    void usersHearOfAnOverlayOfAnotherSize() {
        graph.add(options("base"));
        driver.maker = _ -> new FakeImage(2 << 20);
        graph.add(options("overlay"));
        List<Long> sizes = new ArrayList<>();
        try (BlockNode user = reader("base")) {
            user.onResize(() -> sizes.add(user.length()));
            graph.snapshot("base", "overlay");
            assertEquals(List.of(2L << 20), sizes);
        }
    }

    // --- Requests ----------------------------------------------------------------------------

    /** An image whose reads wait until they may end. */
    private static final class SlowImage extends FakeImage {
        final CountDownLatch inside = new CountDownLatch(1);
        final CountDownLatch mayEnd = new CountDownLatch(1);

        SlowImage() {
            super(1 << 20);
        }

        @Override
        public void read(long offset, IoVector into) throws BlockIoException {
            inside.countDown();
            try {
                mayEnd.await();
            } catch (InterruptedException e) {
                throw new AssertionError(e);
            }
            super.read(offset, into);
        }
    }

    @Test
    void aChangeWaitsForRequestsAndRequestsForTheChange() throws Exception {
        SlowImage slow = new SlowImage();
        driver.maker = _ -> slow;
        graph.add(options("n"));
        driver.maker = _ -> new FakeImage(1 << 20);
        try (BlockNode user = reader("n");
                BlockQueue queue = user.openQueue(4)) {
            queue.read(1, 0, buffer());
            queue.submit();
            slow.inside.await();
            var change =
                    CompletableFuture.runAsync(() -> graph.reopen(List.of(readOnly(options("n")))));
            while (((UserHandle) user).gate.isOpen()) {
                Thread.onSpinWait();
            }
            assertFalse(user.tryRead(0, buffer()));
            assertFalse(user.pin());
            assertEquals(Optional.empty(), user.hostExtent(0, BLOCK));
            queue.read(2, 0, buffer());
            queue.submit();
            assertFalse(change.isDone());
            slow.mayEnd.countDown();
            change.get();
            finish(queue);
            assertTrue(slow.closed);
            assertEquals(1, slow.calls.stream().filter(call -> call.startsWith("read")).count());
            assertTrue(user.tryRead(0, buffer()));
        }
    }

    @Test
    void callsWaitWhileImagesAreExchanged() throws Exception {
        graph.add(options("n"));
        try (BlockNode user = reader("n")) {
            List<Executable> calls =
                    List.of(
                            () -> user.read(0, buffer()),
                            () -> user.extentAt(0, BLOCK),
                            () -> user.extents(0, BLOCK, (_, _, _, _) -> false),
                            user::flush,
                            () -> user.openQueue(1).close());
            List<Thread> callers = new ArrayList<>();
            var failure = new AtomicReference<Throwable>();
            driver.maker =
                    _ -> {
                        for (Executable call : calls) {
                            callers.add(
                                    Thread.ofPlatform()
                                            .start(
                                                    () -> {
                                                        try {
                                                            call.execute();
                                                        } catch (Throwable e) {
                                                            failure.set(e);
                                                        }
                                                    }));
                        }
                        for (Thread caller : callers) {
                            while (caller.getState() != Thread.State.WAITING) {
                                assertTrue(caller.isAlive(), "came in");
                                Thread.onSpinWait();
                            }
                        }
                        return new FakeImage(1 << 20);
                    };
            graph.reopen(List.of(readOnly(options("n"))));
            for (Thread caller : callers) {
                caller.join();
            }
            assertEquals(null, failure.get());
            assertEquals(4, driver.images.get("n").calls.size()); // read, extent twice, flush
        }
    }

    private static void finish(BlockQueue queue) throws LinuxException {
        try (Epoll epoll = new Epoll(1)) {
            epoll.add(queue.fd(), Epoll.IN, 0);
            while (queue.inFlight() > 0) {
                epoll.await(-1);
                queue.reap((_, result) -> assertEquals(Errno.OK, result));
            }
        }
    }

    @Test
    void aRequestThatDoesNotEndHasTheChangeRefused() throws Exception {
        SlowImage slow = new SlowImage();
        driver.maker = _ -> slow;
        graph.add(options("n"));
        driver.maker = _ -> new FakeImage(1 << 20);
        graph.patienceNanos = 1;
        try (BlockNode user = reader("n");
                BlockQueue queue = user.openQueue(4)) {
            queue.read(1, 0, buffer());
            queue.submit();
            slow.inside.await();
            refused(
                    "Requests to node 'n' do not end",
                    () -> graph.reopen(List.of(readOnly(options("n")))));
            assertFalse(slow.closed);
            slow.mayEnd.countDown();
            finish(queue);
            assertTrue(user.tryRead(0, buffer()));
            graph.patienceNanos = GraphChange.PATIENCE_NANOS;
            graph.reopen(List.of(readOnly(options("n"))));
            assertNotSame(slow, node("n").image());
        }
    }

    /** Each thread writes a block of its own and reads it back, by calls and by a queue. */
    @Test
    void nobodyMeetsAClosedImage() throws Exception {
        driver.fileRole = ChildRole.STORAGE;
        graph.add(over("n", options("file")));
        var over = new AtomicBoolean();
        var failure = new AtomicReference<Throwable>();
        List<Thread> threads = new ArrayList<>();
        for (int t = 0; t < 3; t++) {
            int number = t;
            threads.add(
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            use(number, over);
                                        } catch (Throwable e) {
                                            failure.set(e);
                                        }
                                    }));
        }
        for (int i = 0; i < 300 && failure.get() == null; i++) {
            graph.reopen(List.of(FakeDriver.cached(over("n", "file"), i % 2 == 0, false)));
        }
        over.set(true);
        for (Thread thread : threads) {
            thread.join();
        }
        if (failure.get() != null) {
            throw new AssertionError(log.toString(), failure.get());
        }
        assertEquals(List.of(), log);
    }

    private void use(int number, AtomicBoolean over) throws Exception {
        try (BlockNode user = writer("n");
                BlockQueue queue = user.openQueue(2);
                Arena arena = Arena.ofShared()) {
            MemorySegment memory = arena.allocate(2L * BLOCK, BLOCK);
            IoVector own = new IoVector(arena, 1).set(memory, 0, BLOCK);
            IoVector back = new IoVector(arena, 1).set(memory, BLOCK, BLOCK);
            long place = (long) number * BLOCK;
            for (int i = 0; !over.get(); i++) {
                memory.set(ValueLayout.JAVA_INT, 0, i);
                if (i % 2 == 0) {
                    user.write(place, own, 0);
                } else {
                    queue.write(1, place, own, 0);
                    queue.submit();
                    finish(queue);
                }
                if (!user.tryRead(place, back)) {
                    queue.read(2, place, back);
                    queue.submit();
                    finish(queue);
                }
                assertEquals(i, memory.get(ValueLayout.JAVA_INT, BLOCK));
                user.extentAt(0, BLOCK);
            }
        }
    }
}

package io.blockwharf.core.export;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExportIothreads;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.BlockExportRemoveMode;
import io.blockwharf.api.export.ExportTypeInfo;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;
import io.blockwharf.core.export.FakeExportDriver.FakeExport;
import io.blockwharf.core.graph.BlockGraph;
import io.blockwharf.core.graph.FakeDriver;
import io.blockwharf.core.graph.FakeImage;
import io.blockwharf.core.graph.GraphAccess;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.reflect.Proxy;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.Set;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** The life of exports; texts and the order of checks are those of QEMU's block/export/export.c. */
@Timeout(120)
class ExportRegistryTest {
    private final ControlLock lock = new ControlLock();
    private final List<String> log = new ArrayList<>();
    private final BlockGraph graph = new BlockGraph(lock, Fakes.logger(log));
    private final FakeDriver nodes = new FakeDriver();
    private final FakeExportDriver driver = new FakeExportDriver(false);
    private final FakeExportDriver multi = new FakeExportDriver(true);
    private final FakeObjects objects = new FakeObjects();
    private final BlockingQueue<String> events = new LinkedBlockingQueue<>();
    private final ExportRegistry registry = registry(Duration.ofSeconds(30));

    private ExportRegistry registry(Duration patience) {
        return new ExportRegistry(
                lock,
                graph,
                objects,
                data -> events.add(((BlockExportDeleted) data).id()),
                Fakes.logger(log),
                patience);
    }

    /** Iothreads by id; counts their uses. */
    private static final class FakeObjects implements ObjectStore {
        final List<String> uses = new ArrayList<>();

        @Override
        public <T> Optional<T> find(String id, Class<T> type) {
            return id.startsWith("io") ? Optional.of(type.cast(thread(id))) : Optional.empty();
        }

        private static IoThread thread(String id) {
            return (IoThread)
                    Proxy.newProxyInstance(
                            FakeObjects.class.getClassLoader(),
                            new Class<?>[] {IoThread.class},
                            (proxy, method, _) ->
                                    switch (method.getName()) {
                                        case "id" -> id;
                                        case "hashCode" -> System.identityHashCode(proxy);
                                        default -> throw new UnsupportedOperationException();
                                    });
        }

        @Override
        public SequencedMap<String, String> types() {
            return new LinkedHashMap<>();
        }

        @Override
        public boolean exists(String id) {
            return true;
        }

        @Override
        public <T> Optional<Use<T>> use(String id, Class<T> type) {
            return find(id, type)
                    .map(
                            found -> {
                                uses.add(id);
                                return new Use<T>() {
                                    @Override
                                    public T object() {
                                        return found;
                                    }

                                    @Override
                                    public void close() {
                                        uses.remove(id);
                                    }
                                };
                            });
        }
    }

    /** The options of one export, changed by what a row says. */
    private record Row(
            String type,
            String id,
            String node,
            boolean writable,
            boolean writethrough,
            boolean fixed,
            String... threads) {
        BlockExportOptions options() {
            Optional<BlockExportIothreads> iothreads =
                    threads.length == 0
                            ? Optional.empty()
                            : Optional.of(
                                    threads[0].equals("list")
                                            ? new BlockExportIothreads.Multi(
                                                    Arrays.asList(threads)
                                                            .subList(1, threads.length))
                                            : new BlockExportIothreads.Single(threads[0]));
            return new BlockExportOptions(
                    type,
                    id,
                    Optional.of(fixed),
                    iothreads,
                    node,
                    Optional.of(writable),
                    Optional.of(writethrough),
                    Optional.empty(),
                    new FakeExportDriver.Options());
        }
    }

    private static BlockExportOptions export(String id, String node) {
        return new Row("nbd", id, node, false, false, false).options();
    }

    private static BlockExportOptions writable(String id, String node) {
        return new Row("nbd", id, node, true, false, false).options();
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    @BeforeEach
    void register() {
        GraphAccess.addDriver(graph, nodes);
        GraphAccess.add(graph, FakeDriver.options("n"));
        GraphAccess.add(graph, FakeDriver.readOnly(FakeDriver.options("ro")));
        registry.addDriver(driver, Map.of("export.type", "nbd"));
        registry.addDriver(multi, Map.of("export.type", "fuse"));
    }

    private List<String> ids() {
        return registry.list().stream().map(BlockExportInfo::id).toList();
    }

    // --- Adding ------------------------------------------------------------------------------

    @ParameterizedTest(name = "{0} {1} on {2}, writable={3}, fixed={4}, threads {5} -> {6}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    nbd  | 1  | x  | true  | true  | list   | Cannot use fixed-iothread for a multi-threaded export
                    nbd  | 1x | x  | true  | true  |        | Invalid block export id
                    nbd  | '' | x  | true  | true  |        | Invalid block export id
                    nbd  | #a | x  | true  | true  |        | Invalid block export id
                    nbd  | a:b| x  | true  | true  |        | Invalid block export id
                    nope | e0 | x  | true  | true  |        | Block export id 'e0' is already in use
                    nope | e1 | x  | true  | true  |        | No driver found for the requested export type
                    nbd  | e1 | x  | true  | true  | zz     | Cannot find device='' nor node-name='x'
                    nbd  | e1 | '' | true  | true  | zz     | Cannot find device='' nor node-name=''
                    nbd  | e1 | ro | true  | true  | zz     | Cannot export read-only node as writable
                    nbd  | e1 | n  | true  | true  | zz     | iothread "zz" not found
                    nbd  | e1 | n  | true  | false | zz     | iothread "zz" not found
                    nbd  | e1 | n  | true  | false | list   | The set of I/O threads must not be empty
                    nbd  | e1 | n  | true  | false | list,io1,zz  | iothread "zz" not found
                    nbd  | e1 | n  | true  | false | list,io1,io2 | NBD export does not support multi-threading
                    vhost-user-blk | e1 | n | true | false | list,io1,io2 | vhost-user-blk export does not support multi-threading
                    """)
    void refusals(
            String type,
            String id,
            String node,
            boolean writable,
            boolean fixed,
            String threads,
            String message) {
        registry.addDriver(driver, Map.of("export.type", "vhost-user-blk"));
        registry.add(export("e0", "n"));
        String[] all = threads == null ? new String[0] : threads.split(",");
        Row row = new Row(type, id, node, writable, false, fixed, all);
        refused(message, () -> registry.add(row.options()));
        assertEquals(List.of("e0"), ids());
        assertEquals(List.of(), objects.uses);
        registry.remove("e0", BlockExportRemoveMode.SAFE);
        GraphAccess.remove(graph, "n");
    }

    @ParameterizedTest
    @CsvSource({"a", "A1", "a-b.c_d"})
    void wellFormedIds(String id) {
        registry.add(export(id, "n"));
        assertEquals(List.of(new BlockExportInfo(id, "nbd", "n", false)), registry.list());
        assertEquals(Optional.of("n"), registry.find(id).map(BlockExportInfo::nodeName));
    }

    @Test
    void newestIsListedFirst() {
        registry.add(export("a", "n"));
        registry.add(export("c", "ro"));
        registry.add(writable("b", "n"));
        assertEquals(List.of("b", "c", "a"), ids());
    }

    @Test
    void permissionsFollowWritable() {
        FakeImage image = nodes.images.get("n");
        registry.add(export("r", "n"));
        registry.add(writable("w", "n"));
        registry.remove("w", BlockExportRemoveMode.SAFE);
        assertEquals(
                List.of(
                        "[consistent read] " + Permission.all(),
                        "[consistent read, write] " + Permission.all(),
                        "[consistent read] " + Permission.all()),
                image.permissions);
    }

    private static BlockExportOptions allowingInactive(BlockExportOptions o) {
        return new BlockExportOptions(
                o.type(),
                o.id(),
                o.fixedIothread(),
                o.iothread(),
                o.nodeName(),
                o.writable(),
                o.writethrough(),
                Optional.of(true),
                o.options());
    }

    @Test
    void aNodeIsMadeActiveUnlessTheExportAllowsOtherwise() {
        refused(
                "Export type does not support inactive exports",
                () -> registry.add(allowingInactive(writable("a", "n"))));
        driver.supportsInactive = true;
        GraphAccess.setActive(graph, false);
        registry.add(allowingInactive(writable("a", "n")));
        BlockNode node = driver.exports.get("a").spec.node();
        assertFalse(node.active());
        FakeImage image = nodes.images.get("n");
        image.refused = Optional.of(Permission.WRITE);
        refused("Failed to get \"write\" lock", () -> registry.add(export("b", "n")));
        assertFalse(node.active());
        assertEquals(List.of("a"), ids());
        image.refused = Optional.empty();
        registry.add(export("b", "n"));
        assertTrue(node.active());
        GraphAccess.setActive(graph, false);
        registry.add(writable("c", "n"));
        refused(
                "Failed to inactivate all nodes: Operation not permitted",
                () -> GraphAccess.setActive(graph, false));
        registry.remove("c", BlockExportRemoveMode.SAFE);
        GraphAccess.setActive(graph, false);
        assertFalse(node.active());
    }

    @Test
    void writethroughTurnsTheWriteCacheOff() {
        registry.add(new Row("nbd", "a", "n", true, true, false).options());
        assertFalse(driver.exports.get("a").spec.node().writeCache());
        registry.add(writable("b", "n"));
        assertTrue(driver.exports.get("b").spec.node().writeCache());
    }

    @Test
    void iothreadsAreHeldWhileTheExportLives() {
        registry.add(new Row("nbd", "a", "n", true, true, true, "io1").options());
        registry.add(new Row("fuse", "b", "n", true, true, false, "list", "io1", "io2").options());
        assertEquals(List.of("io1", "io1", "io2"), objects.uses);
        assertEquals(
                List.of("io1", "io2"),
                multi.exports.get("b").spec.ioThreads().stream().map(IoThread::id).toList());
        registry.remove("b", BlockExportRemoveMode.SAFE);
        assertEquals(List.of("io1"), objects.uses);
    }

    @Test
    void failedOpenLeavesNothing() {
        driver.refusal = Optional.of("NBD server not running");
        Row row = new Row("nbd", "a", "n", true, true, false, "io1");
        refused("NBD server not running", () -> registry.add(row.options()));
        assertEquals(List.of(), objects.uses);
        assertEquals(List.of(), ids());
        GraphAccess.remove(graph, "n");
        assertTrue(events.isEmpty());
    }

    // --- Removing ----------------------------------------------------------------------------

    @Test
    void removalsThatAreRefused() {
        refused("Export 'x' is not found", () -> registry.remove("x", BlockExportRemoveMode.HARD));
        registry.add(export("a", "n"));
        FakeExport export = driver.exports.get("a");
        export.used = true;
        refused("export 'a' still in use", () -> registry.remove("a", BlockExportRemoveMode.SAFE));
        assertEquals(0, export.shutdowns);
        assertEquals(List.of(new BlockExportInfo("a", "nbd", "n", false)), registry.list());
    }

    @Test
    void idleExportIsDeletedOnReturn() {
        registry.add(export("a", "n"));
        registry.remove("a", BlockExportRemoveMode.SAFE);
        assertEquals("a", events.poll());
        assertEquals(List.of(), ids());
        GraphAccess.remove(graph, "n");
        assertTrue(events.isEmpty());
    }

    @Test
    void busyExportKeepsItsIdUntilItIsClosed() throws InterruptedException {
        registry.add(export("a", "n"));
        FakeExport export = driver.exports.get("a");
        export.used = true;
        export.prompt = false;
        registry.remove("a", BlockExportRemoveMode.HARD);
        assertEquals(List.of(new BlockExportInfo("a", "nbd", "n", true)), registry.list());
        refused(
                "Export 'a' is already shutting down",
                () -> registry.remove("a", BlockExportRemoveMode.HARD));
        refused("Block export id 'a' is already in use", () -> registry.add(export("a", "n")));
        assertTrue(events.isEmpty());
        export.closed.complete(null);
        assertEquals("a", events.take());
        registry.add(export("a", "n"));
        assertEquals(1, export.shutdowns);
    }

    /** hide, then soft, then hard: each goes further, none goes back. */
    @Test
    void removalCanBeMadeMoreUrgent() throws InterruptedException {
        registry.add(export("a", "n"));
        FakeExport export = driver.exports.get("a");
        export.used = true;
        String already = "Export 'a' is already shutting down";
        registry.remove("a", BlockExportRemoveMode.HIDE);
        assertEquals(List.of(new BlockExportInfo("a", "nbd", "n", true)), registry.list());
        refused(already, () -> registry.remove("a", BlockExportRemoveMode.SAFE));
        refused(already, () -> registry.remove("a", BlockExportRemoveMode.HIDE));
        registry.remove("a", BlockExportRemoveMode.SOFT);
        refused(already, () -> registry.remove("a", BlockExportRemoveMode.SOFT));
        assertEquals(List.of(false, true), export.hides.orElseThrow());
        assertEquals(0, export.shutdowns);
        assertTrue(events.isEmpty());
        registry.remove("a", BlockExportRemoveMode.HARD);
        assertEquals(1, export.shutdowns);
        assertEquals(1, export.removals);
        assertEquals("a", events.take());
        assertEquals(List.of(), ids());
    }

    @Test
    void hiddenExportIsDeletedWhenItsLastClientLeaves() throws InterruptedException {
        registry.add(export("a", "n"));
        registry.remove("a", BlockExportRemoveMode.HIDE);
        assertEquals("a", events.poll());
        registry.add(export("a", "n"));
        FakeExport export = driver.exports.get("a");
        export.used = true;
        registry.remove("a", BlockExportRemoveMode.SOFT);
        export.closed.complete(null);
        assertEquals("a", events.take());
    }

    @Test
    void typesThatCannotHideRefuse() {
        registry.add(export("a", "n"));
        driver.exports.get("a").hides = Optional.empty();
        refused(
                "Exports of this type can only be removed in modes 'safe' and 'hard'",
                () -> registry.remove("a", BlockExportRemoveMode.HIDE));
        assertEquals(List.of(new BlockExportInfo("a", "nbd", "n", false)), registry.list());
    }

    @Test
    void exportThatEndsByItselfIsDeleted() throws InterruptedException {
        registry.add(export("a", "n"));
        driver.exports.get("a").closed.complete(null);
        assertEquals("a", events.take());
        assertEquals(List.of(), ids());
    }

    @Test
    void eventComesAfterThePermissionsAreGivenBack() throws InterruptedException {
        List<Integer> users = new ArrayList<>();
        ExportRegistry watching =
                new ExportRegistry(
                        lock,
                        graph,
                        objects,
                        _ -> users.add(GraphAccess.users(graph, "n")),
                        Fakes.logger(log),
                        Duration.ofSeconds(30));
        watching.addDriver(driver, Map.of("export.type", "nbd"));
        watching.add(export("a", "n"));
        assertEquals(1, GraphAccess.users(graph, "n"));
        watching.remove("a", BlockExportRemoveMode.SAFE);
        assertEquals(List.of(0), users);
    }

    @Test
    void closingWhileItIsRemovedSendsOneEvent() throws InterruptedException {
        for (int i = 0; i < 200; i++) {
            String id = "e" + i;
            registry.add(export(id, "n"));
            FakeExport export = driver.exports.get(id);
            Thread closer = Thread.ofVirtual().start(() -> export.closed.complete(null));
            try {
                registry.remove(id, BlockExportRemoveMode.HARD);
            } catch (QmpException e) {
                assertEquals("Export '" + id + "' is not found", e.getMessage());
            }
            closer.join();
            assertEquals(id, events.take());
        }
        assertTrue(events.isEmpty());
    }

    @Test
    void removeAllTakesWhatIsNamedAndThere() {
        registry.add(export("a", "n"));
        registry.add(new Row("fuse", "b", "n", false, false, false).options());
        registry.add(export("c", "n"));
        driver.exports.get("a").used = true;
        registry.removeAll(Set.of("a", "c", "gone"));
        assertEquals(List.of("b"), ids());
        assertEquals(Set.of("a", "c"), Set.copyOf(events)); // in the order in which they ended
    }

    @Test
    void removeAllWorksUnderTheControlLock() {
        registry.add(export("a", "n"));
        try (var _ = lock.take()) {
            registry.removeAll(Set.of("a"));
            assertEquals(List.of("a"), List.copyOf(events));
        }
    }

    // --- Drivers and the end -------------------------------------------------------------------

    @Test
    void driverGoesWhenItsExportsAreGone() throws InterruptedException {
        registry.add(export("a", "n"));
        registry.add(new Row("fuse", "b", "n", false, false, false).options());
        FakeExport export = driver.exports.get("a");
        export.prompt = false;
        Thread stopper =
                Thread.ofPlatform()
                        .start(() -> registry.removeDriver(driver, Map.of("export.type", "nbd")));
        export.closed.complete(null);
        stopper.join();
        assertEquals(List.of("a"), List.copyOf(events));
        assertEquals(List.of("b"), ids());
        refused(
                "No driver found for the requested export type",
                () -> registry.add(export("a", "n")));
    }

    @Test
    void driverWhoseExportHangsIsComplainedAbout() throws InterruptedException {
        ExportRegistry impatient = registry(Duration.ZERO);
        impatient.addDriver(driver, Map.of("export.type", "nbd"));
        impatient.add(export("a", "n"));
        driver.exports.get("a").prompt = false;
        impatient.removeDriver(driver, Map.of("export.type", "nbd"));
        assertTrue(log.getFirst().startsWith("error [Export {} of type {} has not ended"));
        assertEquals(true, impatient.find("a").orElseThrow().shuttingDown());
        driver.exports.get("a").closed.complete(null);
        assertEquals("a", events.take());
    }

    @Test
    void nodeDriverThatGoesTakesExportsAlong() {
        registry.add(export("a", "n"));
        driver.exports.get("a").used = true;
        GraphAccess.removeDriver(graph, nodes);
        assertEquals(List.of("a"), List.copyOf(events));
        assertTrue(nodes.images.get("n").closed);
        assertEquals(List.of(), log);
    }

    @Test
    void endRemovesAllExports() {
        registry.add(export("a", "n"));
        registry.add(new Row("fuse", "b", "n", false, false, false).options());
        registry.close();
        assertEquals(Set.of("a", "b"), Set.copyOf(events));
    }

    @Test
    void typesSayWhyTheyAreNotAvailable() {
        registry.addConditions(
                () ->
                        Map.of(
                                "fuse", new ExportConditions.Condition(true, "CONFIG_FUSE=y"),
                                "vduse-blk",
                                        new ExportConditions.Condition(
                                                false, "CONFIG_VDUSE_BLK_EXPORT=n"),
                                "vhost-user-blk",
                                        new ExportConditions.Condition(
                                                true, "CONFIG_VHOST_USER_BLK_SERVER=auto")));
        assertEquals(
                List.of(
                        new ExportTypeInfo("fuse", true, "CONFIG_FUSE=y"),
                        new ExportTypeInfo("nbd", true, "installed"),
                        new ExportTypeInfo("vduse-blk", false, "CONFIG_VDUSE_BLK_EXPORT=n"),
                        new ExportTypeInfo("vhost-user-blk", false, "no driver is installed")),
                registry.types());
    }

    @Test
    void detailsAreTheDrivers() {
        registry.add(export("a", "n"));
        assertEquals(Map.of("shutdowns", 0), registry.details("a"));
        assertEquals(Map.of(), registry.details("x"));
    }
}

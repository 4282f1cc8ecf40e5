package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.backedBy;
import static io.blockwharf.core.graph.FakeDriver.cached;
import static io.blockwharf.core.graph.FakeDriver.forceShare;
import static io.blockwharf.core.graph.FakeDriver.options;
import static io.blockwharf.core.graph.FakeDriver.over;
import static io.blockwharf.core.graph.FakeDriver.readOnly;
import static io.blockwharf.core.graph.FakeDriver.with;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.BlockdevOptions.Discard;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The node table; texts are those of qemu-storage-daemon 7.2 and 10.2. */
class BlockGraphTest {
    private final ControlLock lock = new ControlLock();
    private final List<String> log = new ArrayList<>();
    private final BlockGraph graph = new BlockGraph(lock, Fakes.logger(log));
    private final FakeDriver driver = new FakeDriver();

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    private BlockNode attach(String name, Permission... taken) {
        Set<Permission> permissions = EnumSet.noneOf(Permission.class);
        permissions.addAll(List.of(taken));
        return graph.attach(
                graph.find(name).orElseThrow(), () -> {}, permissions, Permission.all());
    }

    private List<String> names() {
        return graph.nodes().stream().map(Node::name).toList();
    }

    @ParameterizedTest(name = "''{0}'' -> {1}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    a                                |
                    a-b.c_1                          |
                    a23456789012345678901234567890x  |
                    a2345678901234567890123456789012 | Node name too long
                    1x                               | Invalid node-name: '1x'
                    ''                               | Invalid node-name: ''
                    #block1                          | Invalid node-name: '#block1'
                    a/b                              | Invalid node-name: 'a/b'
                    there                            | Duplicate nodes with node-name='there'
                    """)
    void nodeNames(String name, String message) {
        graph.add(options("there"));
        if (message == null) {
            graph.add(options(name));
            assertTrue(graph.find(name).isPresent());
        } else {
            refused(message, () -> graph.add(options(name)));
            assertEquals(List.of("there"), names());
        }
    }

    @Test
    void rootNodeNeedsName() {
        refused(
                "'node-name' must be specified for the root node",
                () -> graph.add(options((String) null)));
    }

    @Test
    void inlineChildrenGetNamesThatNobodyCanGuess() {
        graph.add(over("top", options((String) null)));
        assertEquals("top", names().getFirst());
        assertTrue(names().getLast().matches("#block0\\d\\d"), names().getLast());
    }

    @Test
    void nodesAreListedNewestFirst() {
        graph.add(options("a"));
        graph.add(over("c", options("b")));
        assertEquals(List.of("c", "b", "a"), names());
    }

    @Test
    void missingReferenceFailsBeforeTheNameIsLookedAt() {
        graph.add(options("a"));
        refused("Cannot find device='x' nor node-name='x'", () -> graph.add(over("a", "x")));
    }

    @Test
    void failedOpenLeavesNothing() {
        refused("Duplicate nodes with node-name='a'", () -> graph.add(over("a", options("a"))));
        assertTrue(driver.images.get("a").closed);
        assertEquals(List.of(), names());
        graph.add(options("a"));
        driver.refusal = Optional.of("Could not open");
        refused("Could not open", () -> graph.add(over("b", "a")));
        driver.refusal = Optional.empty();
        graph.remove("a");
        assertEquals(List.of(), names());
    }

    @Test
    void unknownDriver() {
        graph.removeDriver(driver, FakeDriver.PROPERTIES);
        refused("Unknown driver 'fake'", () -> graph.add(options("a")));
    }

    @Test
    void forceShareNeedsReadOnly() {
        refused(
                "force-share=on can only be used with read-only images",
                () -> graph.add(forceShare(options("a"))));
        graph.add(forceShare(readOnly(options("a"))));
        assertEquals(
                new OpenFlags(true, false, false, false, true, false),
                driver.specs.get("a").flags());
    }

    @Test
    void detectZeroesUnmapNeedsDiscardUnmap() {
        BlockdevOptions unmap = with(options("a"), DetectZeroes.UNMAP);
        refused(
                "setting detect-zeroes to unmap is not allowed without setting discard operation"
                        + " to unmap",
                () -> graph.add(unmap));
        graph.add(with(unmap, Discard.UNMAP));
    }

    @Test
    void inlineChildrenInheritOptions() {
        graph.add(cached(readOnly(over("top", options("file"))), true, true));
        assertEquals(
                new OpenFlags(true, false, true, true, false, false),
                driver.specs.get("file").flags());
        assertTrue(graph.find("file").orElseThrow().options().noFlush());
        assertEquals(
                new OpenFlags(true, false, true, false, false, false),
                driver.specs.get("top").flags());
    }

    @Test
    void inlineBackingNodesAreReadOnly() {
        graph.add(backedBy("top", options("base")));
        assertFalse(graph.find("top").orElseThrow().readOnly());
        assertTrue(graph.find("base").orElseThrow().readOnly());
    }

    @Test
    void imageThatCannotBeWrittenMakesItsNodeReadOnly() {
        driver.maker =
                _ ->
                        new FakeImage(512) {
                            @Override
                            public boolean readOnly() {
                                return true;
                            }
                        };
        graph.add(options("a"));
        assertTrue(graph.find("a").orElseThrow().readOnly());
        refused("Block node is read-only", () -> attach("a", Permission.WRITE));
    }

    @Test
    void nodesInUseAreNotRemoved() {
        graph.add(over("top", options("inline")));
        graph.add(options("alone"));
        graph.add(over("parent", "alone"));
        refused("Failed to find node with node-name='x'", () -> graph.remove("x"));
        refused("Node inline is not owned by the monitor", () -> graph.remove("inline"));
        refused("Block device alone is in use", () -> graph.remove("alone"));
        try (BlockNode handle = attach("parent")) {
            assertEquals("parent", handle.name());
            refused("Node parent is in use", () -> graph.remove("parent"));
        }
        graph.remove("parent");
        graph.remove("alone");
        graph.remove("top");
        assertEquals(List.of(), names());
        assertTrue(driver.images.values().stream().allMatch(image -> image.closed));
    }

    @Test
    void writableNodesAreFlushedBeforeTheyAreClosed() {
        graph.add(options("w"));
        graph.add(readOnly(options("r")));
        graph.add(cached(options("unsafe"), false, true));
        graph.remove("w");
        graph.remove("r");
        graph.remove("unsafe");
        assertEquals(List.of("flush"), driver.images.get("w").calls);
        assertEquals(List.of(), driver.images.get("r").calls);
        assertEquals(List.of(), driver.images.get("unsafe").calls);
    }

    /** QEMU opens a backing node after the node itself, and a file before it. */
    @Test
    void backingNodesAreNewerThanTheirNode() {
        graph.add(options("first"));
        graph.add(backedBy("top", backedBy("middle", over("below", options("file")))));
        assertEquals(
                List.of("below", "file", "middle", "top", "first"),
                graph.nodes().stream().map(Node::name).toList());
    }

    @Test
    void driverThatGoesTakesItsNodesAndTheirUsersAlong() {
        FakeDriver other = new FakeDriver();
        graph.addDriver(other, java.util.Map.of("block.driver.name", "other"));
        BlockdevOptions plain = options("base");
        graph.add(
                new BlockdevOptions(
                        "other",
                        plain.nodeName(),
                        plain.discard(),
                        plain.cache(),
                        plain.active(),
                        plain.readOnly(),
                        plain.autoReadOnly(),
                        plain.forceShare(),
                        plain.detectZeroes(),
                        plain.options()));
        graph.add(over("middle", "base"));
        graph.add(options("apart"));
        List<String> evicted = new ArrayList<>();
        Node middle = graph.find("middle").orElseThrow();
        BlockNode[] handle = new BlockNode[1];
        handle[0] =
                graph.attach(
                        middle,
                        () -> {
                            evicted.add("middle");
                            refused("Node 'middle' is being closed", () -> attach("middle"));
                            handle[0].close();
                        },
                        Set.of(Permission.WRITE),
                        Permission.all());
        graph.removeDriver(other, java.util.Map.of("block.driver.name", "other"));
        assertEquals(List.of("middle"), evicted);
        assertEquals(List.of("apart"), names());
        assertTrue(other.images.get("base").closed);
        assertTrue(driver.images.get("middle").closed);
        assertEquals(List.of(), log);
    }

    @Test
    void endClosesEverythingFromTheTop() {
        graph.add(over("top", options("file")));
        graph.close();
        assertEquals(List.of(), names());
        assertTrue(driver.images.get("file").closed);
    }

    /** A disk's error says it all; where the daemon was when it came says nothing. */
    @Test
    void diskThatFailsAtTheEndIsReportedInOneLine() {
        graph.add(options("a"));
        driver.images.get("a").failure = Optional.of(Errno.EIO);
        graph.close();
        assertEquals(List.of("error [Flushing node {} failed: {}, a, as the test wants it]"), log);
        assertTrue(driver.images.get("a").closed);
    }

    @Test
    void imageOfUserThatStaysIsNotClosed() {
        graph.add(options("a"));
        BlockNode handle = attach("a");
        graph.close();
        assertFalse(driver.images.get("a").closed);
        assertEquals(1, log.size());
        handle.close();
        assertTrue(driver.images.get("a").closed);
    }
}

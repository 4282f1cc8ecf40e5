package io.blockwharf.core.graph;

import static io.blockwharf.core.graph.FakeDriver.backedBy;
import static io.blockwharf.core.graph.FakeDriver.options;
import static io.blockwharf.core.graph.FakeDriver.over;
import static io.blockwharf.core.graph.FakeDriver.readOnly;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.ChildRole;
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

/**
 * Permissions, as QEMU's block.c has them. Letters are r consistent read, w write, u write
 * unchanged, s resize.
 */
class PermissionTest {
    private static final String LETTERS = "rwus";

    private final List<String> log = new ArrayList<>();
    private final BlockGraph graph = new BlockGraph(new ControlLock(), Fakes.logger(log));
    private final FakeDriver driver = new FakeDriver();

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    private static Set<Permission> set(String letters) {
        Set<Permission> set = EnumSet.noneOf(Permission.class);
        letters.chars()
                .filter(c -> c != '-')
                .forEach(c -> set.add(Permission.values()[LETTERS.indexOf(c)]));
        return set;
    }

    private static String letters(int bits) {
        StringBuilder letters = new StringBuilder();
        for (Permission permission : Perms.set(bits)) {
            letters.append(LETTERS.charAt(permission.ordinal()));
        }
        return letters.isEmpty() ? "-" : letters.toString();
    }

    private BlockNode attach(String node, String taken, String shared) {
        return graph.attach(graph.find(node).orElseThrow(), () -> {}, set(taken), set(shared));
    }

    private static void refused(String message, Executable action) {
        assertEquals(message, assertThrows(QmpException.class, action).getMessage());
    }

    @ParameterizedTest(name = "{0} child of a parent with {2}/{3}, {1}: {4}/{5}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    FILTERED | writable  | -  | rwus | -    | rwus
                    FILTERED | writable  | rw | rws  | rw   | rws
                    FILTERED | read-only | r  | r    | r    | r
                    DATA     | writable  | -  | rwus | -    | rwu
                    DATA     | writable  | rw | rwus | rw   | rwu
                    STORAGE  | writable  | -  | rwus | rws  | ru
                    STORAGE  | writable  | rw | rwus | rws  | ru
                    STORAGE  | read-only | r  | rwus | r    | ru
                    STORAGE  | read-only | -  | r    | r    | r
                    BACKING  | writable  | rw | rwus | r    | rwus
                    BACKING  | writable  | w  | rwus | -    | rwus
                    BACKING  | writable  | rw | rus  | r    | ru
                    FILLED   | writable  | r  | rwus | ru   | rus
                    FILTERED | inactive  | -  | rwus | -    | rwus
                    FILLED   | inactive  | -  | rwus | -    | rwus
                    DATA     | inactive  | -  | rwus | -    | rwus
                    STORAGE  | inactive  | -  | rwus | r    | rwus
                    BACKING  | inactive  | -  | rus  | -    | rwus
                    """)
    void roles(
            ChildRole role,
            String parent,
            String taken,
            String shared,
            String childTaken,
            String childShared) {
        Perms child =
                Perms.of(set(taken), set(shared))
                        .onChild(role, !parent.equals("read-only"), !parent.equals("inactive"));
        assertEquals(childTaken, letters(child.taken()));
        assertEquals(childShared, letters(child.shared()));
    }

    @ParameterizedTest(name = "first {0}/{1}, second {2}/{3}: {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    r  | rwus | rw | rwus |
                    rw | rwus | rw | rwus |
                    r  | rus  | w  | rwus | write
                    r  | r    | wus| rwus | write, write unchanged, resize
                    -  | wus  | r  | rwus | consistent read
                    rw | rwus | r  | rus  | write
                    s  | rwus | r  | rwu  | resize
                    r  | rwu  | rw | rwu  |
                    """)
    void conflictsGoBothWays(
            String taken1, String shared1, String taken2, String shared2, String conflict) {
        graph.add(options("n"));
        try (BlockNode first = attach("n", taken1, shared1)) {
            if (conflict == null) {
                attach("n", taken2, shared2).close();
            } else {
                refused(
                        "Permission conflict on node 'n': permissions '"
                                + conflict
                                + "' are both required by an unnamed block device (uses node 'n' as"
                                + " 'root' child) and unshared by an unnamed block device (uses"
                                + " node 'n' as 'root' child).",
                        () -> attach("n", taken2, shared2));
            }
            assertEquals(1, graph.find("n").orElseThrow().users.size());
            assertEquals("n", first.name());
        }
    }

    @Test
    void formatKeepsOthersFromWriting() {
        driver.fileRole = ChildRole.STORAGE;
        graph.add(options("f"));
        graph.add(over("q", "f"));
        refused(
                "Permission conflict on node 'f': permissions 'write' are both required by an"
                        + " unnamed block device (uses node 'f' as 'root' child) and unshared by"
                        + " node 'q' (uses node 'f' as 'file' child).",
                () -> attach("f", "rw", "rwus"));
        attach("f", "r", "rwus").close();
        refused(
                "Permission conflict on node 'f': permissions 'write, resize' are both required by"
                        + " node 'q' (uses node 'f' as 'file' child) and unshared by node 'q2'"
                        + " (uses node 'f' as 'file' child).",
                () -> graph.add(over("q2", "f")));
        assertEquals(Optional.empty(), graph.find("q2"));
    }

    @Test
    void formatIsNotOpenedOnWhatSomebodyWrites() {
        driver.fileRole = ChildRole.STORAGE;
        graph.add(options("f"));
        try (BlockNode writer = attach("f", "rw", "rwus")) {
            assertEquals(false, writer.readOnly());
            refused(
                    "Permission conflict on node 'f': permissions 'write' are both required by an"
                            + " unnamed block device (uses node 'f' as 'root' child) and unshared"
                            + " by node 'q' (uses node 'f' as 'file' child).",
                    () -> graph.add(over("q", "f")));
        }
        graph.add(over("q", "f"));
    }

    @Test
    void whoFillsItsChildLetsNobodyElseWriteIt() {
        driver.fileRole = ChildRole.FILLED;
        graph.add(options("f"));
        graph.add(over("c", "f"));
        refused(
                "Permission conflict on node 'f': permissions 'write' are both required by an"
                        + " unnamed block device (uses node 'f' as 'root' child) and unshared by"
                        + " node 'c' (uses node 'f' as 'file' child).",
                () -> attach("f", "rw", "rwus"));
        attach("f", "r", "rwus").close();
        attach("c", "rw", "rwus").close();
        assertTrue(graph.find("c").orElseThrow().children.get("file").writable());
    }

    @Test
    void filterPassesConflictsOn() {
        graph.add(options("f"));
        graph.add(over("a", "f"));
        graph.add(over("b", "f"));
        try (BlockNode reader = attach("a", "r", "r")) {
            refused(
                    "Permission conflict on node 'f': permissions 'write' are both required by node"
                            + " 'b' (uses node 'f' as 'file' child) and unshared by node 'a' (uses"
                            + " node 'f' as 'file' child).",
                    () -> attach("b", "rw", "rwus"));
            assertEquals("a", reader.name());
        }
        attach("b", "rw", "rwus").close();
    }

    @Test
    void conflictFarBelowLeavesEverythingAsItWas() {
        graph.add(options("f"));
        graph.add(over("m", "f"));
        graph.add(over("t", "m"));
        graph.add(readOnly(over("other", "f")));
        try (BlockNode reader = attach("other", "r", "r")) {
            assertThrows(QmpException.class, () -> attach("t", "rw", "rwus"));
            assertEquals(List.of(), driver.images.get("t").permissions);
            assertEquals(List.of(), driver.images.get("m").permissions);
            assertEquals(
                    List.of("[consistent read] [consistent read]"),
                    driver.images.get("f").permissions);
            assertEquals("other", reader.name());
        }
    }

    @Test
    void readOnlyNodesHaveNoWriters() {
        graph.add(readOnly(options("ro")));
        graph.add(over("top", "ro"));
        refused("Block node is read-only", () -> attach("ro", "rw", "rwus"));
        refused("Block node is read-only", () -> attach("ro", "u", "rwus"));
        refused("Block node is read-only", () -> attach("top", "rw", "rwus"));
        attach("top", "r", "rwus").close();
        attach("ro", "s", "rwus").close();
    }

    @Test
    void writerThatCannotResizeNeedsWholeBlocks() {
        driver.maker = _ -> FakeImage.aligned(512 * 3, 4096);
        graph.add(options("n"));
        refused(
                "Cannot get 'write' permission without 'resize': Image size is not a multiple of"
                        + " request alignment",
                () -> attach("n", "rw", "rwus"));
        attach("n", "rws", "rwus").close();
        attach("n", "r", "rwus").close();
    }

    @Test
    void childrenAreToldBeforeTheirParents() {
        List<String> order = new ArrayList<>();
        driver.maker =
                name ->
                        new FakeImage(512) {
                            @Override
                            public void permissions(Set<Permission> taken, Set<Permission> shared) {
                                order.add(name);
                            }
                        };
        graph.add(over("top", over("middle", options("file"))));
        BlockNode handle = attach("top", "rw", "rwus");
        assertEquals(List.of("file", "middle", "top"), order);
        handle.permissions(set("rw"), set("rwus"));
        assertEquals(3, order.size());
    }

    @Test
    void diamondIsToldOnce() {
        graph.add(options("f"));
        graph.add(over("left", "f"));
        FakeDriver.Options both =
                new FakeDriver.Options(
                        Optional.of(new io.blockwharf.api.block.BlockdevRef.Reference("left")),
                        Optional.of(new io.blockwharf.api.block.BlockdevRef.Reference("f")));
        graph.add(options("top", both));
        attach("top", "rw", "rwus");
        assertEquals(
                List.of("[consistent read, write] " + Permission.all()),
                driver.images.get("f").permissions);
    }

    @Test
    void refusalOfAnImageIsUndoneElsewhere() {
        graph.add(over("top", options("file")));
        BlockNode handle = attach("top", "r", "rwus");
        FakeImage top = driver.images.get("top");
        top.refused = Optional.of(Permission.WRITE);
        refused("Failed to get \"write\" lock", () -> handle.permissions(set("rw"), set("rwus")));
        String before = "[consistent read] " + Permission.all();
        assertEquals(
                List.of(before, "[consistent read, write] " + Permission.all(), before),
                driver.images.get("file").permissions);
        assertEquals(List.of(before), top.permissions);
        NodeHandle child = graph.find("top").orElseThrow().children.get("file");
        assertEquals("r", letters(child.perms().taken()));
        top.refused = Optional.empty();
        handle.permissions(set("rw"), set("rwus"));
        assertEquals("rw", letters(child.perms().taken()));
    }

    @Test
    void backingNodeMayBeSharedButNotBeWritten() {
        graph.add(backedBy("top", options("base")));
        attach("top", "rw", "rwus");
        NodeHandle child = graph.find("top").orElseThrow().children.get("backing");
        assertEquals("r", letters(child.perms().taken()));
    }
}

package io.blockwharf.core.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;
import io.blockwharf.core.graph.QueryNamedBlockNodes.BlockDeviceInfo;
import io.blockwharf.core.graph.QueryNamedBlockNodes.BlockdevCacheInfo;
import io.blockwharf.core.graph.QueryNamedBlockNodes.BlockdevChild;
import io.blockwharf.core.graph.QueryNamedBlockNodes.ImageInfo;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** The commands on nodes; texts are those of qemu-storage-daemon 7.2. */
class BlockCommandsTest {
    private final BlockGraph graph =
            new BlockGraph(new ControlLock(), Fakes.logger(new ArrayList<>()));
    private final FakeDriver driver = new FakeDriver();
    private final BlockdevAdd add = new BlockdevAdd(graph);
    private final BlockdevDel del = new BlockdevDel(graph);
    private final BlockResize resize = new BlockResize(graph);
    private final QueryNamedBlockNodes query = new QueryNamedBlockNodes(graph);

    @BeforeEach
    void registerDriver() {
        graph.addDriver(driver, FakeDriver.PROPERTIES);
    }

    private List<BlockDeviceInfo> nodes(boolean flat) {
        return query.execute(new QueryNamedBlockNodes.Arguments(Optional.of(flat)));
    }

    @ParameterizedTest(name = "device {0}, node {1}, size {2}, image answers {3}: {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                          | rw   | 2000001 | OK      |
                    dev   | rw   | 2000001 | OK      |
                          | none | -1      | OK      | Cannot find device='' nor node-name='none'
                    rw    |      | 512     | OK      | Cannot find device='rw' nor node-name=''
                          |      | 512     | OK      | Cannot find device='' nor node-name=''
                          | rw   | -1      | OK      | Parameter 'size' expects a >0 size
                          | ro   | 512     | OK      | Image is read-only
                          | rw   | 512     | ENOTSUP | as the test wants it
                          | rw   | 512     | ENOSPC  | as the test wants it
                    """)
    void resizing(String device, String node, long size, Errno answer, String message) {
        add.execute(FakeDriver.options("rw"));
        add.execute(FakeDriver.readOnly(FakeDriver.options("ro")));
        FakeImage image = driver.images.get("rw");
        image.failure = Optional.of(answer).filter(errno -> errno != Errno.OK);
        BlockResize.Arguments arguments =
                new BlockResize.Arguments(
                        Optional.ofNullable(device), Optional.ofNullable(node), size);
        if (message == null) {
            resize.execute(arguments);
            assertEquals(size, image.length());
            assertEquals(2_000_384, nodes(true).getLast().image().virtualSize());
        } else {
            QmpException refusal =
                    assertThrows(QmpException.class, () -> resize.execute(arguments));
            assertEquals(message, refusal.getMessage());
        }
        assertTrue(graph.nodes().stream().allMatch(each -> each.users.isEmpty()));
    }

    @Test
    void resizeRespectsWhoDoesNotShareIt() {
        add.execute(FakeDriver.options("n"));
        Set<Permission> shared = EnumSet.complementOf(EnumSet.of(Permission.RESIZE));
        try (BlockNode handle =
                graph.attach(graph.find("n").orElseThrow(), () -> {}, Set.of(), shared)) {
            assertEquals(
                    "Permission conflict on node 'n': permissions 'resize' are both required by an"
                            + " unnamed block device (uses node 'n' as 'root' child) and unshared"
                            + " by an unnamed block device (uses node 'n' as 'root' child).",
                    assertThrows(
                                    QmpException.class,
                                    () ->
                                            resize.execute(
                                                    new BlockResize.Arguments(
                                                            Optional.empty(),
                                                            Optional.of(handle.name()),
                                                            512)))
                            .getMessage());
        }
    }

    @Test
    void nodeIsDescribed() {
        driver.maker = _ -> new FakeImage(1000);
        add.execute(FakeDriver.options("base"));
        add.execute(
                FakeDriver.cached(
                        FakeDriver.with(FakeDriver.over("top", "base"), DetectZeroes.ON),
                        true,
                        true));
        BlockDeviceInfo top = nodes(false).getFirst();
        assertEquals(Optional.of("top"), top.nodeName());
        assertEquals("fake", top.drv());
        assertEquals("fake://", top.file());
        assertEquals(DetectZeroes.ON, top.detectZeroes());
        assertEquals(new BlockdevCacheInfo(true, true, true), top.cache());
        assertEquals(List.of(new BlockdevChild("file", "base")), top.children());
        assertEquals(
                new ImageInfo(
                        "fake://",
                        "fake",
                        Optional.empty(),
                        Optional.of(0L),
                        1024,
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty()),
                top.image());
        assertEquals(0, top.backingFileDepth());
    }

    @Test
    void backingChainIsShownUnlessFlat() {
        add.execute(FakeDriver.backedBy("a", FakeDriver.backedBy("b", FakeDriver.options("c"))));
        BlockDeviceInfo deep = nodes(false).getLast();
        assertEquals(2, deep.backingFileDepth());
        assertEquals(Optional.of("fake://"), deep.backingFile());
        assertTrue(deep.image().backingImage().flatMap(ImageInfo::backingImage).isPresent());
        assertEquals(Optional.empty(), nodes(true).getLast().image().backingImage());
        assertTrue(nodes(true).getFirst().ro());
    }

    @Test
    void addedNodeIsDeleted() {
        add.execute(FakeDriver.options("n"));
        del.execute(new BlockdevDel.Arguments("n"));
        assertEquals(List.of(), nodes(true));
    }
}

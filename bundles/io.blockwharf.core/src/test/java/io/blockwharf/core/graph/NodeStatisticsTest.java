package io.blockwharf.core.graph;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.Fakes;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Optional;

/** What is told of nodes beside their description: how far they were written, and their users. */
class NodeStatisticsTest {
    private final BlockGraph graph =
            new BlockGraph(new ControlLock(), Fakes.logger(new ArrayList<>()));
    private final List<Record> events = new ArrayList<>();
    private final BlockSetWriteThreshold threshold = new BlockSetWriteThreshold(graph, events::add);
    private final QueryBlockstats stats = new QueryBlockstats(graph);

    @BeforeEach
    void oneNodeOnAnother() {
        graph.addDriver(new FakeDriver(), FakeDriver.PROPERTIES);
        graph.add(FakeDriver.options("bottom"));
        graph.add(FakeDriver.over("top", "bottom"));
    }

    private BlockNode writer(String node) {
        return graph.attach(
                graph.find(node).orElseThrow(),
                () -> {},
                EnumSet.of(Permission.WRITE),
                Permission.all());
    }

    private void write(BlockNode node, long offset, int bytes) throws BlockIoException {
        try (Arena arena = Arena.ofConfined()) {
            node.write(offset, new IoVector(arena, 1).set(arena.allocate(bytes), 0, bytes), 0);
        }
    }

    private long written(String node) {
        return stats.execute(new QueryBlockstats.Arguments(Optional.of(true))).stream()
                .filter(each -> each.nodeName().equals(Optional.of(node)))
                .findFirst()
                .orElseThrow()
                .stats()
                .wrHighestOffset();
    }

    private void setThreshold(String node, long bytes) {
        threshold.execute(new BlockSetWriteThreshold.Arguments(node, bytes));
    }

    private long thresholdOf(String node) {
        return graph.find(node).orElseThrow().writeThreshold();
    }

    @Test
    void theHighestOffsetIsTheEndOfTheFarthestWrite() throws BlockIoException {
        assertEquals(0, written("top"));
        try (BlockNode node = writer("top")) {
            write(node, 8192, 512);
            write(node, 0, 512);
            assertEquals(8704, written("top"));
            node.writeZeroes(16384, 512, 0);
            node.discard(65536, 4096);
            assertEquals(16896, written("top"));
        }
    }

    @Test
    void onlyNodesAreCountedAndTheirFilesAreShownBelowThem() {
        assertEquals(List.of(), stats.execute(new QueryBlockstats.Arguments(Optional.empty())));
        var all = stats.execute(new QueryBlockstats.Arguments(Optional.of(true)));
        assertEquals(
                List.of(Optional.of("bottom"), Optional.of("top")),
                all.stream().map(QueryBlockstats.BlockStats::nodeName).toList());
        assertEquals(Optional.of(all.getFirst()), all.getLast().parent());
    }

    @Test
    void theFirstWriteBeyondTheThresholdIsToldOnce() throws BlockIoException {
        setThreshold("top", 4096);
        assertEquals(4096, thresholdOf("top"));
        try (BlockNode node = writer("top")) {
            write(node, 3584, 512);
            assertEquals(List.of(), events);
            write(node, 3584, 1024);
            write(node, 8192, 512);
        }
        assertEquals(List.of(new BlockWriteThreshold("top", 512, 4096)), events);
        assertEquals(0, thresholdOf("top"));
    }

    @Test
    void aNewThresholdReplacesTheOldOneAndZeroTakesItAway() throws BlockIoException {
        setThreshold("top", 1024);
        setThreshold("top", 2048);
        try (BlockNode node = writer("top")) {
            write(node, 1024, 512);
            assertEquals(List.of(), events);
            setThreshold("top", 0);
            write(node, 4096, 512);
        }
        assertEquals(List.of(), events);
        QmpException e = assertThrows(QmpException.class, () -> setThreshold("nope", 1));
        assertEquals("Device 'nope' not found", e.getMessage());
    }

    @Test
    void theGraphShowsNodesTheirUsersAndPermissions() {
        try (BlockNode _ = writer("top")) {
            QueryBlockGraph.XDbgBlockGraph shown =
                    new QueryBlockGraph(graph).execute(Nothing.NOTHING);
            assertEquals(
                    List.of("BLOCK_DRIVER top", "BLOCK_DRIVER bottom", "BLOCK_BACKEND "),
                    shown.nodes().stream().map(n -> n.type() + " " + n.name()).toList());
            assertEquals(
                    List.of("3-1 root [WRITE]", "1-2 file [WRITE]"),
                    shown.edges().stream()
                            .map(
                                    e ->
                                            e.parent()
                                                    + "-"
                                                    + e.child()
                                                    + " "
                                                    + e.name()
                                                    + " "
                                                    + e.perm())
                            .toList());
        }
    }

    @Test
    void drivesOfMachinesThereAreNone() {
        assertEquals(List.of(), new QueryBlock().execute(Nothing.NOTHING));
    }

    @Test
    void writtenZeroesCountAsWritten() throws BlockIoException {
        graph.add(FakeDriver.with(FakeDriver.options("zeroes"), DetectZeroes.ON));
        try (BlockNode node = writer("zeroes")) {
            write(node, 4096, 512);
        }
        assertEquals(4608, written("zeroes"));
    }
}

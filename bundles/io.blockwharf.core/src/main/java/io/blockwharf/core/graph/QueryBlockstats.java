package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.WireName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Optional;

/**
 * QMP {@code query-blockstats}. Drives of machines are counted in QEMU, nodes are not: of a node it
 * tells how far it was written, which is what {@code query-nodes} is used for.
 */
@Component
@QmpName("query-blockstats")
public final class QueryBlockstats
        implements QmpCommand<QueryBlockstats.Arguments, List<QueryBlockstats.BlockStats>> {
    /**
     * The arguments.
     *
     * @param queryNodes show nodes, not drives, of which there are none (default false)
     */
    public record Arguments(Optional<Boolean> queryNodes) {}

    /**
     * QAPI {@code BlockStats}.
     *
     * @param nodeName the node
     * @param stats what was counted
     * @param parent the node that holds its data
     * @param backing its backing node
     */
    public record BlockStats(
            Optional<String> nodeName,
            BlockDeviceStats stats,
            Optional<BlockStats> parent,
            Optional<BlockStats> backing) {}

    /**
     * QAPI {@code BlockDeviceStats}.
     *
     * @param wrHighestOffset one past the last byte that was ever written
     * @param timedStats none
     */
    public record BlockDeviceStats(
            @WireName("rd_bytes") long rdBytes,
            @WireName("wr_bytes") long wrBytes,
            @WireName("unmap_bytes") long unmapBytes,
            @WireName("rd_operations") long rdOperations,
            @WireName("wr_operations") long wrOperations,
            @WireName("flush_operations") long flushOperations,
            @WireName("unmap_operations") long unmapOperations,
            @WireName("rd_total_time_ns") long rdTotalTimeNs,
            @WireName("wr_total_time_ns") long wrTotalTimeNs,
            @WireName("flush_total_time_ns") long flushTotalTimeNs,
            @WireName("unmap_total_time_ns") long unmapTotalTimeNs,
            @WireName("wr_highest_offset") long wrHighestOffset,
            @WireName("rd_merged") long rdMerged,
            @WireName("wr_merged") long wrMerged,
            @WireName("unmap_merged") long unmapMerged,
            @WireName("failed_rd_operations") long failedRdOperations,
            @WireName("failed_wr_operations") long failedWrOperations,
            @WireName("failed_flush_operations") long failedFlushOperations,
            @WireName("failed_unmap_operations") long failedUnmapOperations,
            @WireName("invalid_rd_operations") long invalidRdOperations,
            @WireName("invalid_wr_operations") long invalidWrOperations,
            @WireName("invalid_flush_operations") long invalidFlushOperations,
            @WireName("invalid_unmap_operations") long invalidUnmapOperations,
            @WireName("account_invalid") boolean accountInvalid,
            @WireName("account_failed") boolean accountFailed,
            @WireName("timed_stats") List<BlockDeviceTimedStats> timedStats) {

        static BlockDeviceStats writtenTo(long end) {
            return new BlockDeviceStats(
                    0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, end, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, false,
                    false, List.of());
        }
    }

    /**
     * QAPI {@code BlockDeviceTimedStats}, which only drives have.
     *
     * @param intervalLength seconds
     */
    public record BlockDeviceTimedStats(@WireName("interval_length") long intervalLength) {}

    private final BlockGraph graph;

    /** Shows that graph. */
    @Activate
    public QueryBlockstats(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public List<BlockStats> execute(Arguments arguments) {
        if (!arguments.queryNodes().orElse(false)) {
            return List.of();
        }
        return graph.nodes().reversed().stream().map(QueryBlockstats::describe).toList();
    }

    private static BlockStats describe(Node node) {
        return new BlockStats(
                Optional.of(node.name),
                BlockDeviceStats.writtenTo(node.writtenEnd()),
                child(node, "file"),
                child(node, "backing"));
    }

    private static Optional<BlockStats> child(Node node, String name) {
        return Optional.ofNullable(node.children.get(name)).map(child -> describe(child.node));
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.core.graph.QueryNamedBlockNodes.BlockDeviceInfo;

import org.osgi.service.component.annotations.Component;

import java.util.List;
import java.util.Optional;

/**
 * QMP {@code query-block}: the drives of machines, of which a storage daemon has none, as in
 * QEMU's.
 */
@Component
@QmpName("query-block")
public final class QueryBlock implements QmpCommand<Nothing, List<QueryBlock.BlockInfo>> {
    /**
     * QAPI {@code BlockInfo}.
     *
     * @param device the drive's name
     * @param qdev the device's path
     * @param type "unknown"
     * @param removable whether its medium can be changed
     * @param locked whether the guest has locked it
     * @param inserted the medium
     */
    public record BlockInfo(
            String device,
            Optional<String> qdev,
            String type,
            boolean removable,
            boolean locked,
            Optional<BlockDeviceInfo> inserted) {}

    @Override
    public List<BlockInfo> execute(Nothing none) {
        return List.of();
    }
}

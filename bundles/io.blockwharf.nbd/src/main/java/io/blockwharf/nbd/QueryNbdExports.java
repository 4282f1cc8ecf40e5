package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/**
 * QMP {@code query-nbd-exports}: what the clients of each export have done, server by server,
 * oldest first. Not in QEMU.
 */
@Component
@QmpName("query-nbd-exports")
public final class QueryNbdExports implements QmpCommand<Nothing, List<NbdExportInfo>> {
    private final NbdServers servers;

    /** Asks these. */
    @Activate
    public QueryNbdExports(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public List<NbdExportInfo> execute(Nothing none) {
        return servers.running().stream()
                .flatMap(server -> server.exports().stream())
                .map(NbdExport::describe)
                .toList();
    }
}

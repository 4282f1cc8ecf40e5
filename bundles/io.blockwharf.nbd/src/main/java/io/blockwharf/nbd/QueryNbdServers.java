package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-nbd-servers}: the servers that run, oldest first. Not in QEMU. */
@Component
@QmpName("query-nbd-servers")
public final class QueryNbdServers implements QmpCommand<Nothing, List<NbdServerInfo>> {
    private final NbdServers servers;

    /** Asks these. */
    @Activate
    public QueryNbdServers(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public List<NbdServerInfo> execute(Nothing none) {
        return servers.running().stream().map(NbdServer::describe).toList();
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-nbd-clients}: who is connected, oldest first. Not in QEMU. */
@Component
@QmpName("query-nbd-clients")
public final class QueryNbdClients implements QmpCommand<Nothing, List<NbdClientInfo>> {
    private final NbdServers servers;

    /** Asks these. */
    @Activate
    public QueryNbdClients(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public List<NbdClientInfo> execute(Nothing none) {
        return servers.clients().stream().map(NbdSession::describe).toList();
    }
}

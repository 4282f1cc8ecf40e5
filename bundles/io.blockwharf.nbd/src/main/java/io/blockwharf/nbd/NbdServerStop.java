package io.blockwharf.nbd;

import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code nbd-server-stop}: ends the exports of the server, then the server and its clients. */
@Component
@QmpName("nbd-server-stop")
public final class NbdServerStop implements QmpCommand<Nothing, Nothing> {
    private final NbdServers servers;
    private final BlockExports exports;

    /** Stops that one. */
    @Activate
    public NbdServerStop(@Reference NbdServers servers, @Reference BlockExports exports) {
        this.servers = servers;
        this.exports = exports;
    }

    @Override
    public Nothing execute(Nothing none) {
        exports.removeAll(servers.required().exportIds());
        servers.stop();
        return Nothing.NOTHING;
    }
}

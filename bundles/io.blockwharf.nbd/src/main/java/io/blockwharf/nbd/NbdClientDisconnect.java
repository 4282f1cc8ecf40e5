package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/**
 * QMP {@code nbd-client-disconnect}: ends a connection at once; what it has in flight is finished.
 * Not in QEMU.
 */
@Component
@QmpName("nbd-client-disconnect")
public final class NbdClientDisconnect
        implements QmpCommand<NbdClientDisconnect.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param id as in {@link NbdClientInfo}
     */
    public record Arguments(long id) {}

    private final NbdServers servers;

    /** Ends connections of these. */
    @Activate
    public NbdClientDisconnect(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        servers.clients().stream()
                .filter(client -> client.number() == arguments.id())
                .findFirst()
                .orElseThrow(() -> QmpException.generic("NBD client %d not found", arguments.id()))
                .disconnect();
        return Nothing.NOTHING;
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.api.qmp.Wrapped;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** QMP {@code nbd-server-start}. */
@Component
@QmpName("nbd-server-start")
public final class NbdServerStart implements QmpCommand<NbdServerStart.Arguments, Nothing> {
    /** QAPI {@code NbdServerOptionsLegacy}; see {@link NbdServerOptions.Arguments}. */
    public record Arguments(
            @Unsigned(32) Optional<Long> handshakeMaxSeconds,
            Optional<String> tlsCreds,
            Optional<String> tlsAuthz,
            @Unsigned(32) Optional<Long> maxConnections,
            @Wrapped SocketAddress addr) {}

    private final NbdServers servers;

    /** Starts it there. */
    @Activate
    public NbdServerStart(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        servers.start(
                new NbdServerOptions.Arguments(
                        arguments.handshakeMaxSeconds(),
                        arguments.tlsCreds(),
                        arguments.tlsAuthz(),
                        arguments.maxConnections(),
                        arguments.addr()));
        return Nothing.NOTHING;
    }
}

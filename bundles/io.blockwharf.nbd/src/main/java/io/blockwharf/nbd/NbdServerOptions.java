package io.blockwharf.nbd;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** The option {@code --nbd-server}: {@code nbd-server-start} with the address in its flat form. */
@Component
@CommandLineOption(
        name = "nbd-server",
        help =
                "--nbd-server"
                    + " addr.type=inet,addr.host=<host>,addr.port=<port>[,max-connections=<n>][,handshake-max-seconds=<n>][,tls-creds=<id>][,tls-authz=<id>]"
                    + "  (also addr.type=unix,addr.path=<path>; vsock; fd,addr.str=<fd>): start an"
                    + " NBD server")
public final class NbdServerOptions implements QmpCommand<NbdServerOptions.Arguments, Nothing> {
    /**
     * QAPI {@code NbdServerOptions}.
     *
     * @param handshakeMaxSeconds how long a negotiation may take, 0 for ever (default 10)
     * @param tlsCreds id of the TLS credentials
     * @param tlsAuthz id of the authorizer of TLS clients
     * @param maxConnections connections at a time, 0 for any number (default 100)
     * @param addr where to listen
     */
    public record Arguments(
            @Unsigned(32) Optional<Long> handshakeMaxSeconds,
            Optional<String> tlsCreds,
            Optional<String> tlsAuthz,
            @Unsigned(32) Optional<Long> maxConnections,
            SocketAddress addr) {}

    private final NbdServers servers;

    /** Starts it there. */
    @Activate
    public NbdServerOptions(@Reference NbdServers servers) {
        this.servers = servers;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        servers.start(arguments);
        return Nothing.NOTHING;
    }
}

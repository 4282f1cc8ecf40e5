package io.blockwharf.nbd;

import io.blockwharf.api.export.Authorizer;
import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;

import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * The NBD server of the daemon, between {@code nbd-server-start} and {@code nbd-server-stop}.
 * Thread-safe; starting and stopping is core's lock's business.
 */
@Component(service = NbdServers.class)
public final class NbdServers {
    private final ObjectStore objects;
    private volatile Optional<NbdServer> server = Optional.empty();

    /** No server yet. */
    @Activate
    public NbdServers(@Reference ObjectStore objects) {
        this.objects = objects;
    }

    /** Starts the server; the checks in QEMU's order. */
    void start(NbdServerOptions.Arguments arguments) {
        if (server.isPresent()) {
            throw QmpException.generic("NBD server already running");
        }
        NbdServer.Limits limits =
                new NbdServer.Limits(
                        arguments
                                .maxConnections()
                                .orElse(NbdServer.Limits.DEFAULT.maxConnections()),
                        arguments
                                .handshakeMaxSeconds()
                                .orElse(NbdServer.Limits.DEFAULT.handshakeSeconds()));
        try {
            NbdServer bound = NbdServer.bind(arguments.addr(), limits);
            try {
                arguments
                        .tlsCreds()
                        .map(this::credentials)
                        .map(found -> new TlsPolicy(found, admission(arguments.tlsAuthz())))
                        .ifPresent(bound::require);
            } catch (QmpException e) {
                bound.unlink(); // "a failed start removes the socket again"
                bound.close();
                throw e;
            }
            bound.start();
            server = Optional.of(bound);
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }

    private TlsCredentials credentials(String id) {
        if (!objects.exists(id)) {
            throw QmpException.generic("No TLS credentials with id '%s'", id);
        }
        TlsCredentials found =
                objects.find(id, TlsCredentials.class)
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Object with id '%s' is not TLS credentials", id));
        if (!found.forServer()) {
            throw QmpException.generic("Expected TLS credentials for a server endpoint");
        }
        return found;
    }

    /** The authorizer is looked up for each client: one that is missing lets nobody in. */
    private Predicate<Optional<String>> admission(Optional<String> authorizer) {
        if (authorizer.isEmpty()) {
            return _ -> true;
        }
        String id = authorizer.get();
        return identity ->
                identity.isPresent()
                        && objects.find(id, Authorizer.class)
                                .map(found -> found.allows(identity.get()))
                                .orElse(false);
    }

    /** The running server. */
    NbdServer required() {
        return server.orElseThrow(() -> QmpException.generic("NBD server not running"));
    }

    /** Everybody who is connected, oldest first. */
    List<NbdSession> clients() {
        return server.map(NbdServer::clients).orElse(List.of());
    }

    /** Stops the server, whose exports are gone, and removes the file of a local socket. */
    void stop() {
        NbdServer running = required();
        server = Optional.empty();
        try {
            running.unlink();
        } catch (LinuxException e) {
            // A file that stays does not keep the server from stopping
        }
        running.close();
    }

    /**
     * The bundle or the daemon stops. As QEMU does at its end, leaves the file of a local socket
     * behind: its test suite removes it itself.
     */
    @Deactivate
    void close() {
        server.ifPresent(NbdServer::close);
        server = Optional.empty();
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.function.Predicate;

/**
 * The NBD servers of the daemon: QEMU's, which has no name, between {@code nbd-server-start} and
 * {@code nbd-server-stop}, and any number of objects of type {@code nbd-server}. Thread-safe;
 * starting and stopping is core's lock's business.
 */
@Component(service = NbdServers.class)
public final class NbdServers {
    /** A server that exports may be added to, which stays as long as they need it. */
    record Chosen(NbdServer server, Runnable release) {}

    private final ObjectStore objects;
    private final List<NbdServer> running = new CopyOnWriteArrayList<>();
    private volatile Optional<NbdServer> server = Optional.empty();

    /** No server yet. */
    @Activate
    public NbdServers(@Reference ObjectStore objects) {
        this.objects = objects;
    }

    /** Starts the server without a name; the checks in QEMU's order. */
    void start(NbdServerOptions.Arguments arguments) {
        if (server.isPresent()) {
            throw QmpException.generic("NBD server already running");
        }
        server = Optional.of(open(Optional.empty(), arguments));
    }

    /** Starts a server that {@link #close(NbdServer)} ends. */
    NbdServer open(Optional<String> id, NbdServerOptions.Arguments arguments) {
        NbdServer.Limits limits =
                new NbdServer.Limits(
                        arguments
                                .maxConnections()
                                .orElse(NbdServer.Limits.DEFAULT.maxConnections()),
                        arguments
                                .handshakeMaxSeconds()
                                .orElse(NbdServer.Limits.DEFAULT.handshakeSeconds()));
        try {
            NbdServer bound = NbdServer.bind(id, arguments.addr(), limits);
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
            running.add(bound);
            return bound;
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

    private Predicate<Optional<String>> admission(Optional<String> authorizer) {
        return authorizer
                .<Predicate<Optional<String>>>map(id -> new Gate(objects, id))
                .orElse(_ -> true);
    }

    /** Who may do what with an export. What is not to be listed is what cannot be read. */
    Access access(NbdExportOptions options) {
        return new Access(
                admission(options.listAuthz().or(options::readAuthz)),
                admission(options.readAuthz()),
                admission(options.writeAuthz()));
    }

    /** The running server. */
    NbdServer required() {
        return server.orElseThrow(() -> QmpException.generic("NBD server not running"));
    }

    /** The server of that id, or the one without; there until it is released. */
    Chosen choose(Optional<String> id) {
        if (id.isEmpty()) {
            return new Chosen(required(), () -> {});
        }
        ObjectStore.Use<NbdServerObject.Running> use =
                objects.use(id.get(), NbdServerObject.Running.class)
                        .orElseThrow(
                                () -> QmpException.generic("NBD server '%s' not found", id.get()));
        return new Chosen(use.object().server(), use::close);
    }

    /** All servers, oldest first. */
    List<NbdServer> running() {
        return List.copyOf(running);
    }

    /** Everybody who is connected to any server, oldest first. */
    List<NbdSession> clients() {
        return running.stream()
                .flatMap(each -> each.clients().stream())
                .sorted(Comparator.comparingLong(NbdSession::number))
                .toList();
    }

    /** Stops the server without a name, whose exports are gone. */
    void stop() {
        NbdServer stopping = required();
        server = Optional.empty();
        close(stopping);
    }

    /** Stops a server, whose exports are gone, and removes the file of a local socket. */
    void close(NbdServer stopping) {
        running.remove(stopping);
        try {
            stopping.unlink();
        } catch (LinuxException e) {
            // A file that stays does not keep the server from stopping
        }
        stopping.close();
    }

    /**
     * The bundle or the daemon stops. As QEMU does at its end, leaves the file of a local socket
     * behind: its test suite removes it itself.
     */
    @Deactivate
    void close() {
        server = Optional.empty();
        running.forEach(NbdServer::close);
        running.clear();
    }
}

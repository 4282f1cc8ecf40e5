package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.FdSets;
import io.blockwharf.linux.NamedDescriptors;
import io.blockwharf.qmp.chardev.Chardev;
import io.blockwharf.qmp.chardev.Peer;
import io.blockwharf.qmp.wire.JsonText;

import org.osgi.service.log.Logger;

import java.util.Optional;

/** Serves the clients of one chardev, one after the other, on a thread of its own. */
final class Monitor implements AutoCloseable {
    private final String name;
    private final Chardev chardev;
    private final JsonText style;
    private final QmpDispatcher dispatcher;
    private final Logger logger;
    private final Thread thread;
    private final NamedDescriptors names = new NamedDescriptors();
    private volatile Optional<Session> session = Optional.empty();
    private volatile boolean closed;

    Monitor(String name, Chardev chardev, JsonText style, QmpDispatcher dispatcher, Logger logger) {
        this.name = name;
        this.chardev = chardev;
        this.style = style;
        this.dispatcher = dispatcher;
        this.logger = logger;
        thread = Thread.ofPlatform().daemon().name("qmp " + name).unstarted(this::serve);
    }

    void start() {
        thread.start();
    }

    private void serve() {
        try {
            for (Optional<Peer> peer = chardev.nextPeer();
                    peer.isPresent();
                    peer = chardev.nextPeer()) {
                try (Peer client = peer.get()) {
                    Session current = new Session(dispatcher, client, name, style, names, logger);
                    session = Optional.of(current);
                    if (closed) {
                        return;
                    }
                    TraceEvent.QMP_CLIENT_CONNECTED.record(name);
                    FdSets.ofProcess().clientCame();
                    try {
                        current.run();
                    } finally {
                        FdSets.ofProcess().clientLeft();
                        TraceEvent.QMP_CLIENT_LEFT.record(name);
                    }
                } finally {
                    session = Optional.empty();
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (RuntimeException e) {
            logger.error("monitor {} failed", name, e);
        }
    }

    void event(QmpEvent event) {
        session.ifPresent(current -> current.event(event));
    }

    /** Ends the session, its answers sent, and serves no other. */
    @Override
    public void close() {
        closed = true;
        chardev.close();
        session.ifPresent(Session::end);
        names.close();
    }
}

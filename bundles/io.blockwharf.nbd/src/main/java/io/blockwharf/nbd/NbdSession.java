package io.blockwharf.nbd;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.Credentials;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Scheduling;
import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.link.PlainLink;
import io.blockwharf.nbd.link.TlsLink;

import java.io.IOException;
import java.time.Instant;
import java.util.Optional;

import javax.net.ssl.SSLException;

/**
 * One connection, from its greeting to its end.
 *
 * <p>The negotiation has a platform thread of its own, which then serves the requests, unless the
 * export belongs to an {@link IoThread}: then the connection moves to that loop. The same {@link
 * Transmission} runs on either. {@link #disconnect} may be called from any thread.
 */
final class NbdSession {
    private static final long STACK_BYTES = 256 << 10;

    private final NbdServer server;
    private final long number;
    private final FdSocket socket;

    /** Guards what ends the connection from other threads against its being ended already. */
    private final Object ending = new Object();

    private Link link;
    private volatile Optional<Tls> tls = Optional.empty();
    private final Input in = new Input();
    private boolean linkClosed;
    private final Instant since = Instant.now();
    private final String peer;
    private final Optional<Credentials> credentials;
    private volatile Optional<NbdExport> attached = Optional.empty();
    private volatile Transmission transmission;
    private volatile boolean draining;

    // On the loop
    private IoThread loop;
    private IoThread.Watch socketWatch;
    private IoThread.Watch queueWatch;
    private boolean reading = true;
    private boolean writing;

    NbdSession(NbdServer server, FdSocket socket, long number) throws LinuxException {
        this.server = server;
        this.number = number;
        // "both the client and server SHOULD disable Nagle's algorithm"
        socket.noDelay(true);
        peer = socket.peerAddress().text();
        credentials = socket.peerCredentials();
        this.socket = socket;
        link = new PlainLink(socket);
    }

    /** That the connection is encrypted, and for whom. */
    private record Tls(Optional<String> identity) {}

    /**
     * Goes on through TLS: NBD_OPT_STARTTLS. Waits for the handshake.
     *
     * @return what to use instead of the link from now on
     * @throws IOException if the handshake fails, or the client is not let in
     */
    Link startTls(TlsPolicy policy) throws IOException {
        TlsLink secure = TlsLink.open(socket, policy.credentials().newServerEngine());
        link = secure;
        Optional<String> identity = policy.credentials().identity(secure.session());
        if (!policy.admits().test(identity)) {
            throw new SSLException("the client is not let in");
        }
        tls = Optional.of(new Tls(identity));
        return secure;
    }

    /**
     * Who the client has proved to be: by TLS, or as a process on a local socket, for which the
     * kernel vouches.
     */
    Optional<String> identity() {
        return tls.flatMap(Tls::identity)
                .or(
                        () ->
                                credentials.map(
                                        c ->
                                                "uid=%s,gid=%s"
                                                        .formatted(
                                                                Integer.toUnsignedString(c.uid()),
                                                                Integer.toUnsignedString(
                                                                        c.gid()))));
    }

    /** Identifies the connection. */
    long number() {
        return number;
    }

    /** What there is to know about the client. From any thread. */
    NbdClientInfo describe() {
        Counters.Snapshot done = done();
        return new NbdClientInfo(
                number,
                server.id(),
                peer,
                credentials.map(c -> (long) c.pid()),
                credentials.map(c -> Integer.toUnsignedLong(c.uid())),
                credentials.map(c -> Integer.toUnsignedLong(c.gid())),
                since.getEpochSecond(),
                tls.isPresent(),
                tls.flatMap(Tls::identity),
                attached.map(NbdExport::name),
                done.reads(),
                done.writes(),
                done.others(),
                done.errors(),
                done.bytesRead(),
                done.bytesWritten(),
                done.inFlight(),
                done.latency());
    }

    /** What the client has done up to now. From any thread. */
    Counters.Snapshot done() {
        Transmission serving = transmission;
        return serving == null ? Counters.Snapshot.NOTHING : serving.counters().snapshot();
    }

    /** Begins. {@link NbdServer#ended} is called when all is over. */
    void start() {
        Thread thread = new Thread(null, this::run, "nbd-client-" + number, STACK_BYTES);
        thread.setDaemon(true);
        thread.start();
    }

    private void run() {
        boolean moved = false;
        TraceEvent.NBD_CLIENT_CONNECTED.record(number);
        try {
            Optional<Terms> terms;
            try (var _ = server.handshakeLimit(this)) {
                terms = new Negotiation(link, in, server, this).run();
            }
            if (terms.isPresent()) {
                moved = serve(terms.get());
            }
        } catch (IOException e) {
            // The client has gone, or was sent away: nobody to tell
        } finally {
            if (!moved) {
                end();
            }
        }
    }

    /** Whether the connection has moved to a loop, which ends it. */
    private boolean serve(Terms terms) throws IOException {
        Optional<IoThread> ioThread = terms.export().ioThread();
        transmission = new Transmission(link, in, terms, ioThread.isPresent());
        if (draining) {
            transmission.drain();
        }
        if (ioThread.isEmpty()) {
            Scheduling.batchThisThread();
            transmission.run();
            return false;
        }
        link.blocking(false);
        loop = ioThread.get();
        loop.execute(this::beginOnLoop);
        return true;
    }

    private void beginOnLoop() {
        socketWatch = loop.watch(link.fd(), this::turn);
        turn();
    }

    private void turn() {
        if (linkClosed) {
            return;
        }
        boolean goesOn = false;
        try {
            goesOn = transmission.turn();
        } finally {
            if (!goesOn) {
                socketWatch.close();
                if (queueWatch != null) {
                    queueWatch.close();
                }
                end();
            }
        }
        if (goesOn) {
            watch();
        }
    }

    private void watch() {
        // First: what is in flight when the client leaves is reported by the queue alone.
        if (queueWatch == null && transmission.queue().isPresent()) {
            queueWatch = loop.watch(transmission.queue().get().fd(), this::turn);
        }
        if (transmission.socketDone()) {
            socketWatch.close(); // a socket that is hung up would be reported again and again
            return;
        }
        if (reading != transmission.wantsInput()) {
            reading = !reading;
            socketWatch.readable(reading);
        }
        if (writing != transmission.wantsOutput()) {
            writing = !writing;
            socketWatch.writable(writing);
        }
    }

    /** Gives back what a session holds that was never started. */
    void discard() {
        end();
    }

    /** Remembers the export whose client this has become; called by the negotiation. */
    void attachedTo(NbdExport export) {
        attached = Optional.of(export);
        TraceEvent.NBD_CLIENT_ATTACHED.record(number, export.name());
    }

    /** Ends the connection at once; requests in flight are finished first. From any thread. */
    void disconnect() {
        synchronized (ending) {
            if (!linkClosed) {
                socket.shutdown();
            }
        }
    }

    /** Answers requests with ESHUTDOWN from now on. From any thread. */
    void drain() {
        draining =
                true; // before the look: whoever makes the transmission looks the other way round
        Transmission serving = transmission;
        if (serving != null) {
            serving.drain();
        }
    }

    private void end() {
        boolean wrote = false;
        TraceEvent.NBD_CLIENT_LEFT.record(number);
        if (transmission != null) {
            wrote = transmission.counters().changed;
            transmission.close();
        }
        synchronized (ending) {
            linkClosed = true;
            link.close();
        }
        in.close();
        // First: the end of an export may be the end of its server, which waits for its connections
        server.ended(this);
        if (attached.isPresent()) {
            attached.get().detach(this, wrote);
        }
    }
}

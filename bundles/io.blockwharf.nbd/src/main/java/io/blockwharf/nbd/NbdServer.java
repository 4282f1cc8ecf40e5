package io.blockwharf.nbd;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;

import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.locks.LockSupport;

/**
 * Listens at one address and serves exports by name. Thread-safe.
 *
 * <p>At the limit of connections nobody is accepted: clients wait in the kernel's backlog, as with
 * QEMU.
 */
final class NbdServer implements AutoCloseable {
    private static final int BACKLOG = 128;

    /** How long to leave clients in the backlog when descriptors or threads have run out. */
    private static final long RETRY_NANOS = TimeUnit.MILLISECONDS.toNanos(100);

    /**
     * Bounds.
     *
     * @param maxConnections connections at a time, 0 for any number; with 1, exports do not offer
     *     several connections to a client
     * @param handshakeSeconds how long a negotiation may take, 0 for ever
     */
    record Limits(long maxConnections, long handshakeSeconds) {
        /** QEMU's defaults. */
        static final Limits DEFAULT = new Limits(100, 10);
    }

    /** Ends the watch over a negotiation. */
    interface HandshakeLimit extends AutoCloseable {
        @Override
        void close();
    }

    /** Numbers of connections, whatever the server: a client is named by its number alone. */
    private static final AtomicLong NUMBERS = new AtomicLong();

    private final Optional<String> id;
    private final ListeningSocket listening;
    private final Limits limits;
    private volatile Optional<TlsPolicy> tls = Optional.empty();
    private final Thread acceptor;
    private final ScheduledThreadPoolExecutor timer;
    private final ThreadFactory threads;

    /** By name, oldest first; guarded by itself. */
    private final Map<String, NbdExport> exports = new LinkedHashMap<>();

    /** Oldest first; guarded by itself, which is notified when one ends. */
    private final Set<NbdSession> sessions = new LinkedHashSet<>();

    /** Ids of the exports that have not ended yet, found by clients or not. */
    private final Set<String> exportIds = ConcurrentHashMap.newKeySet();

    private boolean closed;

    private NbdServer(
            Optional<String> id, ListeningSocket listening, Limits limits, ThreadFactory threads) {
        this.id = id;
        this.listening = listening;
        this.limits = limits;
        this.threads = threads;
        timer =
                new ScheduledThreadPoolExecutor(
                        1,
                        task ->
                                Thread.ofPlatform()
                                        .daemon()
                                        .name("nbd-handshakes")
                                        .unstarted(task));
        timer.setRemoveOnCancelPolicy(true);
        acceptor = Thread.ofPlatform().daemon().name("nbd-accept").unstarted(this::accept);
    }

    /**
     * Listens; clients wait until {@link #start}.
     *
     * @param id of the server's object; empty for QEMU's server
     * @throws LinuxException with QEMU's sentence
     */
    static NbdServer bind(Optional<String> id, SocketAddress address, Limits limits)
            throws LinuxException {
        return bind(id, address, limits, Thread.ofPlatform().daemon().factory());
    }

    /**
     * The same.
     *
     * @param threads makes those of {@link #runAside}
     */
    static NbdServer bind(
            Optional<String> id, SocketAddress address, Limits limits, ThreadFactory threads)
            throws LinuxException {
        return new NbdServer(id, ListeningSocket.open(address, BACKLOG), limits, threads);
    }

    /** Of the server's object; empty for QEMU's server. */
    Optional<String> id() {
        return id;
    }

    /** Insists on TLS; before {@link #start}. */
    void require(TlsPolicy policy) {
        tls = Optional.of(policy);
    }

    /** The policy, if the server insists on TLS. */
    Optional<TlsPolicy> tls() {
        return tls;
    }

    /** Accepts clients from now on. */
    void start() {
        timer.prestartCoreThread();
        acceptor.start();
    }

    /** Where clients connect. */
    SocketAddress address() throws LinuxException {
        return listening.address();
    }

    /** What there is to know about the server. */
    NbdServerInfo describe() {
        List<String> addresses = List.of();
        try {
            addresses = listening.addresses().stream().map(SocketAddress::text).toList();
        } catch (LinuxException e) {
            // It is just being closed
        }
        return new NbdServerInfo(
                id,
                addresses,
                tls.isPresent(),
                limits.maxConnections(),
                limits.handshakeSeconds(),
                clients().size(),
                exports().stream().map(NbdExport::name).toList());
    }

    /** Whether a client may use several connections at once. */
    boolean multiConn() {
        return limits.maxConnections() != 1;
    }

    // ---- exports

    /** The exports, oldest first. */
    List<NbdExport> exports() {
        synchronized (exports) {
            return List.copyOf(exports.values());
        }
    }

    /** The export of that name. */
    Optional<NbdExport> export(String name) {
        synchronized (exports) {
            return Optional.ofNullable(exports.get(name));
        }
    }

    /** Lets clients find an export; false if there is one of that name. */
    boolean add(NbdExport export) {
        synchronized (exports) {
            return exports.putIfAbsent(export.name(), export) == null;
        }
    }

    /** Clients do not find the export any more; its name is free. */
    void remove(NbdExport export) {
        synchronized (exports) {
            exports.remove(export.name(), export);
        }
    }

    /** An export with that id begins, which {@link #ends} again. */
    void begins(String exportId) {
        exportIds.add(exportId);
    }

    void ends(String exportId) {
        exportIds.remove(exportId);
    }

    /** Ids of the exports that have not ended yet, those that clients do not find included. */
    Set<String> exportIds() {
        return Set.copyOf(exportIds);
    }

    /**
     * Runs what may take a while on a thread of its own. If threads have run out it runs on that of
     * the timer, which is there from {@link #start} on: late, and handshakes are watched late, but
     * it runs.
     */
    void runAside(String name, Runnable task) {
        try {
            Thread thread = threads.newThread(task);
            thread.setName(name);
            thread.start();
        } catch (OutOfMemoryError e) {
            timer.execute(task);
        }
    }

    // ---- connections

    private void accept() {
        try {
            while (roomForAnother()) {
                try {
                    Optional<FdSocket> socket = listening.accept();
                    if (socket.isEmpty()) {
                        return;
                    }
                    begin(socket.get());
                } catch (LinuxException e) {
                    // Out of descriptors or memory: the client waits until some are given back
                    LockSupport.parkNanos(RETRY_NANOS);
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private boolean roomForAnother() throws InterruptedException {
        synchronized (sessions) {
            while (!closed
                    && limits.maxConnections() != 0
                    && sessions.size() >= limits.maxConnections()) {
                sessions.wait();
            }
            return !closed;
        }
    }

    private void begin(FdSocket socket) {
        NbdSession session;
        synchronized (sessions) {
            if (closed) {
                socket.close();
                return;
            }
            try {
                session = new NbdSession(this, socket, NUMBERS.incrementAndGet());
            } catch (LinuxException e) {
                socket.close(); // gone before it began
                return;
            }
            sessions.add(session);
        }
        try {
            session.start();
        } catch (OutOfMemoryError e) {
            // Threads have run out, not the heap: others leave, and then the next client has one
            session.discard();
            LockSupport.parkNanos(RETRY_NANOS);
        }
    }

    /** A connection is over. */
    void ended(NbdSession session) {
        synchronized (sessions) {
            sessions.remove(session);
            sessions.notifyAll();
        }
    }

    /** Disconnects a client that has not finished its negotiation in time. */
    HandshakeLimit handshakeLimit(NbdSession session) {
        if (limits.handshakeSeconds() == 0) {
            return () -> {};
        }
        ScheduledFuture<?> end =
                timer.schedule(session::disconnect, limits.handshakeSeconds(), TimeUnit.SECONDS);
        return () -> end.cancel(false);
    }

    /** Connections at this moment, negotiating ones included, oldest first. */
    List<NbdSession> clients() {
        synchronized (sessions) {
            return List.copyOf(sessions);
        }
    }

    /** Removes the file of a local socket. */
    void unlink() throws LinuxException {
        listening.unlink();
    }

    /**
     * Stops listening, disconnects everybody and waits until they are gone. The exports have to be
     * closed before. Leaves the file of a local socket behind, see {@link #unlink}.
     */
    @Override
    public void close() {
        List<NbdSession> clients;
        synchronized (sessions) {
            closed = true;
            clients = List.copyOf(sessions);
            sessions.notifyAll();
        }
        listening.shutdown();
        clients.forEach(NbdSession::disconnect);
        boolean interrupted = false;
        while (true) {
            try {
                acceptor.join();
                synchronized (sessions) {
                    while (!sessions.isEmpty()) {
                        sessions.wait();
                    }
                }
                break;
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        listening.close();
        timer.shutdownNow();
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

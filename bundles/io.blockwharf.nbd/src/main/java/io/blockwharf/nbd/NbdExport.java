package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.TransmissionFlags;

import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/** An export of an NBD server. Thread-safe. */
final class NbdExport implements BlockExport {
    private enum Stage {
        /** Clients can find it. */
        OPEN,
        /** No new clients; ends with the last one. */
        HIDDEN,
        /** The same, and all were told to go. */
        CLOSED
    }

    private final NbdServer server;
    private final String name;
    private final String description;
    private final BlockNode node;
    private final boolean writable;
    private final Access access;
    private final Optional<IoThread> ioThread;
    private final List<MetaContext> contexts;
    private final Runnable release;
    private final CompletableFuture<Void> closed = new CompletableFuture<>();

    /** The clients that have finished their negotiation; guarded by this. */
    private final Set<NbdSession> sessions = new HashSet<>();

    private Stage stage = Stage.OPEN;
    private boolean written;

    /** What clients have done that have left; guarded by this. */
    private Counters.Snapshot past = Counters.Snapshot.NOTHING;

    /**
     * An export that nobody can find yet.
     *
     * @param contexts what clients may select, in order of id
     * @param release gives back what the export was made of; called once, just before it is {@link
     *     #closed}
     */
    NbdExport(
            NbdServer server,
            String name,
            String description,
            BlockNode node,
            boolean writable,
            Access access,
            Optional<IoThread> ioThread,
            List<MetaContext> contexts,
            Runnable release) {
        this.server = server;
        this.name = name;
        this.description = description;
        this.node = node;
        this.writable = writable;
        this.access = access;
        this.ioThread = ioThread;
        this.contexts = List.copyOf(contexts);
        this.release = release;
    }

    String name() {
        return name;
    }

    /** Empty if there is none. */
    String description() {
        return description;
    }

    BlockNode node() {
        return node;
    }

    /** Whether a client sees the export in the list. */
    boolean lists(Optional<String> identity) {
        return access.list().test(identity);
    }

    /** Whether a client may use the export. */
    boolean serves(Optional<String> identity) {
        return access.read().test(identity);
    }

    Optional<IoThread> ioThread() {
        return ioThread;
    }

    List<MetaContext> contexts() {
        return contexts;
    }

    /** What a client may access: whole blocks. */
    long size() {
        return node.length() & -node.limits().requestAlignment();
    }

    /** "Transmission flags", for a client that has negotiated this. */
    int transmissionFlags(ReplyStyle style, boolean hasContexts, Optional<String> identity) {
        int flags =
                TransmissionFlags.HAS_FLAGS
                        | TransmissionFlags.SEND_FLUSH
                        | TransmissionFlags.SEND_FUA
                        | TransmissionFlags.SEND_CACHE;
        flags |=
                writable && access.write().test(identity)
                        ? TransmissionFlags.SEND_TRIM
                                | TransmissionFlags.SEND_WRITE_ZEROES
                                | TransmissionFlags.SEND_FAST_ZERO
                        : TransmissionFlags.READ_ONLY;
        if (server.multiConn()) {
            flags |= TransmissionFlags.CAN_MULTI_CONN;
        }
        if (style != ReplyStyle.SIMPLE) {
            flags |= TransmissionFlags.SEND_DF;
        }
        if (style == ReplyStyle.EXTENDED && hasContexts) {
            flags |= TransmissionFlags.BLOCK_STATUS_PAYLOAD;
        }
        return flags;
    }

    /** Lets a client in that is about to finish its negotiation; false if the export is closing. */
    synchronized boolean attach(NbdSession session) {
        if (stage != Stage.OPEN) {
            return false;
        }
        sessions.add(session);
        session.attachedTo(this);
        return true;
    }

    /** What the clients have done. */
    NbdExportInfo describe() {
        Counters.Snapshot done;
        int clients;
        synchronized (this) {
            clients = sessions.size();
            done = sessions.stream().map(NbdSession::done).reduce(past, Counters.Snapshot::plus);
        }
        return new NbdExportInfo(
                name,
                server.id(),
                node.name(),
                size(),
                writable,
                clients,
                done.reads(),
                done.writes(),
                done.others(),
                done.errors(),
                done.bytesRead(),
                done.bytesWritten(),
                done.inFlight(),
                done.latency());
    }

    /** A client is gone and uses the node no more. */
    void detach(NbdSession session, boolean wrote) {
        boolean last;
        synchronized (this) {
            sessions.remove(session);
            past = past.plus(session.done());
            written |= wrote;
            last = stage != Stage.OPEN && sessions.isEmpty();
        }
        if (last) {
            finish();
        }
    }

    @Override
    public synchronized boolean inUse() {
        return !sessions.isEmpty();
    }

    @Override
    public void requestHide(boolean refuseRequests) {
        List<NbdSession> clients = leave(Stage.HIDDEN);
        if (refuseRequests) {
            clients.forEach(NbdSession::drain);
        }
    }

    @Override
    public void requestShutdown() {
        leave(Stage.CLOSED).forEach(NbdSession::disconnect);
    }

    /** Goes on to a stage, which may be the end; the clients that are still there. */
    private List<NbdSession> leave(Stage next) {
        List<NbdSession> clients;
        boolean first;
        synchronized (this) {
            first = stage == Stage.OPEN;
            stage = next.compareTo(stage) > 0 ? next : stage;
            clients = List.copyOf(sessions);
        }
        if (first) {
            server.remove(this);
            if (clients.isEmpty()) {
                finish();
            }
        }
        return clients;
    }

    /** Makes durable what clients wrote. That may take a while, so the caller does not wait. */
    private void finish() {
        boolean flush;
        synchronized (this) {
            flush = written;
        }
        if (flush) {
            server.runAside("nbd-flush-" + name, this::flush);
        } else {
            complete();
        }
    }

    private void flush() {
        try {
            node.flush();
        } catch (BlockIoException e) {
            // There is no client left to tell; one that cared has flushed
        } finally {
            complete();
        }
    }

    private void complete() {
        try {
            release.run();
        } finally {
            closed.complete(null);
        }
    }

    @Override
    public CompletionStage<Void> closed() {
        return closed.minimalCompletionStage();
    }

    @Override
    public Map<String, Object> details() {
        Map<String, Object> details = new LinkedHashMap<>();
        server.id().ifPresent(id -> details.put("server", id));
        details.put("name", name);
        details.put("description", description);
        synchronized (this) {
            details.put("clients", sessions.size());
        }
        return details;
    }
}

package io.blockwharf.vhostuser;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.IoThreads;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;

import org.osgi.service.log.Logger;

import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;

/**
 * A running export: accepts one front end at a time, the next one when it has left. The thread that
 * accepts also runs the session; vrings run on I/O threads.
 */
final class VhostUserExport implements BlockExport {
    private static final long ACCEPT_AGAIN_MILLIS = 200;

    private final ExportSpec<VhostUserBlkOptions> spec;
    private final VirtioBlk device;
    private final int queues;
    private final ListeningSocket listener;
    private final QueueThreads threads;
    private final Logger log;
    private final Complaints complaints;
    private final CompletableFuture<Void> closed = new CompletableFuture<>();

    /** Guarded by this. */
    private Optional<VhostUserSession> session = Optional.empty();

    private boolean stopping;
    private boolean removed;
    private long sessions;

    private VhostUserExport(
            ExportSpec<VhostUserBlkOptions> spec,
            VirtioBlk device,
            int queues,
            ListeningSocket listener,
            IoThreads ioThreads,
            Logger log) {
        this.spec = spec;
        this.device = device;
        this.queues = queues;
        this.listener = listener;
        this.log = log;
        complaints = new Complaints(log, System::nanoTime);
        threads = new QueueThreads(spec, "vhost-user-blk", queues, ioThreads);
    }

    /** Starts to listen. */
    static VhostUserExport start(
            ExportSpec<VhostUserBlkOptions> spec,
            VirtioBlk device,
            int queues,
            ListeningSocket listener,
            IoThreads ioThreads,
            Logger log) {
        var export = new VhostUserExport(spec, device, queues, listener, ioThreads, log);
        spec.node().onResize(export::resized);
        Thread.ofPlatform().name("vhost-user-blk " + spec.id()).daemon().start(export::acceptAll);
        return export;
    }

    private void acceptAll() {
        try {
            for (Optional<FdSocket> peer; (peer = accept()).isPresent(); ) {
                var next =
                        new VhostUserSession(device, peer.get(), queues, threads, log, complaints);
                if (!begin(next)) {
                    peer.get().close();
                    break;
                }
                next.run();
                end();
            }
        } finally {
            unlinkIfRemoved();
            listener.close();
            threads.close();
            flush();
            closed.complete(null);
        }
    }

    /** Front ends that outlive the daemon wait for its successor at the socket's file. */
    private synchronized void unlinkIfRemoved() {
        if (removed) {
            try {
                listener.unlink();
            } catch (LinuxException e) {
                log.warn("vhost-user-blk export {}: {}", spec.id(), e.getMessage());
            }
        }
    }

    /** Waits for a front end. What keeps it from being accepted (no descriptor, say) may pass. */
    private Optional<FdSocket> accept() {
        for (boolean failed = false; ; failed = true) {
            try {
                return listener.accept();
            } catch (LinuxException e) {
                if (!failed) {
                    log.error(
                            "vhost-user-blk export {} cannot accept a front end, which waits: {}",
                            spec.id(),
                            e.getMessage());
                }
                if (!pause()) {
                    return Optional.empty();
                }
            }
        }
    }

    /** Whether the export goes on afterwards. */
    private synchronized boolean pause() {
        try {
            if (!stopping) {
                wait(ACCEPT_AGAIN_MILLIS);
            }
            return !stopping;
        } catch (InterruptedException e) {
            return false;
        }
    }

    private synchronized boolean begin(VhostUserSession next) {
        if (stopping) {
            return false;
        }
        sessions++;
        session = Optional.of(next);
        return true;
    }

    private synchronized void end() {
        session = Optional.empty();
    }

    private synchronized void resized() {
        session.ifPresent(VhostUserSession::configChanged);
    }

    private void flush() {
        if (spec.writable()) {
            try {
                spec.node().flush();
            } catch (BlockIoException e) {
                log.error("flush of {}: {}", spec.node().name(), e.getMessage());
            }
        }
    }

    /** A connected front end counts as a user: QEMU's does not, and loses its guest's disk. */
    @Override
    public synchronized boolean inUse() {
        return session.isPresent();
    }

    @Override
    public synchronized void requestShutdown() {
        stopping = true;
        notifyAll();
        listener.shutdown();
        session.ifPresent(VhostUserSession::shutdown);
    }

    @Override
    public synchronized void requestRemoval() {
        removed = true;
        requestShutdown();
    }

    @Override
    public CompletionStage<Void> closed() {
        return closed;
    }

    @Override
    public synchronized Map<String, Object> details() {
        return Map.of(
                "connected",
                session.isPresent(),
                "connections",
                sessions,
                "queues",
                queues,
                "threads",
                threads.count());
    }
}

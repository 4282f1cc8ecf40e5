package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.log.Logger;

import java.util.Optional;

/**
 * A socket that peers connect to, one at a time: further ones stay in the backlog until the one
 * before is closed.
 */
final class SocketServer implements Chardev {
    private static final int BACKLOG = 16;

    /** How long to wait when there are no descriptors left for another connection. */
    private static final long EXHAUSTED_MILLIS = 200;

    private final ListeningSocket listener;
    private final SocketAddress address;
    private final boolean noDelay;
    private final Logger logger;

    /** Accepted before a front end asked. */
    private Optional<FdSocket> waiting = Optional.empty();

    /** Whether a thread is in the listener's accept. */
    private boolean accepting;

    private boolean connected;
    private boolean closed;

    SocketServer(SocketAddress requested, boolean noDelay, Logger logger) throws LinuxException {
        this.noDelay = noDelay;
        this.logger = logger;
        listener = ListeningSocket.open(requested, BACKLOG);
        address = listener.address();
    }

    /** Waits until a client has connected, which the next {@link #nextPeer} returns. */
    void awaitClient() {
        Optional<FdSocket> client = accept();
        synchronized (this) {
            waiting = client;
        }
    }

    @Override
    public Optional<Peer> nextPeer() {
        Optional<FdSocket> client;
        synchronized (this) {
            client = waiting;
            waiting = Optional.empty();
        }
        return client.or(this::accept).map(this::peer);
    }

    private Peer peer(FdSocket socket) {
        Sockets.noDelay(socket, noDelay, logger);
        connected(true);
        return new SocketPeer(socket, () -> connected(false));
    }

    private synchronized void connected(boolean now) {
        connected = now;
    }

    private Optional<FdSocket> accept() {
        synchronized (this) {
            if (closed) {
                return Optional.empty();
            }
            accepting = true;
        }
        try {
            for (; ; ) {
                try {
                    return listener.accept();
                } catch (LinuxException e) {
                    logger.warn("{}: {}", filename(), e.getMessage());
                    synchronized (this) {
                        if (!closed) {
                            wait(EXHAUSTED_MILLIS);
                        }
                    }
                }
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return Optional.empty();
        } finally {
            synchronized (this) {
                accepting = false;
                notifyAll();
            }
        }
    }

    @Override
    public synchronized String filename() {
        return (connected ? "" : "disconnected:") + Sockets.text(address) + ",server=on";
    }

    @Override
    public synchronized void close() {
        if (closed) {
            return;
        }
        closed = true;
        listener.shutdown();
        notifyAll();
        boolean interrupted = false;
        while (accepting) {
            try {
                wait();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        waiting.ifPresent(FdSocket::close);
        waiting = Optional.empty();
        try {
            listener.unlink();
        } catch (LinuxException e) {
            logger.info("{}", e.getMessage());
        }
        listener.close();
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

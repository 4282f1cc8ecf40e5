package io.blockwharf.qmp.chardev;

import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.log.Logger;

import java.util.Optional;

/** A socket that connects to its peer, and perhaps again when the connection has ended. */
final class SocketClient implements Chardev {
    private final String id;
    private final SocketAddress address;
    private final boolean noDelay;
    private final long reconnectMillis;
    private final Logger logger;

    /** Connected before a front end asked. */
    private Optional<FdSocket> first = Optional.empty();

    private boolean connected;
    private boolean attempted;
    private boolean closed;

    /**
     * Connects.
     *
     * @param reconnectMillis from the end of a connection to the next attempt; 0: there is only one
     *     connection
     * @throws LinuxException if it cannot connect, unless it shall try again
     */
    SocketClient(
            String id, SocketAddress address, boolean noDelay, long reconnectMillis, Logger logger)
            throws LinuxException {
        this.id = id;
        this.address = address;
        this.noDelay = noDelay;
        this.reconnectMillis = reconnectMillis;
        this.logger = logger;
        if (reconnectMillis == 0) {
            first = Optional.of(FdSocket.connect(address));
        }
    }

    @Override
    public Optional<Peer> nextPeer() {
        synchronized (this) {
            if (first.isPresent()) {
                Optional<Peer> peer = first.map(this::peer);
                first = Optional.empty();
                return peer;
            }
        }
        while (reconnectMillis > 0 && pause()) {
            TraceEvent.CHARDEV_RECONNECT.record(id);
            try {
                return Optional.of(peer(FdSocket.connect(address)));
            } catch (LinuxException e) {
                logger.warn("Unable to connect character device {}: {}", id, e.getMessage());
            }
        }
        return Optional.empty();
    }

    /** Waits between two attempts; false if the device is closed. */
    private synchronized boolean pause() {
        try {
            long end = System.nanoTime() + reconnectMillis * 1_000_000;
            for (long left = reconnectMillis; attempted && !closed && left > 0; ) {
                wait(left);
                left = (end - System.nanoTime()) / 1_000_000;
            }
            attempted = true;
            return !closed;
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
    }

    private synchronized Peer peer(FdSocket socket) {
        Sockets.noDelay(socket, noDelay, logger);
        connected = true;
        return new SocketPeer(socket, this::disconnected);
    }

    private synchronized void disconnected() {
        connected = false;
    }

    @Override
    public synchronized String filename() {
        return (connected || first.isPresent() ? "" : "disconnected:") + Sockets.text(address);
    }

    @Override
    public synchronized void close() {
        closed = true;
        first.ifPresent(FdSocket::close);
        first = Optional.empty();
        notifyAll();
    }
}

package io.blockwharf.qmp;

import io.blockwharf.qmp.chardev.Peer;

import java.io.IOException;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * Sends messages in their order, so that nobody but its own thread has to wait for a client that
 * does not read. Thread-safe.
 */
final class Outbox {
    /** Bytes that may wait to be sent; a message is taken while there are fewer. */
    static final int LIMIT = 1 << 20;

    private final Peer peer;
    private final Thread thread;
    private final Deque<byte[]> messages = new ArrayDeque<>();

    /** Bytes of {@code messages} and of the one that is being written. */
    private int pending;

    private boolean ending;
    private boolean broken;

    Outbox(Peer peer, String name) {
        this.peer = peer;
        thread = Thread.ofPlatform().daemon().name(name).unstarted(this::write);
    }

    void start() {
        thread.start();
    }

    /** Sends, waiting while there is too much to be sent. Nothing happens when the peer is gone. */
    synchronized void send(byte[] message) throws InterruptedException {
        while (pending >= LIMIT && !broken) {
            wait();
        }
        add(message);
    }

    /** Sends unless there is too much to be sent; never waits. */
    synchronized boolean offer(byte[] message) {
        if (pending >= LIMIT) {
            return false;
        }
        add(message);
        return true;
    }

    private void add(byte[] message) {
        if (!broken && !ending) {
            messages.add(message);
            pending += message.length;
            notifyAll();
        }
    }

    /** Takes no more messages and waits until everything is sent, but not longer than that. */
    void finish(long millis) throws InterruptedException {
        synchronized (this) {
            ending = true;
            notifyAll();
        }
        thread.join(millis);
    }

    /** Waits for the thread, which must not be writing for ever: {@link Peer#shutdown} first. */
    void close() throws InterruptedException {
        synchronized (this) {
            ending = true;
            broken = true;
            notifyAll();
        }
        thread.join();
    }

    private void write() {
        try {
            for (; ; ) {
                byte[] message;
                synchronized (this) {
                    while (messages.isEmpty() && !ending) {
                        wait();
                    }
                    if (messages.isEmpty()) {
                        return;
                    }
                    message = messages.remove();
                }
                peer.write(message);
                synchronized (this) {
                    pending -= message.length;
                    notifyAll();
                }
            }
        } catch (IOException e) {
            breakOff();
        } catch (InterruptedException e) {
            breakOff();
            Thread.currentThread().interrupt();
        }
    }

    /** The peer is gone; whoever reads from it will notice. */
    private synchronized void breakOff() {
        broken = true;
        messages.clear();
        pending = 0;
        notifyAll();
    }
}

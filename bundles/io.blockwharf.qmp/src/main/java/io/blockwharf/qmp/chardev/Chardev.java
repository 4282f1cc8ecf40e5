package io.blockwharf.qmp.chardev;

import java.util.Optional;

/**
 * A character device: where peers come from, one after the other. A front end (a monitor) takes one
 * peer, serves it, closes it, and asks for the next.
 */
public interface Chardev extends AutoCloseable {
    /**
     * Waits for the next peer. By one thread at a time.
     *
     * @return the peer; empty when there will be none any more, or after {@link #close}
     */
    Optional<Peer> nextPeer();

    /** What {@code query-chardev} calls the file name: where the other end is. */
    String filename();

    /**
     * Takes the device away: {@link #nextPeer} returns empty. A peer that it gave before is left
     * alone. From any thread; idempotent.
     */
    @Override
    void close();
}

package io.blockwharf.qmp.chardev;

import java.util.Optional;

/** A device with one peer, which is there from the beginning. */
final class SinglePeer implements Chardev {
    private final String filename;
    private Optional<Peer> peer;

    SinglePeer(String filename, Peer peer) {
        this.filename = filename;
        this.peer = Optional.of(peer);
    }

    @Override
    public synchronized Optional<Peer> nextPeer() {
        Optional<Peer> next = peer;
        peer = Optional.empty();
        return next;
    }

    @Override
    public String filename() {
        return filename;
    }

    @Override
    public void close() {
        nextPeer().ifPresent(Peer::close);
    }
}

package io.blockwharf.qmp;

import io.blockwharf.linux.Descriptor;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.Optional;

/**
 * Descriptors that a client sent along with its bytes and that no command has claimed yet. A
 * descriptor is for the first command that asks for one, among those whose last byte came with it
 * or after it; the next one that comes takes its place, and what was not claimed is closed. As
 * requests are read ahead, each remembers how many had come when it was complete. Thread-safe.
 */
final class PassedDescriptors implements AutoCloseable {
    private record Arrival(long number, Descriptor descriptor) {}

    private final Deque<Arrival> arrivals = new ArrayDeque<>();
    private long arrived;
    private long lastMark;
    private boolean closed;

    /** Takes a descriptor that came. */
    synchronized void add(Descriptor descriptor) {
        if (closed) {
            descriptor.close();
            return;
        }
        if (arrived > lastMark && !arrivals.isEmpty()) {
            close(arrivals.removeLast()); // no request was completed between the two
        }
        arrived++;
        arrivals.add(new Arrival(arrived, descriptor));
    }

    /** For a request that is complete: what {@link #claim} is to be called with. */
    synchronized long mark() {
        lastMark = arrived;
        return arrived;
    }

    /** Hands over what came last before the mark, unless that was claimed. */
    synchronized Optional<Descriptor> claim(long mark) {
        settle(mark);
        return arrivals.isEmpty() || arrivals.getFirst().number() > mark
                ? Optional.empty()
                : Optional.of(arrivals.removeFirst().descriptor());
    }

    /** Closes what requests from that one on cannot claim. */
    synchronized void settle(long mark) {
        while (!arrivals.isEmpty() && arrivals.getFirst().number() < mark) {
            close(arrivals.removeFirst());
        }
    }

    private static void close(Arrival arrival) {
        arrival.descriptor().close();
    }

    /** Closes all, and whatever still comes. */
    @Override
    public synchronized void close() {
        closed = true;
        arrivals.forEach(PassedDescriptors::close);
        arrivals.clear();
    }
}

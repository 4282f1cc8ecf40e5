package io.blockwharf.vhostuser;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.Doorbell;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.vhostuser.wire.Request;
import io.blockwharf.virtio.blk.RunningQueue;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.DirtyLog;
import io.blockwharf.virtio.queue.GuestMemory;
import io.blockwharf.virtio.queue.PackedQueue;
import io.blockwharf.virtio.queue.SplitQueue;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import org.osgi.service.log.Logger;

import java.io.UncheckedIOException;
import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * One vring: vhost-user specification, "Ring states".
 *
 * <p>The session's thread configures it while it is stopped, starts it, and stops it; while it runs
 * the descriptors belong to its {@link IoThread}. {@link #start} and {@link #stop} hand them over,
 * so that no field is ever touched by both.
 */
final class Vring {
    /** What the session supplies when a vring starts. */
    record Environment(
            VirtioBlk device,
            MemoryTable memory,
            long features,
            Optional<MemorySegment> inFlight,
            DirtyLog dirtyLog) {}

    private final int index;
    private final IoThread thread;
    private final Logger log;
    private final Complaints complaints;

    private int size;
    private int position;
    private Optional<Request.VringAddress> address = Optional.empty();
    private Optional<EventFd> kick = Optional.empty();

    /** Whether the front end wants the ring polled, and has no kick descriptor for it. */
    private boolean polled;

    private Optional<Doorbell> call = Optional.empty();
    private Optional<Doorbell> error = Optional.empty();
    private boolean enabled;
    private Optional<RunningQueue> running = Optional.empty();
    private long requests;

    Vring(int index, IoThread thread, Logger log, Complaints complaints) {
        this.index = index;
        this.thread = thread;
        this.log = log;
        this.complaints = complaints;
    }

    int index() {
        return index;
    }

    boolean running() {
        return running.isPresent();
    }

    /** Requests taken by runs that have ended. */
    long requests() {
        return requests;
    }

    void size(int entries) {
        size = entries;
    }

    void position(int value) {
        position = value;
    }

    int position() {
        return position;
    }

    void address(Request.VringAddress value) {
        address = Optional.of(value);
    }

    void enabled(boolean value) {
        enabled = value;
    }

    void kick(Optional<EventFd> value) {
        kick.ifPresent(EventFd::close);
        kick = value;
        polled = false;
    }

    /** Instead of a kick descriptor. */
    void poll() {
        kick(Optional.empty());
        polled = true;
    }

    void error(Optional<Doorbell> value) {
        error.ifPresent(Doorbell::close);
        error = value;
    }

    /** May be replaced while the vring runs. One that is rung before it runs is, too. */
    void call(Optional<Doorbell> value) {
        RunningQueue.run(thread, () -> replaceCall(value));
    }

    private void replaceCall(Optional<Doorbell> value) {
        call.ifPresent(Doorbell::close);
        call = value;
        notifyDriver(); // whatever the old descriptor was not told any more
    }

    /** Starts it if it is configured completely and enabled; otherwise nothing happens. */
    void start(Environment environment) {
        boolean startable = enabled && size > 0 && address.isPresent();
        if (running.isPresent() || !startable || kick.isEmpty() && !polled) {
            return;
        }
        running =
                Optional.of(
                        RunningQueue.start(
                                thread,
                                environment.device,
                                kick.map(fd -> OptionalInt.of(fd.fd())).orElse(OptionalInt.empty()),
                                environment.inFlight,
                                new RunningQueue.Transport() {
                                    @Override
                                    public Virtqueue open() throws VirtqueueException {
                                        return Vring.this.open(environment);
                                    }

                                    @Override
                                    public void notifyDriver() {
                                        Vring.this.notifyDriver();
                                    }

                                    @Override
                                    public void broken(Throwable reason) {
                                        Vring.this.broken(reason);
                                    }
                                }));
    }

    /** Finishes what is in flight and stops it. Returns when it is at rest. */
    void stop() {
        if (running.isEmpty()) {
            return;
        }
        RunningQueue ended = running.get();
        ended.stop();
        position = ended.position().orElse(position);
        requests += ended.served();
        running = Optional.empty();
    }

    /** Writes go to another dirty log from now on. */
    void dirtyLog(DirtyLog value) {
        running.ifPresent(queue -> queue.with(ring -> ring.dirtyLog(value)));
    }

    /** Back to the state of a new vring; its descriptors are closed. Stop it first. */
    void reset() {
        kick(Optional.empty());
        call(Optional.empty());
        error(Optional.empty());
        address = Optional.empty();
        size = 0;
        position = 0;
        enabled = false;
    }

    // ---- on the I/O thread

    private Virtqueue open(Environment environment) throws VirtqueueException {
        GuestMemory memory = environment.memory.view();
        var at = address.orElseThrow();
        long descriptors = guest(environment, at.descriptors());
        long available = guest(environment, at.available());
        long used = guest(environment, at.used());
        Virtqueue queue =
                (environment.features & Virtqueue.F_RING_PACKED) != 0
                        ? new PackedQueue(
                                memory,
                                size,
                                environment.features,
                                descriptors,
                                available,
                                used,
                                position)
                        : new SplitQueue(
                                memory,
                                size,
                                environment.features,
                                descriptors,
                                available,
                                used,
                                position);
        queue.dirtyLog(environment.dirtyLog);
        return queue;
    }

    private static long guest(Environment environment, long userAddress) throws VirtqueueException {
        return environment
                .memory
                .guestAddress(userAddress)
                .orElseThrow(
                        () ->
                                new VirtqueueException(
                                        "ring address 0x%x is not in shared memory"
                                                .formatted(userAddress)));
    }

    /** It stays silent until the front end stops it. */
    private void broken(Throwable reason) {
        // That the kernel has no memory left for a watch is nothing to look for in this code
        if (reason instanceof RuntimeException && !(reason instanceof UncheckedIOException)) {
            log.error("vring {} is broken", index, reason);
        } else {
            complaints.warn("vring " + index + " is broken: " + reason.getMessage());
        }
        error.ifPresent(Vring::ring);
    }

    private void notifyDriver() {
        call.ifPresent(Vring::ring);
    }

    private static void ring(Doorbell bell) {
        try {
            bell.ring();
        } catch (LinuxException e) {
            throw new UncheckedIOException(e); // the kernel has no reason to
        }
    }
}

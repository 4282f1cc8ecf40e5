package io.blockwharf.vhostuser;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.vhostuser.wire.Request;
import io.blockwharf.virtio.blk.BlkQueueServer;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.DirtyLog;
import io.blockwharf.virtio.queue.GuestMemory;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.PackedQueue;
import io.blockwharf.virtio.queue.SplitQueue;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import org.osgi.service.log.Logger;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * One vring: vhost-user specification, "Ring states".
 *
 * <p>The session's thread configures it while it is stopped, starts it, and stops it; while it runs
 * the ring belongs to its {@link IoThread}. {@link #start} and {@link #stop} hand it over, so that
 * no field is ever touched by both.
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

    private int size;
    private int position;
    private Optional<Request.VringAddress> address = Optional.empty();
    private Optional<EventFd> kick = Optional.empty();
    private Optional<EventFd> call = Optional.empty();
    private Optional<EventFd> error = Optional.empty();
    private boolean enabled;
    private boolean running;
    private long requests;

    // Of the I/O thread, while it runs.
    private Virtqueue queue;
    private BlkQueueServer server;
    private List<IoThread.Watch> watches = List.of();
    private Optional<CompletableFuture<Void>> stopping = Optional.empty();

    Vring(int index, IoThread thread, Logger log) {
        this.index = index;
        this.thread = thread;
        this.log = log;
    }

    int index() {
        return index;
    }

    boolean running() {
        return running;
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
    }

    void error(Optional<EventFd> value) {
        error.ifPresent(EventFd::close);
        error = value;
    }

    /** May be replaced while the vring runs. */
    void call(Optional<EventFd> value) {
        if (running) {
            onThread(() -> replaceCall(value));
        } else {
            replaceCall(value);
        }
    }

    private void replaceCall(Optional<EventFd> value) {
        call.ifPresent(EventFd::close);
        call = value;
        notifyDriver(); // whatever the old descriptor was not told any more
    }

    /** Starts it if it is configured completely and enabled; otherwise nothing happens. */
    void start(Environment environment) {
        if (running || !enabled || size == 0 || kick.isEmpty() || address.isEmpty()) {
            return;
        }
        running = true;
        onThread(() -> open(environment));
    }

    /** Finishes what is in flight and stops it. Returns when it is at rest. */
    void stop() {
        if (!running) {
            return;
        }
        var done = new CompletableFuture<Void>();
        thread.execute(
                () -> {
                    stopping = Optional.of(done);
                    settle();
                });
        done.join();
        running = false;
    }

    /** Writes go to another dirty log from now on. */
    void dirtyLog(DirtyLog value) {
        if (running) {
            onThread(
                    () -> {
                        if (queue != null) {
                            queue.dirtyLog(value);
                        }
                    });
        }
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

    private void onThread(Runnable task) {
        var done = new CompletableFuture<Void>();
        thread.execute(
                () -> {
                    try {
                        task.run();
                    } finally {
                        done.complete(null);
                    }
                });
        done.join();
    }

    // ---- on the I/O thread

    private void open(Environment environment) {
        try {
            GuestMemory memory = environment.memory.view();
            var at = address.orElseThrow();
            boolean packed = (environment.features & Virtqueue.F_RING_PACKED) != 0;
            long descriptors = guest(environment, at.descriptors());
            long available = guest(environment, at.available());
            long used = guest(environment, at.used());
            queue =
                    packed
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
            Optional<InFlightLog> inFlight = Optional.empty();
            if (environment.inFlight.isPresent() && queue instanceof SplitQueue split) {
                inFlight =
                        Optional.of(
                                InFlightLog.open(
                                        environment.inFlight.get(), size, split.usedPosition()));
            }
            server = new BlkQueueServer(environment.device, queue, inFlight, this::notifyDriver);
            watches = new ArrayList<>();
            watches.add(thread.watchEdge(kick.orElseThrow().fd(), this::serve));
            watches.add(thread.watch(server.fd(), this::serve));
            watches.add(
                    thread.poll(
                            new IoThread.PollSource() {
                                @Override
                                public boolean poll() {
                                    return Vring.this.poll();
                                }

                                @Override
                                public boolean sleep() {
                                    return arm();
                                }
                            }));
            if (inFlight.isPresent() && queue instanceof SplitQueue split) {
                server.resume(split, inFlight.get());
            }
            serve();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            broken(e);
        }
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

    private boolean poll() {
        try {
            return server != null && stopping.isEmpty() && server.poll();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            broken(e);
            return false;
        }
    }

    private boolean arm() {
        try {
            return server == null || stopping.isPresent() || server.arm();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            broken(e);
            return true;
        }
    }

    private void serve() {
        if (server == null) {
            return;
        }
        if (stopping.isPresent()) {
            settle();
            return;
        }
        try {
            server.serve();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            broken(e);
        }
    }

    private void settle() {
        try {
            if (server != null && !server.settle()) {
                return;
            }
            release();
        } catch (InternalError | RuntimeException e) {
            broken(e);
        }
        stopping.ifPresent(done -> done.complete(null));
        stopping = Optional.empty();
    }

    private void release() {
        watches.forEach(IoThread.Watch::close);
        watches = List.of();
        BlkQueueServer ended = server;
        server = null;
        if (ended != null) {
            position = queue.position();
            requests += ended.served();
            ended.close();
        }
        queue = null;
    }

    /**
     * The driver broke the ring (or took memory away that it had shared: the JVM answers access to
     * it with an InternalError). It stays silent until the front end stops it.
     */
    private void broken(Throwable reason) {
        if (reason instanceof RuntimeException) {
            log.error("vring {} is broken", index, reason);
        } else {
            log.warn("vring {} is broken: {}", index, reason.getMessage());
        }
        release();
        error.ifPresent(Vring::signal);
    }

    private void notifyDriver() {
        call.ifPresent(Vring::signal);
    }

    private static void signal(EventFd fd) {
        try {
            fd.signal();
        } catch (LinuxException e) {
            // An eventfd takes every signal; what else the front end sent in its place is its loss.
        }
    }
}

package io.blockwharf.virtio.blk;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import java.lang.foreign.MemorySegment;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.function.Consumer;

/**
 * A virtqueue in service on an {@link IoThread}, from {@link #start} to {@link #stop}: it is served
 * when the driver kicks, when requests finish, and whenever the thread polls.
 *
 * <p>A transport's thread starts and stops it; in between the queue belongs to the I/O thread.
 */
public final class RunningQueue {
    /** What the transport does for a queue. Called on the I/O thread. */
    public interface Transport {
        /** Finds the ring and makes its device side. */
        Virtqueue open() throws VirtqueueException;

        /** Tells the driver that buffers were given back. */
        void notifyDriver();

        /**
         * The driver broke the ring, or took memory away that it had shared (the JVM answers access
         * to it with an {@code InternalError}). The queue is silent from now on, until it is
         * stopped.
         */
        void broken(Throwable reason);
    }

    private final IoThread thread;
    private final Transport transport;
    private final boolean kicked;

    // Of the I/O thread until it is stopped
    private Virtqueue queue;
    private BlkQueueServer server;
    private List<IoThread.Watch> watches = List.of();
    private Optional<CompletableFuture<Void>> stopping = Optional.empty();
    private OptionalInt position = OptionalInt.empty();
    private long served;

    private RunningQueue(IoThread thread, Transport transport, boolean kicked) {
        this.thread = thread;
        this.transport = transport;
        this.kicked = kicked;
    }

    /**
     * Puts a queue into service. On return it is open, or {@link Transport#broken} was told why
     * not.
     *
     * @param kick the eventfd with which the driver notifies; need not be read. Without one the
     *     driver never notifies: the I/O thread does not sleep while the queue is in service
     * @param log memory for an {@link InFlightLog}, with what an earlier process has written there
     *     or zeroes; {@link InFlightLog#clear} it when the device is reset
     */
    public static RunningQueue start(
            IoThread thread,
            VirtioBlk device,
            OptionalInt kick,
            Optional<MemorySegment> log,
            Transport transport) {
        var running = new RunningQueue(thread, transport, kick.isPresent());
        run(thread, () -> running.open(device, kick, log));
        return running;
    }

    /** Runs a task on an I/O thread. Returns after it. */
    public static void run(IoThread thread, Runnable task) {
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

    /** Runs a task with the queue on its I/O thread; nothing happens if that is broken. */
    public void with(Consumer<Virtqueue> task) {
        run(
                thread,
                () -> {
                    if (queue != null) {
                        task.accept(queue);
                    }
                });
    }

    /**
     * Finishes what is in flight and takes the queue out of service. Returns when it is at rest.
     */
    public void stop() {
        var done = new CompletableFuture<Void>();
        thread.execute(
                () -> {
                    stopping = Optional.of(done);
                    settle();
                });
        done.join();
    }

    /** After {@link #stop}: {@link Virtqueue#position}; empty if the queue could not be opened. */
    public OptionalInt position() {
        return position;
    }

    /** After {@link #stop}: how many requests were taken. */
    public long served() {
        return served;
    }

    // ---- on the I/O thread

    private void open(VirtioBlk device, OptionalInt kick, Optional<MemorySegment> region) {
        try {
            queue = transport.open();
            if (region.isPresent()) {
                queue.log(region.get());
            }
            server = new BlkQueueServer(device, queue, transport::notifyDriver);
            watches = new ArrayList<>();
            if (kick.isPresent()) {
                watches.add(thread.watchEdge(kick.getAsInt(), this::serve));
            }
            watches.add(thread.watch(server.fd(), this::serve));
            watches.add(
                    thread.poll(
                            new IoThread.PollSource() {
                                @Override
                                public boolean poll() {
                                    return spin();
                                }

                                @Override
                                public boolean sleep() {
                                    return arm();
                                }
                            }));
            serve();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            fail(e);
        }
    }

    private boolean spin() {
        try {
            return server != null && stopping.isEmpty() && server.spin();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            fail(e);
            return false;
        }
    }

    private boolean arm() {
        try {
            return server == null || stopping.isPresent() || kicked && server.arm();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            fail(e);
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
            // Once: the loop asks again before it sleeps, and serves others in between. A driver
            // that is as fast as the device would keep it here.
            server.poll();
        } catch (VirtqueueException | InternalError | RuntimeException e) {
            fail(e);
        }
    }

    private void settle() {
        try {
            if (server != null && !server.settle()) {
                return;
            }
            release();
        } catch (InternalError | RuntimeException e) {
            fail(e);
        }
        stopping.ifPresent(done -> done.complete(null));
        stopping = Optional.empty();
    }

    private void release() {
        watches.forEach(IoThread.Watch::close);
        watches = List.of();
        BlkQueueServer ended = server;
        server = null;
        if (queue != null) {
            position = OptionalInt.of(queue.position());
        }
        queue = null;
        if (ended != null) {
            served += ended.served();
            ended.close();
        }
    }

    private void fail(Throwable reason) {
        release();
        transport.broken(reason);
    }
}

package io.blockwharf.vduse;

import io.blockwharf.api.export.IoThread;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.vduse.wire.QueueInfo;
import io.blockwharf.virtio.blk.RunningQueue;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.GuestMemory;
import io.blockwharf.virtio.queue.PackedQueue;
import io.blockwharf.virtio.queue.SplitQueue;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import org.osgi.service.log.Logger;

import java.lang.foreign.MemorySegment;
import java.util.Optional;
import java.util.OptionalInt;

/**
 * One virtqueue of a device. Used by the thread that answers the kernel's messages; while it runs
 * its I/O thread calls back.
 */
final class DeviceQueue implements AutoCloseable {
    private final int index;
    private final IoThread thread;
    private final VduseDevice device;
    private final Runnable owing;
    private final Logger log;
    private final EventFd kick;
    private final MemorySegment interrupt;
    private Optional<RunningQueue> running = Optional.empty();
    private OptionalInt position = OptionalInt.empty();

    /** Of both threads: the driver could not be interrupted, because it was not running yet. */
    private volatile boolean owed;

    /**
     * A queue that does not run.
     *
     * @param owing called on the I/O thread when {@link #owesInterrupt} becomes true
     */
    DeviceQueue(int index, IoThread thread, VduseDevice device, Runnable owing, Logger log)
            throws LinuxException {
        this.index = index;
        this.thread = thread;
        this.device = device;
        this.owing = owing;
        this.log = log;
        this.interrupt = device.interruptOf(index);
        this.kick = EventFd.open();
    }

    /**
     * Starts the queue if the driver has enabled it.
     *
     * @param features what the driver has accepted
     * @param inFlight memory for the log of its requests in flight
     * @return whether it runs
     */
    boolean start(VirtioBlk disk, IovaMap memory, long features, MemorySegment inFlight)
            throws LinuxException {
        boolean packed = (features & Virtqueue.F_RING_PACKED) != 0;
        QueueInfo info = device.queue(index, packed);
        if (running.isPresent() || !info.ready()) {
            return running.isPresent();
        }
        device.kick(index, kick); // each reset takes it away
        int from = position.orElse(info.position());
        running =
                Optional.of(
                        RunningQueue.start(
                                thread,
                                disk,
                                OptionalInt.of(kick.fd()),
                                Optional.of(inFlight),
                                new RunningQueue.Transport() {
                                    @Override
                                    public Virtqueue open() throws VirtqueueException {
                                        return ring(info, memory.view(), features, from);
                                    }

                                    @Override
                                    public void notifyDriver() {
                                        DeviceQueue.this.notifyDriver();
                                    }

                                    @Override
                                    public void broken(Throwable reason) {
                                        DeviceQueue.this.broken(reason);
                                    }
                                }));
        return true;
    }

    private static Virtqueue ring(QueueInfo info, GuestMemory memory, long features, int position)
            throws VirtqueueException {
        return (features & Virtqueue.F_RING_PACKED) != 0
                ? new PackedQueue(
                        memory,
                        info.size(),
                        features,
                        info.descriptors(),
                        info.driver(),
                        info.device(),
                        position)
                : new SplitQueue(
                        memory,
                        info.size(),
                        features,
                        info.descriptors(),
                        info.driver(),
                        info.device(),
                        position);
    }

    /** Finishes what is in flight and stops the queue, which goes on from there when started. */
    void stop() {
        if (running.isPresent()) {
            RunningQueue ended = running.get();
            ended.stop();
            position = ended.position();
            running = Optional.empty();
        }
    }

    /** Stops the queue; it begins where the driver says when it is started again. */
    void reset() {
        stop();
        position = OptionalInt.empty();
        owed = false;
    }

    /** Where a stopped queue is in its ring; empty if it has not run since the last reset. */
    OptionalInt position() {
        return position;
    }

    boolean isRunning() {
        return running.isPresent();
    }

    /** Whether the driver is still to be interrupted: {@link #notifyNow}. */
    boolean owesInterrupt() {
        return owed;
    }

    /** Interrupts the driver whether it wants that or not. */
    void notifyNow() {
        running.ifPresent(
                _ ->
                        RunningQueue.run(
                                thread,
                                () -> {
                                    owed = false;
                                    notifyDriver();
                                }));
    }

    private void notifyDriver() {
        try {
            if (!device.interrupt(interrupt) && !owed) {
                owed = true;
                owing.run();
            }
        } catch (LinuxException e) {
            log.debug("queue {}: {}", index, e.getMessage());
        }
    }

    /** It is silent until the driver resets the device. */
    private void broken(Throwable reason) {
        if (reason instanceof RuntimeException) {
            log.error("queue {} is broken", index, reason);
        } else {
            log.warn("queue {} is broken: {}", index, reason.getMessage());
        }
    }

    /** After {@link #stop} and when the device is gone. Idempotent. */
    @Override
    public void close() {
        kick.close();
    }
}

package io.blockwharf.vduse;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.IoThreads;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;
import io.blockwharf.vduse.wire.DeviceConfig;
import io.blockwharf.vduse.wire.Message;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.Virtqueue;

import org.osgi.service.log.Logger;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.TimeUnit;

/**
 * A running export. Its own thread answers the kernel's messages, starts and stops the queues, and
 * ends the export; the queues run on I/O threads.
 */
final class VduseExport implements BlockExport {
    /**
     * The host, or what a test takes for it.
     *
     * @param opener opens files of {@code /dev/vduse}
     * @param logs the directory of {@link RecoveryLog}s
     */
    record Host(
            DeviceFile.Opener opener, VdpaBus bus, Path logs, IoThreads ioThreads, Logger log) {}

    /** Feature bit VIRTIO_F_ACCESS_PLATFORM, VIRTIO 1.3 section 6: the kernel demands it. */
    private static final long F_ACCESS_PLATFORM = 1L << 33;

    /** VIRTIO 1.3 section 2.1. */
    private static final int STATUS_DRIVER_OK = 4;

    /** What the parts of a ring are aligned to, bytes. */
    private static final int RING_ALIGNMENT = 4096;

    private static final int WATCH_MILLIS = 100;
    private static final long STATUS_NANOS = TimeUnit.SECONDS.toNanos(5);
    private static final long UNPLUG_NANOS = TimeUnit.SECONDS.toNanos(5);

    /** How far the end has come; only forward. */
    private enum Ending {
        NO,
        /** When its driver has left. */
        HIDDEN,
        /** Its driver may wait for the next server. */
        SHUTDOWN,
        /** Nobody may be left waiting. */
        REMOVAL
    }

    private final Host host;
    private final Logger log;
    private final ExportSpec<BlockExportOptionsVduseBlk> spec;
    private final String name;
    private final VirtioBlk disk;
    private final int queueSize;
    private final VduseDevice device;
    private final RecoveryLog recovery;
    private final QueueThreads threads;
    private final IovaMap memory;
    private final EventFd wake;
    private final List<DeviceQueue> queues = new ArrayList<>();
    private final CompletableFuture<Void> closed = new CompletableFuture<>();
    private volatile Ending ending = Ending.NO;

    /** Guarded by this: whether the device may still be told of a resize. */
    private boolean ended;

    // Of the thread that answers; read by others
    private volatile int status;
    private long features;
    private boolean unplugging;
    private volatile boolean unplugged;
    private long unplugDeadline;
    private long statusDeadline = System.nanoTime();

    private VduseExport(
            Host host,
            ExportSpec<BlockExportOptionsVduseBlk> spec,
            VirtioBlk disk,
            int queueCount,
            int queueSize)
            throws IOException {
        this.host = host;
        this.log = host.log;
        this.spec = spec;
        this.name = spec.options().name();
        this.disk = disk;
        this.queueSize = queueSize;
        long offered = offered(disk);
        var description =
                new DeviceConfig(
                        name,
                        0,
                        VirtioBlk.DEVICE_ID,
                        offered,
                        queueCount,
                        RING_ALIGNMENT,
                        config());
        wake = EventFd.open();
        try {
            device = VduseDevice.claim(host.opener, description, queueSize);
        } catch (IOException e) {
            wake.close();
            throw e;
        }
        threads = new QueueThreads(spec, "vduse-blk", queueCount, host.ioThreads);
        memory = new IovaMap(device, log);
        RecoveryLog opened = null;
        try {
            opened =
                    RecoveryLog.open(
                            host.logs,
                            name,
                            new RecoveryLog.Shape(offered, queueCount, disk.blockSize()),
                            device.takenOver());
            recovery = opened;
            for (int i = 0; i < queueCount; i++) {
                queues.add(new DeviceQueue(i, threads.of(i), device, this::wake, log));
            }
            if (device.takenOver()) {
                takeOver();
            }
        } catch (IOException | RuntimeException e) {
            queues.forEach(DeviceQueue::stop);
            release(device.takenOver(), Optional.ofNullable(opened));
            throw e;
        }
    }

    /** Makes the device and starts to serve it. */
    static VduseExport start(
            Host host,
            ExportSpec<BlockExportOptionsVduseBlk> spec,
            VirtioBlk disk,
            int queueCount,
            int queueSize) {
        VduseExport export;
        try {
            export = new VduseExport(host, spec, disk, queueCount, queueSize);
        } catch (IOException e) {
            throw new QmpException("failed to create vduse device: " + e.getMessage(), e);
        }
        spec.node().onResize(export::resized);
        Thread.ofPlatform().name("vduse-blk " + spec.id()).daemon().start(export::run);
        return export;
    }

    /** The kernel keeps the configuration space to itself: the write cache cannot be switched. */
    private static long offered(VirtioBlk disk) {
        return disk.features() & ~VirtioBlk.F_CONFIG_WCE | F_ACCESS_PLATFORM;
    }

    /** No request may need more descriptors than a ring has, VIRTIO 1.3 section 2.7.5.3.1. */
    private byte[] config() {
        byte[] config = disk.config();
        MemorySegment.ofArray(config)
                .set(
                        ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN),
                        VirtioBlk.CONFIG_SEG_MAX,
                        Math.min(VirtioBlk.SEG_MAX, queueSize - 2));
        return config;
    }

    private void wake() {
        try {
            wake.signal();
        } catch (LinuxException e) {
            log.error("VDUSE device {} is not woken: {}", name, e.getMessage());
        }
    }

    // ---- the thread that answers (or the one that opens, before it)

    /** Goes on where a process that has died, or left its device attached, has stopped. */
    private void takeOver() throws LinuxException {
        features = device.features();
        disk.negotiated(features);
        device.config(config());
        if (startQueues()) {
            status = STATUS_DRIVER_OK;
            // The dead process may have given requests back without saying so.
            queues.forEach(DeviceQueue::notifyNow);
        }
        log.info("VDUSE device {} was attached already and is served again", name);
    }

    /** Starts every queue that the driver has enabled; tells whether one runs. */
    private boolean startQueues() throws LinuxException {
        boolean any = false;
        for (int i = 0; i < queues.size(); i++) {
            any |= queues.get(i).start(disk, memory, features, recovery.queue(i));
        }
        return any;
    }

    private void run() {
        try {
            Poll poll = new Poll(2);
            poll.set(0, device.fd(), Poll.IN);
            poll.set(1, wake.fd(), Poll.IN);
            while (!done()) {
                poll.await(timeout());
                wake.clear();
                for (Optional<Message> next; (next = device.receive()).isPresent(); ) {
                    handle(next.get());
                }
                for (DeviceQueue queue : queues) {
                    if (queue.owesInterrupt() && System.nanoTime() - statusDeadline < 0) {
                        queue.notifyNow();
                    }
                }
            }
        } catch (LinuxException e) {
            log.error("VDUSE device {}: {}", name, e.getMessage());
        } catch (RuntimeException e) {
            log.error("VDUSE device {}", name, e);
        } finally {
            end();
        }
    }

    private int timeout() {
        if (System.nanoTime() - statusDeadline < 0
                && queues.stream().anyMatch(DeviceQueue::owesInterrupt)) {
            return 1; // DRIVER_OK was answered, and the kernel is about to note it
        }
        return ending == Ending.NO ? -1 : WATCH_MILLIS;
    }

    private boolean done() {
        switch (ending) {
            case NO -> {
                return false;
            }
            case HIDDEN -> {
                return !host.bus.attached(name);
            }
            case SHUTDOWN -> {
                return true;
            }
            case REMOVAL -> {
                if (!unplugging && !host.bus.isDisk(name)) {
                    return true;
                }
                unplug();
                return unplugged;
            }
        }
        return true;
    }

    /** The kernel writes back what it has cached; if that takes too long it fails from then on. */
    private void unplug() {
        if (!unplugging) {
            unplugging = true;
            unplugDeadline = System.nanoTime() + UNPLUG_NANOS;
            Thread.ofPlatform().name("vduse-blk unplug " + spec.id()).daemon().start(this::unbind);
        } else if (System.nanoTime() - unplugDeadline > 0) {
            disk.refuse();
        }
    }

    private void unbind() {
        try {
            host.bus.unplug(name);
        } catch (IOException e) {
            log.warn("VDUSE device {} is not unplugged: {}", name, e.getMessage());
        } finally {
            unplugged = true;
            wake();
        }
    }

    private void handle(Message message) throws LinuxException {
        switch (message) {
            case Message.SetStatus request -> device.answer(request, setStatus(request.status()));
            case Message.UpdateIotlb(int _, long start, long last) -> {
                queues.forEach(DeviceQueue::stop);
                memory.forget(start, last);
                if (isRunning()) {
                    startQueues();
                }
                device.answer(message, true);
            }
            case Message.GetQueueState request -> {
                if (request.index() < 0 || request.index() >= queues.size()) {
                    device.answer(request, false);
                } else {
                    boolean packed = (features & Virtqueue.F_RING_PACKED) != 0;
                    device.answer(request, packed, position(request.index(), packed));
                }
            }
            case Message.Unknown unknown -> {
                log.warn("VDUSE device {}: unknown message {}", name, unknown.type());
                device.answer(unknown, false);
            }
        }
    }

    private boolean isRunning() {
        return (status & STATUS_DRIVER_OK) != 0;
    }

    /** VIRTIO 1.3 section 3.1.1. Returns whether the device takes the status on. */
    private boolean setStatus(int value) throws LinuxException {
        if (value == 0) {
            for (int i = 0; i < queues.size(); i++) {
                queues.get(i).reset();
                recovery.clear(i);
            }
            memory.close();
            features = 0;
            disk.reset();
        } else if (status == 0 && ending != Ending.NO) {
            return false; // no new users
        } else if ((value & STATUS_DRIVER_OK) != 0 && !isRunning()) {
            features = device.features();
            if ((features & Virtqueue.F_VERSION_1) == 0) {
                log.warn("VDUSE device {}: the driver does not know VIRTIO 1", name);
                return false;
            }
            disk.negotiated(features);
            startQueues();
            statusDeadline = System.nanoTime() + STATUS_NANOS;
        }
        status = value;
        return true;
    }

    private int position(int index, boolean packed) throws LinuxException {
        DeviceQueue queue = queues.get(index);
        boolean runs = queue.isRunning();
        queue.stop();
        OptionalInt position = queue.position();
        if (runs) {
            queue.start(disk, memory, features, recovery.queue(index));
        }
        return position.isPresent() ? position.getAsInt() : device.queue(index, packed).position();
    }

    private void end() {
        queues.forEach(DeviceQueue::stop);
        synchronized (this) {
            ended = true;
        }
        flush();
        release(status != 0, Optional.of(recovery));
        closed.complete(null);
    }

    /**
     * Gives everything back to the host.
     *
     * @param needed whether the log is, if the device stays
     */
    private void release(boolean needed, Optional<RecoveryLog> opened) {
        memory.close();
        boolean gone = device.destroy();
        if (!gone) {
            log.info("VDUSE device {} stays attached, for an export of the same name", name);
        }
        try {
            if (opened.isPresent() && (gone || !needed)) {
                opened.get().delete();
            }
        } catch (IOException e) {
            log.warn("VDUSE device {}: {}", name, e.getMessage());
        }
        opened.ifPresent(RecoveryLog::close);
        queues.forEach(DeviceQueue::close);
        threads.close();
        wake.close();
    }

    private void flush() {
        if (spec.writable()) {
            try {
                spec.node().flush();
            } catch (BlockIoException e) {
                log.error("flush of {}: {}", spec.node().name(), e.getMessage());
            }
        }
    }

    // ---- any thread

    private synchronized void resized() {
        if (!ended) {
            try {
                device.config(config());
            } catch (LinuxException e) {
                log.warn("VDUSE device {} is not resized: {}", name, e.getMessage());
            }
        }
    }

    private synchronized void end(Ending how) {
        if (!ended && how.compareTo(ending) > 0) {
            ending = how;
            wake();
        }
    }

    /** An attached device counts as used: QEMU's daemon takes the disk away. */
    @Override
    public boolean inUse() {
        return host.bus.attached(name);
    }

    @Override
    public void requestHide(boolean refuseRequests) {
        if (refuseRequests) {
            disk.refuse();
        }
        end(Ending.HIDDEN);
    }

    @Override
    public void requestShutdown() {
        end(Ending.SHUTDOWN);
    }

    @Override
    public void requestRemoval() {
        end(Ending.REMOVAL);
    }

    @Override
    public CompletionStage<Void> closed() {
        return closed;
    }

    @Override
    public Map<String, Object> details() {
        return Map.of(
                "device",
                "/dev/vduse/" + name,
                "attached",
                host.bus.attached(name),
                "running",
                isRunning(),
                "taken-over",
                device.takenOver(),
                "queues",
                queues.size(),
                "threads",
                threads.count());
    }
}

package io.blockwharf.fuse;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.fuse.wire.Init;
import io.blockwharf.linux.Credentials;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.IoUring;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.log.Logger;

import java.util.ArrayList;
import java.util.EnumSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.stream.Stream;

/**
 * A mounted export, from the mount to the unmount.
 *
 * <p>It ends in this order, on a thread of its own: what a process has changed through a mapping is
 * written; new requests are refused; those under way are finished; the kernel's own access to the
 * image is taken away from whoever still has the file open; the connection is aborted and the file
 * unmounted; the threads end; the node is flushed. An unmount by somebody else ends it, too.
 */
final class FuseExport implements BlockExport {
    /** How long requests under way may take before the file system is aborted under them. */
    private static final long DRAIN_MILLIS = 2_000;

    /** A close that the kernel has reported but nobody has read yet is read within this time. */
    private static final long RELEASE_MILLIS = 20;

    private final String id;
    private final BlockNode node;
    private final FuseMount mount;
    private final Logger log;
    private final FuseFile file;
    private final Passthrough passthrough;
    private final EventFd wake;
    private final boolean writable;
    private final List<DeviceQueue> deviceQueues = new ArrayList<>();
    private final List<RingQueue> ringQueues = new ArrayList<>();
    private final int rings;
    private final CountDownLatch running;
    private final ExecutorService slowly;
    private final AtomicBoolean shuttingDown = new AtomicBoolean();
    private final CompletableFuture<Void> closed = new CompletableFuture<>();
    private final Thread atExit;
    private volatile boolean disconnected;

    private FuseExport(
            ExportSpec<BlockExportOptionsFuse> spec,
            FuseMount mount,
            EventFd wake,
            FuseSettings settings,
            Logger log) {
        this.log = log;
        id = spec.id();
        node = spec.node();
        writable = spec.writable();
        this.mount = mount;
        this.wake = wake;
        boolean growable = spec.options().growable().orElse(false);
        passthrough =
                new Passthrough(
                        node, writable, growable, mount.device(), unavailable(mount, settings));
        Credentials self = Credentials.ofThisProcess();
        file =
                new FuseFile(
                        node,
                        writable,
                        growable,
                        mount.allowOther(),
                        self.uid(),
                        self.gid(),
                        FuseMount.MAX_TRANSFER,
                        passthrough);
        rings = ringsFor(mount);
        running = new CountDownLatch(deviceQueuesFor(spec, settings) + rings);
        slowly =
                Executors.newSingleThreadExecutor(
                        Thread.ofPlatform().daemon().name("fuse-" + id + "-slow").factory());
        atExit = Thread.ofPlatform().unstarted(this::shutDownAtExit);
    }

    /**
     * Mounts and serves.
     *
     * @param target the mountpoint, links resolved
     */
    static FuseExport start(
            ExportSpec<BlockExportOptionsFuse> spec,
            String target,
            FuseSettings settings,
            Logger log) {
        boolean ring =
                settings.ring()
                        && spec.ioThreads().isEmpty()
                        && Processors.possible() > 0
                        && IoUring.available();
        try {
            return start(spec, target, settings, log, ring);
        } catch (LinuxException e) {
            if (!ring) {
                throw new QmpException("Failed to set up FUSE session: " + e.getMessage(), e);
            }
        }
        try {
            return start(spec, target, settings, log, false);
        } catch (LinuxException e) {
            throw new QmpException("Failed to set up FUSE session: " + e.getMessage(), e);
        }
    }

    private static FuseExport start(
            ExportSpec<BlockExportOptionsFuse> spec,
            String target,
            FuseSettings settings,
            Logger log,
            boolean ring)
            throws LinuxException {
        FuseMount mount =
                FuseMount.mount(
                        target,
                        spec.writable(),
                        spec.options().allowOther().orElse(FuseExportAllowOther.AUTO),
                        (settings.passthrough() ? Init.PASSTHROUGH : 0)
                                | (ring ? Init.OVER_IO_URING : 0),
                        log);
        EventFd wake = null;
        FuseExport export = null;
        try {
            wake = EventFd.open();
            export = new FuseExport(spec, mount, wake, settings, log);
            export.prepare(deviceQueuesFor(spec, settings));
            export.serve(spec.ioThreads());
            return export;
        } catch (LinuxException e) {
            if (export != null) {
                export.ringQueues.forEach(RingQueue::discard);
            }
            mount.close();
            if (wake != null) {
                wake.close();
            }
            throw e;
        }
    }

    /** The permissions that an export needs besides those that core has taken. */
    static void takePermissions(ExportSpec<BlockExportOptionsFuse> spec) {
        if (spec.writable() || spec.options().growable().orElse(false)) {
            Set<Permission> taken = EnumSet.of(Permission.CONSISTENT_READ, Permission.RESIZE);
            if (spec.writable()) {
                taken.add(Permission.WRITE);
            }
            spec.node().permissions(taken, Permission.all());
        }
    }

    private static String unavailable(FuseMount mount, FuseSettings settings) {
        if (!settings.passthrough()) {
            return "switched off";
        }
        return mount.agreement().has(Init.PASSTHROUGH) ? "" : "not offered by the kernel";
    }

    private static int deviceQueuesFor(
            ExportSpec<BlockExportOptionsFuse> spec, FuseSettings settings) {
        return spec.ioThreads().isEmpty() ? settings.threads() : spec.ioThreads().size();
    }

    /** One per processor that there may ever be, or the kernel does not begin; or none. */
    private static int ringsFor(FuseMount mount) {
        return mount.agreement().has(Init.OVER_IO_URING) ? Processors.possible() : 0;
    }

    /** Takes all that may not be had, before anything runs. */
    private void prepare(int count) throws LinuxException {
        boolean wakeable = !mount.privileged();
        for (int i = 0; i < count; i++) {
            deviceQueues.add(
                    new DeviceQueue(
                            i == 0 ? mount.device() : mount.cloneDevice(),
                            file,
                            node,
                            FuseMount.MAX_TRANSFER,
                            wakeable ? wake.fd() : -1,
                            log,
                            this::deviceQueueEnded));
        }
        for (int i = 0; i < rings; i++) {
            ringQueues.add(
                    new RingQueue(
                            mount.device(),
                            i,
                            file,
                            node,
                            FuseMount.MAX_TRANSFER,
                            log,
                            this::ringQueueEnded));
        }
    }

    private void serve(List<IoThread> ioThreads) throws LinuxException {
        for (int i = 0; i < deviceQueues.size(); i++) {
            DeviceQueue queue = deviceQueues.get(i);
            if (ioThreads.isEmpty()) {
                Thread.ofPlatform().daemon().name("fuse-" + id + "-" + i).start(queue::run);
            } else {
                queue.attach(ioThreads.get(i), slowly);
            }
        }
        for (int i = 0; i < rings; i++) {
            RingQueue queue = ringQueues.get(i);
            Thread.ofPlatform().daemon().name("fuse-" + id + "-ring-" + i).start(queue::run);
        }
        node.onResize(this::resized);
        Runtime.getRuntime().addShutdownHook(atExit);
    }

    private Stream<Queue> queues() {
        return Stream.concat(deviceQueues.stream(), ringQueues.stream());
    }

    private void resized() {
        if (!shuttingDown.get()) {
            mount.invalidate();
        }
    }

    /** It was unmounted by somebody else, or this is the shutdown. */
    private void deviceQueueEnded() {
        disconnected = true;
        running.countDown();
        requestShutdown();
    }

    /** As that, or the kernel has refused it. */
    private void ringQueueEnded() {
        running.countDown();
    }

    @Override
    public boolean inUse() {
        return file.open(RELEASE_MILLIS);
    }

    @Override
    public void requestShutdown() {
        if (shuttingDown.compareAndSet(false, true)) {
            Thread.ofPlatform().daemon().name("fuse-" + id + "-end").start(this::shutDown);
        }
    }

    @Override
    public CompletionStage<Void> closed() {
        return closed;
    }

    @Override
    public Map<String, Object> details() {
        Map<String, Object> details = new TreeMap<>();
        details.put("mountpoint", mount.target());
        details.put(PATH, path());
        details.put("passthrough", passthrough.state());
        details.put("queues", deviceQueues.size() + ringQueues.size());
        details.put("open-files", file.opens());
        details.put("allow-other", mount.allowOther());
        return details;
    }

    private String path() {
        if (passthrough.active()) {
            return "passthrough";
        }
        boolean overRings =
                !ringQueues.isEmpty() && ringQueues.stream().noneMatch(RingQueue::refused);
        return overRings ? "io_uring" : "device";
    }

    /** The last resort if the daemon ends without its registry of exports. */
    private void shutDownAtExit() {
        requestShutdown();
        try {
            closed.get(2 * DRAIN_MILLIS, TimeUnit.MILLISECONDS);
        } catch (Exception e) {
            log.warn("FUSE export {} does not end: {}", id, e.toString());
        }
    }

    private void shutDown() {
        try {
            boolean connected = !disconnected;
            if (connected && writable && file.opens() > 0) {
                mount.place().ifPresent(this::writeMappings);
            }
            file.close();
            drain();
            if (connected && passthrough.active()) {
                mount.place().ifPresent(this::revokePassthrough);
            }
            mount.abort();
            queues().forEach(Queue::stop);
            wake.signal();
            running.await();
            mount.close();
            passthrough.end();
            slowly.shutdown();
            wake.close();
            if (writable) {
                node.flush();
            }
        } catch (BlockIoException e) {
            log.error("Node {} is not flushed: {}", node.name(), e.getMessage());
        } catch (LinuxException | InterruptedException | RuntimeException e) {
            log.error("FUSE export {} ends badly", id, e);
        } finally {
            endShutdownHook();
            closed.complete(null);
        }
    }

    private void endShutdownHook() {
        try {
            Runtime.getRuntime().removeShutdownHook(atExit);
        } catch (IllegalStateException e) {
            // The daemon exits already.
        }
    }

    /**
     * A process that maps the file need not have called msync(2). Asks the daemon itself through
     * the kernel, which the threads that serve answer as always.
     */
    private void writeMappings(String place) {
        Thread sync =
                Thread.ofPlatform()
                        .daemon()
                        .name("fuse-" + id + "-sync")
                        .start(
                                () -> {
                                    try (HostFile self = HostFile.open(place)) {
                                        self.sync();
                                    } catch (LinuxException e) {
                                        log.warn("{}", e.getMessage());
                                    }
                                });
        join(sync);
    }

    /** Makes the kernel ask what the file is, and hear that it is none any more. */
    private void revokePassthrough(String place) {
        file.revoke();
        mount.invalidate();
        Thread ask =
                Thread.ofPlatform()
                        .daemon()
                        .name("fuse-" + id + "-revoke")
                        .start(
                                () -> {
                                    try {
                                        HostFile.kind(place);
                                    } catch (LinuxException e) {
                                        log.debug("{}", e.getMessage()); // as meant
                                    }
                                });
        join(ask);
    }

    private static void join(Thread thread) {
        try {
            thread.join(DRAIN_MILLIS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void drain() throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(DRAIN_MILLIS);
        while (queues().anyMatch(Queue::busy) && System.nanoTime() < deadline) {
            Thread.sleep(1);
        }
    }
}

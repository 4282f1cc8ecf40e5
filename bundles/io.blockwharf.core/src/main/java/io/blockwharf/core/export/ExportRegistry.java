package io.blockwharf.core.export;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.BlockExportDriver;
import io.blockwharf.api.export.BlockExportInfo;
import io.blockwharf.api.export.BlockExportIothreads;
import io.blockwharf.api.export.BlockExportOptions;
import io.blockwharf.api.export.BlockExportRemoveMode;
import io.blockwharf.api.export.BlockExports;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.export.ExportTypeInfo;
import io.blockwharf.api.export.IoThread;
import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpEvents;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.InstalledDrivers;
import io.blockwharf.core.graph.BlockGraph;
import io.blockwharf.core.graph.Node;
import io.blockwharf.core.graph.NodeUser;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.OpenUnion;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.time.Duration;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import java.util.regex.Pattern;

/**
 * The exports: their ids, the order in which they were made, their states, and the event at their
 * end. QEMU's block/export/export.c is what the order of the checks and the messages follow.
 *
 * <p>An export's end is carried out under the control lock by whoever comes first: the thread that
 * removes it and waits for {@link BlockExport#closed}, or, if that takes too long or nobody waits,
 * a thread of its own. So nobody who serves an export ever needs the lock.
 */
@Component(service = {BlockExports.class, OpenUnion.class})
public final class ExportRegistry implements BlockExports, OpenUnion {
    private static final Pattern WELL_FORMED = Pattern.compile("[A-Za-z][A-Za-z0-9._-]*");

    /** Long enough for a client to be disconnected, short enough for a monitor to wait. */
    private static final Duration MOMENT = Duration.ofSeconds(1);

    /** How long a driver that goes, or the daemon's end, waits for an export. */
    private static final Duration PATIENCE = Duration.ofSeconds(30);

    /** The types of QEMU's schema, listed even if nothing here knows how to do them. */
    private static final Set<String> WELL_KNOWN =
            Set.of("nbd", "vhost-user-blk", "fuse", "vduse-blk");

    private final ControlLock lock;
    private final BlockGraph graph;
    private final ObjectStore objects;
    private final QmpEvents events;
    private final Logger logger;
    private final Duration patience;

    // Guarded by the control lock

    /** In the order in which they were made. */
    private final Map<String, Entry> entries = new LinkedHashMap<>();

    private final InstalledDrivers<BlockExportDriver<?>> drivers =
            new InstalledDrivers<>(
                    BlockExportDriver.class, BlockExportOptions.class, "export.type");

    private volatile ExportConditions conditions = Map::of;

    /** An export that is there. */
    private final class Entry implements NodeUser {
        final String id;
        final String type;
        final BlockExportDriver<?> driver;
        final boolean allowsInactive;
        final List<ObjectStore.Use<IoThread>> ioThreads = new ArrayList<>();
        BlockNode node;
        BlockExport export;
        boolean shuttingDown;

        /** How it is being removed, if it is. */
        BlockExportRemoveMode removal = BlockExportRemoveMode.SAFE;

        Entry(BlockExportOptions options, BlockExportDriver<?> driver) {
            id = options.id();
            type = options.type();
            this.driver = driver;
            allowsInactive = options.allowInactive().orElse(false);
        }

        BlockExportInfo info() {
            return new BlockExportInfo(id, type, node.name(), shuttingDown);
        }

        void release() {
            if (node != null) {
                node.close();
            }
            ioThreads.forEach(ObjectStore.Use::close);
        }

        @Override
        public boolean allowsInactive() {
            return allowsInactive;
        }

        @Override
        public void evict() {
            drain(List.of(this), "the driver of its node goes");
        }
    }

    /** A registry without exports. */
    @Activate
    public ExportRegistry(
            @Reference ControlLock lock,
            @Reference BlockGraph graph,
            @Reference ObjectStore objects,
            @Reference QmpEvents events,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this(lock, graph, objects, events, logger, PATIENCE);
    }

    ExportRegistry(
            ControlLock lock,
            BlockGraph graph,
            ObjectStore objects,
            QmpEvents events,
            Logger logger,
            Duration patience) {
        this.lock = lock;
        this.graph = graph;
        this.objects = objects;
        this.events = events;
        this.logger = logger;
        this.patience = patience;
    }

    // --- Drivers -----------------------------------------------------------------------------

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addDriver(BlockExportDriver<?> driver, Map<String, Object> properties) {
        try (var _ = lock.take()) {
            drivers.add(driver, properties);
        }
    }

    /** On return no export of the driver is left: its bundle may go. */
    void removeDriver(BlockExportDriver<?> driver, Map<String, Object> properties) {
        List<Entry> orphans;
        try (var _ = lock.take()) {
            drivers.remove(driver, properties);
            orphans = newestFirst().stream().filter(entry -> entry.driver == driver).toList();
        }
        drain(orphans, "its driver goes");
    }

    @Override
    public Branches branches() {
        return drivers;
    }

    @Reference(cardinality = ReferenceCardinality.OPTIONAL, policy = ReferencePolicy.DYNAMIC)
    void addConditions(ExportConditions found) {
        conditions = found;
    }

    void removeConditions(ExportConditions gone) {
        if (conditions == gone) {
            conditions = Map::of;
        }
    }

    @Deactivate
    void close() {
        drain(newestFirst(), "the daemon ends");
    }

    // --- Adding ------------------------------------------------------------------------------

    @Override
    public void add(BlockExportOptions options) {
        try (var _ = lock.take()) {
            open(options);
        }
    }

    private void open(BlockExportOptions options) {
        boolean several =
                options.iothread().filter(BlockExportIothreads.Multi.class::isInstance).isPresent();
        if (several && options.fixedIothread().orElse(false)) {
            throw QmpException.generic("Cannot use fixed-iothread for a multi-threaded export");
        }
        String id = options.id();
        if (!WELL_FORMED.matcher(id).matches()) {
            throw QmpException.generic("Invalid block export id");
        }
        if (entries.containsKey(id)) {
            throw QmpException.generic("Block export id '%s' is already in use", id);
        }
        BlockExportDriver<?> found =
                drivers.find(options.type())
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "No driver found for the requested export type"));
        // Its type parameter is the class of these options: the dispatcher has bound them by it.
        @SuppressWarnings("unchecked")
        BlockExportDriver<Record> driver = (BlockExportDriver<Record>) found;
        Node node =
                graph.find(options.nodeName())
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Cannot find device='' nor node-name='%s'",
                                                options.nodeName()));
        boolean writable = options.writable().orElse(false);
        if (writable && node.readOnly()) {
            throw QmpException.generic("Cannot export read-only node as writable");
        }
        Entry entry = new Entry(options, driver);
        try {
            options.iothread().ifPresent(threads -> use(entry, threads));
            if (!entry.allowsInactive) {
                graph.activate(node);
            } else if (!driver.supportsInactive()) {
                throw QmpException.generic("Export type does not support inactive exports");
            }
            Set<Permission> taken =
                    writable
                            ? EnumSet.of(Permission.CONSISTENT_READ, Permission.WRITE)
                            : EnumSet.of(Permission.CONSISTENT_READ);
            entry.node = graph.attach(node, entry, taken, Permission.all());
            entry.node.writeCache(!options.writethrough().orElse(false));
            if (several && !driver.multiThreaded()) {
                throw QmpException.generic(
                        "%s export does not support multi-threading",
                        options.type().equals("nbd") ? "NBD" : options.type());
            }
            List<IoThread> threads = entry.ioThreads.stream().map(ObjectStore.Use::object).toList();
            entry.export =
                    driver.open(
                            new ExportSpec<>(id, entry.node, writable, threads, options.options()));
        } catch (RuntimeException | Error e) {
            entry.release();
            throw e;
        }
        entries.put(id, entry);
        TraceEvent.BLOCK_EXPORT_ADDED.record(id, options.type(), options.nodeName());
        // On a thread of its own: the one that completes it may be one that serves.
        entry.export
                .closed()
                .whenComplete((_, _) -> Thread.startVirtualThread(() -> finish(entry)));
    }

    private void use(Entry entry, BlockExportIothreads threads) {
        if (threads.ids().isEmpty()) {
            throw QmpException.generic("The set of I/O threads must not be empty");
        }
        for (String id : threads.ids()) {
            entry.ioThreads.add(
                    objects.use(id, IoThread.class)
                            .orElseThrow(
                                    () -> QmpException.generic("iothread \"%s\" not found", id)));
        }
    }

    // --- Removing ----------------------------------------------------------------------------

    @Override
    public void remove(String id, BlockExportRemoveMode mode) {
        try (var _ = lock.take()) {
            Entry entry = entries.get(id);
            if (entry == null) {
                throw QmpException.generic("Export '%s' is not found", id);
            }
            if (entry.shuttingDown && mode.compareTo(entry.removal) <= 0) {
                throw QmpException.generic("Export '%s' is already shutting down", id);
            }
            switch (mode) {
                case SAFE -> {
                    if (entry.export.inUse()) {
                        throw QmpException.generic("export '%s' still in use", id);
                    }
                    shutDown(entry, BlockExport::requestRemoval);
                }
                case HIDE, SOFT -> {
                    entry.export.requestHide(mode == BlockExportRemoveMode.SOFT);
                    entry.shuttingDown = true;
                    entry.removal = mode;
                    if (entry.export.inUse()) {
                        return; // for as long as its clients like
                    }
                }
                case HARD -> shutDown(entry, BlockExport::requestRemoval);
            }
            if (closed(entry, System.nanoTime() + MOMENT.toNanos())) {
                finish(entry);
            }
        }
    }

    @Override
    public void removeAll(Set<String> ids) {
        drain(
                newestFirst().stream().filter(entry -> ids.contains(entry.id)).toList(),
                "its server is stopped");
    }

    /** Shuts exports down, whoever uses them, and waits until they are deleted. */
    private void drain(List<Entry> leaving, String why) {
        try (var _ = lock.take()) {
            leaving.forEach(entry -> shutDown(entry, BlockExport::requestShutdown));
        }
        // Waits without the lock, unless our caller has it
        long deadline = System.nanoTime() + patience.toNanos();
        for (Entry entry : leaving) {
            if (closed(entry, deadline)) {
                finish(entry);
            } else {
                logger.error(
                        "Export {} of type {} has not ended after {} s although {}",
                        entry.id,
                        entry.type,
                        patience.toSeconds(),
                        why);
            }
        }
    }

    private void shutDown(Entry entry, Consumer<BlockExport> request) {
        if (entry.removal != BlockExportRemoveMode.HARD) {
            entry.shuttingDown = true;
            entry.removal = BlockExportRemoveMode.HARD;
            request.accept(entry.export);
        }
    }

    private static boolean closed(Entry entry, long deadline) {
        boolean interrupted = false;
        try {
            while (true) {
                try {
                    long rest = Math.max(0, deadline - System.nanoTime());
                    entry.export.closed().toCompletableFuture().get(rest, TimeUnit.NANOSECONDS);
                    return true;
                } catch (ExecutionException e) {
                    // Against its contract, but it is closed
                    return true;
                } catch (TimeoutException e) {
                    return false;
                } catch (InterruptedException e) {
                    interrupted = true;
                }
            }
        } finally {
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** The export is closed: gives everything back, frees the id and says so, once. */
    private void finish(Entry entry) {
        try (var _ = lock.take()) {
            if (entries.get(entry.id) != entry) {
                return;
            }
            entry.shuttingDown = true;
            try {
                entry.release();
            } catch (RuntimeException e) {
                logger.error("Export {} could not give its node back", entry.id, e);
            }
            entries.remove(entry.id);
            TraceEvent.BLOCK_EXPORT_REMOVED.record(entry.id);
            events.emit(new BlockExportDeleted(entry.id));
        }
    }

    // --- Looking -----------------------------------------------------------------------------

    private List<Entry> newestFirst() {
        try (var _ = lock.take()) {
            return new ArrayList<>(entries.values()).reversed();
        }
    }

    @Override
    public List<BlockExportInfo> list() {
        try (var _ = lock.take()) {
            return newestFirst().stream().map(Entry::info).toList();
        }
    }

    @Override
    public Optional<BlockExportInfo> find(String id) {
        try (var _ = lock.take()) {
            return Optional.ofNullable(entries.get(id)).map(Entry::info);
        }
    }

    @Override
    public Map<String, Object> details(String id) {
        Optional<Entry> entry;
        try (var _ = lock.take()) {
            entry = Optional.ofNullable(entries.get(id));
        }
        return entry.map(found -> found.export.details()).orElse(Map.of());
    }

    @Override
    public List<ExportTypeInfo> types() {
        Map<String, ExportConditions.Condition> states = conditions.conditions();
        try (var _ = lock.take()) {
            Set<String> all = new TreeSet<>(WELL_KNOWN);
            all.addAll(states.keySet());
            all.addAll(drivers.byName().keySet());
            return all.stream().map(type -> describe(type, states.get(type))).toList();
        }
    }

    private ExportTypeInfo describe(String type, ExportConditions.Condition condition) {
        boolean installed = drivers.find(type).isPresent();
        if (!installed && (condition == null || condition.satisfied())) {
            return new ExportTypeInfo(type, false, "no driver is installed");
        }
        return new ExportTypeInfo(
                type, installed, condition == null ? "installed" : condition.reason());
    }
}

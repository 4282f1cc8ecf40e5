package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockDriver;
import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.ImageName;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.qmp.QmpDispatcher.Null;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.core.control.ControlLock;
import io.blockwharf.core.control.InstalledDrivers;
import io.blockwharf.core.qapi.Binder;
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

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.locks.ReentrantLock;
import java.util.regex.Pattern;

/**
 * The nodes by name, what they are to each other, and the drivers that open them. May be called
 * from any thread except those that serve requests; takes the control lock.
 *
 * <p>When a driver goes, its nodes go first, and before them everybody who uses them.
 */
@Component(service = {BlockGraph.class, OpenUnion.class})
public final class BlockGraph implements OpenUnion {
    private static final Pattern WELL_FORMED = Pattern.compile("[A-Za-z][A-Za-z0-9._-]*");

    /** QEMU's {@code node_name[32]}. */
    private static final int LONGEST_NAME = 31;

    /** Backing files behind one another; each takes a little of the stack. */
    private static final int MOST_NESTED = 200;

    private static final int PROBED_BYTES = 512;

    private final ControlLock lock;
    private final Logger logger;
    private final ReentrantLock resizing = new ReentrantLock();

    /** In the order in which they were made. */
    private final Map<String, Node> nodes = new LinkedHashMap<>();

    private final InstalledDrivers<BlockDriver<?>> drivers =
            new InstalledDrivers<>(BlockDriver.class, BlockdevOptions.class, "block.driver.name");

    /** The named children that are being opened, outermost first. */
    private final Set<String> opening = new LinkedHashSet<>();

    /** Reads the options in names of images; a driver's own are those of its record. */
    private final Binder binder = new Binder(drivers);

    private int unnamed;

    /** How long a change waits for requests. */
    long patienceNanos = GraphChange.PATIENCE_NANOS;

    /** An empty graph. */
    @Activate
    public BlockGraph(
            @Reference ControlLock lock, @Reference(service = LoggerFactory.class) Logger logger) {
        this.lock = lock;
        this.logger = logger;
    }

    Logger logger() {
        return logger;
    }

    // --- Drivers -----------------------------------------------------------------------------

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addDriver(BlockDriver<?> driver, Map<String, Object> properties) {
        try (var _ = lock.take()) {
            drivers.add(driver, properties);
        }
    }

    void removeDriver(BlockDriver<?> driver, Map<String, Object> properties) {
        try (var _ = lock.take()) {
            drivers.remove(driver, properties);
        }
        closeAll(
                nodes().stream().filter(node -> node.driver == driver).toList(),
                "driver " + drivers.name(properties) + " goes");
    }

    @Override
    public Branches branches() {
        return drivers;
    }

    @Deactivate
    void close() {
        closeAll(nodes(), "the daemon ends");
    }

    /** Closes nodes and whatever is built on them, after their users have gone. */
    private void closeAll(List<Node> leaving, String why) {
        List<Node> all;
        List<NodeUser> users = new ArrayList<>();
        try (var _ = lock.take()) {
            Set<Node> above = new LinkedHashSet<>();
            leaving.forEach(node -> addParents(node, above));
            all = List.copyOf(above);
            for (Node node : all) {
                node.leaving = true;
                node.users.stream()
                        .map(user -> user.user)
                        .filter(u -> u != null)
                        .forEach(users::add);
            }
        }
        // Without the lock, unless our caller has it: they may take a while
        users.forEach(NodeUser::evict);
        try (var _ = lock.take()) {
            all.forEach(node -> node.ownedByMonitor = false);
            Set<Node> open = new LinkedHashSet<>(all);
            open.removeIf(node -> nodes.get(node.name) != node);
            // Those above first: each lets go of the ones below
            for (Node node = unused(open); node != null; node = unused(open)) {
                close(node);
                open.removeIf(each -> nodes.get(each.name) != each);
            }
            for (Node node : open) {
                logger.error(
                        "Node {} is still in use although {}: its image stays open",
                        node.name,
                        why);
            }
        }
    }

    private static Node unused(Set<Node> nodes) {
        return nodes.stream().filter(node -> node.users.isEmpty()).findFirst().orElse(null);
    }

    private static void addParents(Node node, Set<Node> found) {
        if (found.add(node)) {
            for (NodeHandle user : node.users) {
                if (user.parent != null) {
                    addParents(user.parent, found);
                }
            }
        }
    }

    // --- Nodes -------------------------------------------------------------------------------

    /** All nodes, newest first. */
    List<Node> nodes() {
        try (var _ = lock.take()) {
            return new ArrayList<>(nodes.values()).reversed();
        }
    }

    /** A node by its name. */
    public Optional<Node> find(String name) {
        try (var _ = lock.take()) {
            return Optional.ofNullable(nodes.get(name));
        }
    }

    /** Opens a node that belongs to the monitor: {@code blockdev-add}. */
    void add(BlockdevOptions options) {
        try (var _ = lock.take()) {
            if (options.nodeName().isEmpty()) {
                throw QmpException.generic("'node-name' must be specified for the root node");
            }
            open(options, NodeOptions.DEFAULTS).ownedByMonitor = true;
        }
    }

    /** Gives nodes other options and children: {@code blockdev-reopen}. */
    void reopen(List<BlockdevOptions> options) {
        try (var _ = lock.take()) {
            Reopening.carryOut(this, options);
        }
    }

    /**
     * Leaves nodes to somebody else, or takes them back: {@code blockdev-set-active}.
     *
     * @param name the node whose images it is about; empty: all
     */
    void setActive(Optional<String> name, boolean active) {
        try (var _ = lock.take()) {
            if (name.isEmpty()) {
                Activation.all(this, active);
                return;
            }
            Node node =
                    find(name.get())
                            .orElseThrow(
                                    () ->
                                            QmpException.generic(
                                                    "Failed to find node with node-name='%s'",
                                                    name.get()));
            if (active) {
                Activation.activate(this, node);
            } else {
                Activation.inactivate(this, node);
            }
        }
    }

    /**
     * Makes a node active, and those below it, for somebody who is going to use it.
     *
     * @throws QmpException if somebody else has one of the images
     */
    public void activate(Node node) {
        try (var _ = lock.take()) {
            Activation.activate(this, node);
        }
    }

    /** Puts a node on top of another one: {@code blockdev-snapshot}. */
    void snapshot(String base, String overlay) {
        try (var _ = lock.take()) {
            Node below = existing(base);
            Overlays.checkBase(below);
            Overlays.put(this, below, existing(overlay), OptionalLong.empty());
        }
    }

    /**
     * Opens a node and puts it on top of another one, from which it inherits how it is opened:
     * {@code blockdev-snapshot-sync}. It belongs to its users only.
     *
     * @param made the size that the image was made for, if it was
     */
    void snapshot(Node base, String overlay, String driver, String path, OptionalLong made) {
        try (var _ = lock.take()) {
            Map<String, Object> options = new LinkedHashMap<>();
            options.put("driver", driver);
            options.put("node-name", overlay);
            options.put("file", Map.of("driver", "file", "filename", path));
            drivers.find(BlockdevOptions.class, driver)
                    .filter(type -> BlockdevRefs.has(type, "backing"))
                    .ifPresent(_ -> options.put("backing", Null.NULL));
            Node above =
                    open(
                            binder.bind(BlockdevOptions.class, options, false),
                            base.options().ofOverlay());
            try {
                Overlays.put(this, base, above, made);
            } finally {
                closeIfUnused(above);
            }
        }
    }

    /** Changes the name of a backing file in an image: {@code change-backing-file}. */
    void changeBackingFile(String top, String image, String name) {
        try (var _ = lock.take()) {
            Overlays.rename(this, existing(top), image, name);
        }
    }

    /** Whether nodes of that driver can be opened. */
    boolean hasDriver(String driver) {
        return drivers.find(driver).isPresent();
    }

    /** Closes a node that belongs to the monitor: {@code blockdev-del}. */
    void remove(String name) {
        try (var _ = lock.take()) {
            Node node = nodes.get(name);
            if (node == null) {
                throw QmpException.generic("Failed to find node with node-name='%s'", name);
            }
            if (node.users.stream().anyMatch(user -> user.role == null)) {
                throw QmpException.generic("Node %s is in use", name);
            }
            Overlays.checkBase(node);
            if (!node.ownedByMonitor) {
                throw QmpException.generic("Node %s is not owned by the monitor", name);
            }
            if (!node.users.isEmpty()) {
                throw QmpException.generic("Block device %s is in use", name);
            }
            close(node);
        }
    }

    private Node open(BlockdevOptions options, NodeOptions defaults) {
        BlockDriver<?> found =
                drivers.find(options.driver())
                        .orElseThrow(
                                () ->
                                        QmpException.generic(
                                                "Unknown driver '%s'", options.driver()));
        // Its type parameter is the class of these options: the dispatcher has bound them by it.
        @SuppressWarnings("unchecked")
        BlockDriver<Record> driver = (BlockDriver<Record>) found;
        NodeOptions generic = NodeOptions.of(options, defaults);
        String user = options.nodeName().orElse("#block");
        Map<String, NodeHandle> children = new LinkedHashMap<>();
        try {
            openChildren(driver, options.options(), generic, user, children);
            generic.check();
            String name = options.nodeName().map(this::checkedName).orElseGet(this::madeUpName);
            openNamed(driver, name, options.options(), generic, user, children);
            BlockImage image = driver.open(spec(name, options.options(), generic, children));
            Node node;
            try {
                node = new Node(name, options, driver, generic, image, children, resizing, logger);
                if (node.active()) {
                    node.loadBitmaps();
                }
            } catch (RuntimeException | Error e) {
                image.close();
                throw e;
            }
            for (NodeHandle child : children.values()) {
                child.parent = node;
            }
            nodes.put(name, node);
            children.values().stream()
                    .filter(child -> child.made && child.role == ChildRole.BACKING)
                    .forEach(child -> nowNewer(child.node));
            TraceEvent.BLOCK_NODE_OPENED.record(name, options.driver());
            return node;
        } catch (RuntimeException | Error e) {
            List.copyOf(children.values()).reversed().forEach(this::detach);
            throw e;
        }
    }

    /**
     * A backing node that was made for a node is newer than it, as far as others can tell: QEMU
     * opens it last.
     */
    private void nowNewer(Node backing) {
        Set<Node> made = new LinkedHashSet<>();
        addMade(backing, made);
        for (Node node : List.copyOf(nodes.values())) {
            if (made.contains(node)) {
                nodes.remove(node.name);
                nodes.put(node.name, node);
            }
        }
    }

    private static void addMade(Node node, Set<Node> found) {
        found.add(node);
        for (NodeHandle child : node.children.values()) {
            if (child.made) {
                addMade(child.node, found);
            }
        }
    }

    static NodeSpec<Record> spec(
            String name, Record options, NodeOptions generic, Map<String, NodeHandle> children) {
        return new NodeSpec<>(
                name, options, generic.flags(), Map.<String, BlockNode>copyOf(children));
    }

    private void openChildren(
            BlockDriver<Record> driver,
            Record options,
            NodeOptions generic,
            String user,
            Map<String, NodeHandle> children) {
        BlockdevRefs.of(options)
                .forEach(
                        (name, child) ->
                                child.ifPresent(
                                        ref -> {
                                            ChildRole role = driver.childRole(name, options);
                                            children.put(
                                                    name,
                                                    openChild(name, ref, role, generic, user));
                                        }));
    }

    /** Opens the children that the image itself names, unless the options have mentioned them. */
    private void openNamed(
            BlockDriver<Record> driver,
            String node,
            Record options,
            NodeOptions generic,
            String user,
            Map<String, NodeHandle> children) {
        Set<String> mentioned = BlockdevRefs.of(options).keySet();
        driver.namedChildren(spec(node, options, generic, children))
                .forEach(
                        (name, named) -> {
                            if (!mentioned.contains(name)) {
                                ChildRole role = driver.childRole(name, options);
                                String parent = filename(children);
                                children.put(
                                        name, openNamed(name, named, parent, role, generic, user));
                            }
                        });
    }

    private NodeHandle openNamed(
            String child,
            ImageName name,
            String parent,
            ChildRole role,
            NodeOptions generic,
            String user) {
        try {
            String place = ImageNames.resolve(name.filename(), parent);
            if (opening.size() >= MOST_NESTED || !opening.add(place)) {
                throw QmpException.generic("Backing file '%s' creates an infinite loop.", place);
            }
            try {
                BlockdevOptions options =
                        binder.bind(
                                BlockdevOptions.class,
                                ImageNames.options(
                                        place,
                                        name.format(),
                                        head -> recognise(head, generic.inherited(role))),
                                true);
                NodeHandle edge =
                        openChild(child, new BlockdevRef.Definition(options), role, generic, user);
                edge.named = true;
                return edge;
            } finally {
                opening.remove(place);
            }
        } catch (QmpException e) {
            if (role != ChildRole.BACKING
                    || e.getMessage().endsWith(" creates an infinite loop.")) {
                throw e;
            }
            throw new QmpException("Could not open backing file: " + e.getMessage(), e);
        }
    }

    /** The format of an image that nobody has told: a driver that knows its beginning, or raw. */
    private String recognise(Map<String, Object> protocol, NodeOptions generic) {
        Node node = open(binder.bind(BlockdevOptions.class, protocol, true), generic.readingOnly());
        try {
            ByteBuffer head = ByteBuffer.allocateDirect(PROBED_BYTES);
            int bytes = (int) Math.min(node.image().length(), PROBED_BYTES);
            if (bytes > 0) {
                MemorySegment memory = MemorySegment.ofBuffer(head);
                node.image().read(0, new IoVector(Arena.ofAuto(), 1).set(memory, 0, bytes));
            }
            head.limit(bytes);
            return drivers.byName().entrySet().stream()
                    .filter(each -> each.getValue().recognises(head.duplicate()))
                    .map(Map.Entry::getKey)
                    .findFirst()
                    .orElse("raw");
        } catch (BlockIoException e) {
            throw new QmpException(
                    "Could not read image for determining its format: " + e.getMessage(), e);
        } finally {
            closeIfUnused(node);
        }
    }

    /** The file that an image lies in: what it names is relative to it. */
    private static String filename(Map<String, NodeHandle> children) {
        NodeHandle file = children.get("file");
        return file == null ? "" : file.filename();
    }

    private NodeHandle openChild(
            String name, BlockdevRef ref, ChildRole role, NodeOptions generic, String user) {
        Node child =
                switch (ref) {
                    case BlockdevRef.Reference(String nodeName) -> existing(nodeName);
                    case BlockdevRef.Definition(BlockdevOptions made) ->
                            open(made, generic.inherited(role));
                };
        NodeHandle handle = new NodeHandle(this, child, name, Node.described(user), null, role);
        handle.made = ref instanceof BlockdevRef.Definition;
        try {
            Activation.checkEdge(child, name, user, generic.active());
            attach(handle, Perms.NONE.onChild(role, !generic.readOnly(), generic.active()));
        } catch (RuntimeException e) {
            closeIfUnused(child);
            throw e;
        }
        return handle;
    }

    /** See {@link BlockNode#depthOf}. */
    int depthOf(Node top, String name) {
        try (var _ = lock.take()) {
            int depth = 1;
            for (Node node = top; node != null; ) {
                if (node.name.equals(name)) {
                    return node.driver.filteredChild().isPresent() ? 0 : depth;
                }
                NodeHandle below = Bitmaps.shownThrough(node).orElse(null);
                depth += below != null && below.role == ChildRole.BACKING ? 1 : 0;
                node = below == null ? null : below.node;
            }
            return 0;
        }
    }

    private Node existing(String name) {
        Node node = nodes.get(name);
        if (node == null) {
            throw QmpException.generic("Cannot find device='%s' nor node-name='%s'", name, name);
        }
        return node;
    }

    private String checkedName(String name) {
        if (!WELL_FORMED.matcher(name).matches()) {
            throw QmpException.generic("Invalid node-name: '%s'", name);
        }
        if (nodes.containsKey(name)) {
            throw QmpException.generic("Duplicate nodes with node-name='%s'", name);
        }
        if (name.length() > LONGEST_NAME) {
            throw QmpException.generic("Node name too long");
        }
        return name;
    }

    /**
     * As QEMU's {@code id_generate}: a counter and two random digits, so that nobody relies on it.
     */
    private String madeUpName() {
        return "#block%d%02d".formatted(unnamed++, ThreadLocalRandom.current().nextInt(100));
    }

    private void close(Node node) {
        nodes.remove(node.name);
        TraceEvent.BLOCK_NODE_CLOSED.record(node.name);
        if (!node.readOnly() && node.active() && !node.options().noFlush()) {
            try {
                node.image().flush();
            } catch (BlockIoException e) {
                logger.error("Flushing node {} failed: {}", node.name, e.getMessage());
            } catch (RuntimeException e) {
                logger.error("Flushing node {} failed", node.name, e);
            }
        }
        try {
            node.close();
        } catch (RuntimeException e) {
            logger.error("Closing node {} failed", node.name, e);
        }
        List.copyOf(node.children.values()).reversed().forEach(this::detach);
    }

    private void closeIfUnused(Node node) {
        if (node.users.isEmpty() && !node.ownedByMonitor && nodes.get(node.name) == node) {
            close(node);
        }
    }

    // --- Users -------------------------------------------------------------------------------

    /**
     * Gives somebody outside the graph a handle on a node.
     *
     * @throws QmpException if the permissions are in conflict with those of other users
     */
    public BlockNode attach(
            Node node, NodeUser user, Set<Permission> taken, Set<Permission> shared) {
        try (var _ = lock.take()) {
            NodeHandle handle = new UserHandle(this, node, user);
            attach(handle, Perms.of(taken, shared));
            return handle;
        }
    }

    /**
     * Gives a job handles on all nodes that its options name, to write and resize them; those that
     * the options define are opened, and closed with the handles.
     *
     * @throws QmpException if one of them cannot be had
     */
    public Map<String, BlockNode> borrow(Record options) {
        Map<String, BlockNode> handles = new LinkedHashMap<>();
        try (var _ = lock.take()) {
            BlockdevRefs.of(options)
                    .forEach(
                            (name, child) ->
                                    child.ifPresent(ref -> handles.put(name, borrow(ref))));
            return handles;
        } catch (RuntimeException e) {
            handles.values().forEach(BlockNode::close);
            throw e;
        }
    }

    private BlockNode borrow(BlockdevRef ref) {
        Node node =
                switch (ref) {
                    case BlockdevRef.Reference(String name) -> existing(name);
                    case BlockdevRef.Definition(BlockdevOptions made) ->
                            open(made, NodeOptions.DEFAULTS);
                };
        try {
            return attach(
                    node,
                    () -> {},
                    Set.of(Permission.CONSISTENT_READ, Permission.WRITE, Permission.RESIZE),
                    Permission.all());
        } catch (RuntimeException e) {
            closeIfUnused(node);
            throw e;
        }
    }

    private void attach(NodeHandle handle, Perms perms) {
        Node node = handle.node;
        if (node.leaving) {
            throw QmpException.generic("Node '%s' is being closed", node.name);
        }
        node.users.addFirst(handle);
        try {
            PermissionChange.apply(handle, perms);
        } catch (RuntimeException e) {
            node.users.remove(handle);
            throw e;
        }
    }

    void permissions(NodeHandle handle, Perms perms) {
        try (var _ = lock.take()) {
            if (!handle.node.users.contains(handle)) {
                throw new IllegalStateException("closed");
            }
            PermissionChange.apply(handle, perms);
        }
    }

    void detach(NodeHandle handle) {
        try (var _ = lock.take()) {
            if (!handle.closes()) {
                return;
            }
            try {
                PermissionChange.apply(handle, Perms.NONE);
            } catch (RuntimeException e) {
                // Taking less is refused by nobody, but the driver may be unwell
                logger.error(
                        "Node {} did not take permissions back: {}",
                        handle.node.name,
                        e.getMessage(),
                        e);
            }
            handle.node.users.remove(handle);
            closeIfUnused(handle.node);
        }
    }

    // --- Size --------------------------------------------------------------------------------

    /** Changes the size of a node: {@code block_resize}. */
    void resize(Node node, long bytes) {
        try (var _ = lock.take();
                BlockNode handle =
                        attach(node, () -> {}, Set.of(Permission.RESIZE), Permission.all())) {
            handle.resize(bytes);
        } catch (BlockIoException e) {
            throw new QmpException(
                    e.errno() == Errno.EROFS ? "Image is read-only" : e.getMessage(), e);
        }
    }
}

package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.linux.LinuxException;

import java.io.UncheckedIOException;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * An edge of the block graph: a user's handle on a node. Requests that fit the image go to it after
 * one look at their range; {@link SlowPath} cares for the others.
 */
class NodeHandle implements BlockNode {
    private static final int WORKERS = 32;

    /** Exchanged by changes of the graph only, when no request is under way. */
    volatile Node node;

    /** What the user calls the node: {@code root}, or the name of the child. */
    final String childName;

    /** How messages call the user. */
    final String description;

    /** Null on a parent node's handle. */
    final NodeUser user;

    /** Null on a handle that is not a parent node's. */
    final ChildRole role;

    /** Whether the child was opened together with its parent, and inherits options from it. */
    boolean made;

    /** Whether the child is what the parent's image names, as it was opened. */
    boolean named;

    /** The node whose child this is; null before it is open, and on other users' handles. */
    volatile Node parent;

    final BlockGraph graph;
    private final List<Runnable> listeners = new CopyOnWriteArrayList<>();
    private final Set<Direct> direct = ConcurrentHashMap.newKeySet();
    private volatile Perms perms = Perms.NONE;

    /** What a user outside the graph gets while the node is active. Guarded by the control lock. */
    private Perms wanted = Perms.NONE;

    private boolean closed;
    private WorkerPool workers;

    /*
     * What each write asks. The first two are written under the control lock, and not always with
     * the gate closed; the flags by the user itself, while its I/O threads serve. Volatile, as what
     * requests look at in a node: a write that begins after a change (after the answer to the guest
     * that switched its cache off, say) finds it. Writes only load them, which on x86 is an ordinary
     * load, and on ARM one that does not wait for earlier stores.
     */
    private volatile boolean writable;
    private volatile boolean writesStraight;
    private volatile int forcedFlags;

    NodeHandle(
            BlockGraph graph,
            Node node,
            String childName,
            String description,
            NodeUser user,
            ChildRole role) {
        this.graph = graph;
        this.node = node;
        this.childName = childName;
        this.description = description;
        this.user = user;
        this.role = role;
    }

    // --- Description -------------------------------------------------------------------------

    @Override
    public String name() {
        return node.name;
    }

    @Override
    public String driver() {
        return node.driverName;
    }

    @Override
    public String filename() {
        return node.filename();
    }

    @Override
    public String jsonOptions() {
        return ImageNames.nested(node);
    }

    @Override
    public boolean readOnly() {
        return node.readOnly();
    }

    @Override
    public boolean active() {
        return node.active();
    }

    @Override
    public long length() {
        return node.length();
    }

    @Override
    public BlockLimits limits() {
        return node.limits();
    }

    @Override
    public int depthOf(String nodeName) {
        return graph.depthOf(node, nodeName);
    }

    @Override
    public Optional<Boolean> dirty() {
        return node.image().dirty();
    }

    @Override
    public Optional<Long> allocatedSize() {
        return node.image().allocatedSize();
    }

    // --- Permissions -------------------------------------------------------------------------

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {
        graph.permissions(this, Perms.of(taken, shared));
    }

    Perms perms() {
        return perms;
    }

    /** What the user, who is outside the graph, has asked for. */
    Perms wanted() {
        return wanted;
    }

    /** The same, or what a parent's role demands. */
    Perms asked() {
        return user == null ? perms : wanted;
    }

    /** The user asks for something else from now on. */
    void wanted(Perms asked) {
        wanted = asked;
    }

    /**
     * What a user outside the graph has of what it asks for: nothing while the node is inactive, if
     * it can wait.
     */
    Perms granted(Perms asked, boolean active) {
        return active || !toleratesInactive(asked) ? asked : Perms.NONE;
    }

    /** Whether the node may be inactive as far as this user is concerned. */
    boolean toleratesInactive(Perms asked) {
        return user == null || !asked.takes(Perms.CHANGES) || user.allowsInactive();
    }

    /** Lets the permissions take effect; they have been checked. */
    void perms(Perms granted) {
        perms = granted;
        writable = granted.takes(Perms.WRITE | Perms.WRITE_UNCHANGED);
        optionsChanged();
    }

    /** The node has other options, or is another one. */
    void optionsChanged() {
        writesStraight = writable && !node.detectsZeroes();
    }

    boolean writable() {
        return writable;
    }

    boolean writesStraight() {
        return writesStraight;
    }

    private void checkWritable() throws BlockIoException {
        if (!writable) {
            throw new BlockIoException(Errno.EPERM, "no permission to write");
        }
    }

    // --- Generic options ---------------------------------------------------------------------

    @Override
    public void writeCache(boolean enabled) {
        if (!enabled && !direct.isEmpty()) {
            throw new IllegalStateException("writes that nobody sees cannot be forced");
        }
        forcedFlags = enabled ? 0 : RequestFlags.FUA;
    }

    @Override
    public boolean writeCache() {
        return forcedFlags == 0;
    }

    /** The flags that the image gets for those of a request. */
    int flags(int flags) {
        return (flags | forcedFlags) & node.flagMask();
    }

    // --- Requests ----------------------------------------------------------------------------

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        if (node.straight(offset, into.byteCount()) && node.aligned(into)) {
            node.image().read(offset, into);
        } else {
            node.slowPath().read(offset, into, role != null);
        }
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        long bytes = into.byteCount();
        if (node.straight(offset, bytes) && node.aligned(into)) {
            return node.image().tryRead(offset, into);
        }
        node.check(offset, bytes);
        return bytes == 0;
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        long bytes = from.byteCount();
        if (!writesStraight || !node.straight(offset, bytes) || !node.aligned(from)) {
            writeSlowly(offset, from, flags(flags));
            return;
        }
        try {
            node.image().write(offset, from, flags(flags));
        } finally {
            node.changed(offset, bytes);
        }
    }

    private void writeSlowly(long offset, IoVector from, int flags) throws BlockIoException {
        long bytes = from.byteCount();
        checkWritable();
        node.check(offset, bytes);
        try {
            if (bytes == 0) {
                return;
            } else if (node.detectsZeroes() && Zeroes.only(from)) {
                zero(offset, bytes, flags | node.zeroFlags());
            } else {
                node.slowPath().write(offset, from, flags);
            }
        } finally {
            node.changed(offset, bytes);
        }
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        long bytes = from.byteCount();
        if (writesStraight && node.straight(offset, bytes) && node.aligned(from)) {
            boolean done;
            try {
                done = node.image().tryWrite(offset, from, flags(flags));
            } catch (BlockIoException e) {
                node.changed(offset, bytes);
                throw e;
            }
            if (done) {
                node.changed(offset, bytes);
            }
            return done;
        }
        checkWritable();
        node.check(offset, bytes);
        return bytes == 0;
    }

    @Override
    public void flush() throws BlockIoException {
        if (!node.options().noFlush()) {
            node.image().flush();
        }
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        checkWritable();
        node.check(offset, length);
        if (!node.options().discard() || length == 0) {
            return;
        }
        try {
            if (node.inside(offset, length)) {
                node.image().discard(offset, length);
            } else {
                node.slowPath().discard(offset, length);
            }
        } finally {
            node.discarded(offset, length);
        }
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        checkWritable();
        node.check(offset, length);
        if (length == 0) {
            return;
        }
        try {
            zero(offset, length, flags(flags));
        } finally {
            node.changed(offset, length);
        }
    }

    private void zero(long offset, long length, int flags) throws BlockIoException {
        if (node.inside(offset, length)) {
            node.image().writeZeroes(offset, length, flags);
        } else {
            node.slowPath().writeZeroes(offset, length, flags);
        }
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        if (node.inside(offset, length)) {
            return node.image().extentAt(offset, length);
        }
        return node.slowPath().extentAt(offset, length);
    }

    @Override
    public void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        if (node.inside(offset, length)) {
            node.image().extents(offset, length, to);
        } else {
            node.slowPath().extents(offset, length, to);
        }
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long length) {
        return node.inside(offset, length)
                ? node.image().hostExtent(offset, length)
                : Optional.empty();
    }

    @Override
    public BlockQueue openQueue(int depth) {
        checkDepth(depth);
        try {
            return new HandleQueue(this, null, depth);
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    static void checkDepth(int depth) {
        if (depth < 1 || depth > 4096) {
            throw new IllegalArgumentException("depth " + depth);
        }
    }

    /** A queue that this handle has opened is closed. */
    void queueClosed(HandleQueue queue) {}

    /** Threads for requests that block; made when the first queue is opened. */
    synchronized WorkerPool workers() {
        if (workers == null) {
            workers = new WorkerPool("blockwharf-" + node.name, WORKERS, graph.logger());
        }
        return workers;
    }

    // --- Past the requests -------------------------------------------------------------------

    @Override
    public Optional<DirectAccess> directAccess(boolean write) {
        if (write && !writable || !writeCache() || !node.directBegins()) {
            return Optional.empty();
        }
        Optional<DirectAccess> file = Optional.empty();
        try {
            file = node.image().directAccess(write);
        } finally {
            if (file.isEmpty()) {
                node.directEnded();
            }
        }
        return file.map(Direct::new);
    }

    /** Keeps the node's books about a file that is used behind its back. */
    private final class Direct implements DirectAccess {
        private final DirectAccess file;

        Direct(DirectAccess file) {
            this.file = file;
            direct.add(this);
        }

        @Override
        public int fd() {
            return file.fd();
        }

        @Override
        public void sizeChanged() throws BlockIoException {
            try {
                file.sizeChanged();
            } finally {
                node.refreshLength();
            }
        }

        @Override
        public void close() {
            if (direct.remove(this)) {
                file.close();
                node.directEnded();
            }
        }
    }

    // --- Size and end ------------------------------------------------------------------------

    @Override
    public void resize(long length) throws BlockIoException {
        if (!perms.takes(Perms.RESIZE)) {
            throw new BlockIoException(Errno.EPERM, "no permission to resize");
        }
        node.resize(length);
    }

    @Override
    public void grow(long length) throws BlockIoException {
        if (!perms.takes(Perms.RESIZE)) {
            throw new BlockIoException(Errno.EPERM, "no permission to resize");
        }
        node.extendTo(length);
    }

    @Override
    public void onResize(Runnable listener) {
        listeners.add(listener);
    }

    /** The node's size has changed. Parents take it over after their drivers have heard of it. */
    void resized() {
        for (Runnable listener : listeners) {
            listener.run();
        }
        Node above = parent;
        if (above != null) {
            above.refreshLength();
        }
    }

    @Override
    public void close() {
        graph.detach(this);
    }

    /** Whether this is the first time. Under the control lock. */
    boolean closes() {
        boolean first = !closed;
        closed = true;
        listeners.clear();
        direct.forEach(Direct::close);
        synchronized (this) {
            if (workers != null) {
                workers.close();
            }
        }
        return first;
    }
}

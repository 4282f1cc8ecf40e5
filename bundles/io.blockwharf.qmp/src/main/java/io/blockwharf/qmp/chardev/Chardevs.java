package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QomContainer;
import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.InheritedFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.linux.StandardStreams;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.io.OutputStream;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.TreeMap;

/** The chardevs, by id. Thread-safe; making one may block while a name is resolved. */
@Component(service = {Chardevs.class, QomContainer.class})
public final class Chardevs implements QomContainer {
    private static final long RINGBUF_BYTES = 65536;

    /** A daemon's heap is small. */
    private static final long MAX_RINGBUF_BYTES = 16 << 20;

    private static final class Entry {
        private final String type;
        private final Chardev device;
        private final Optional<RingBuffer> buffer;
        private boolean attached;

        Entry(String type, Chardev device, Optional<RingBuffer> buffer) {
            this.type = type;
            this.device = device;
            this.buffer = buffer;
        }
    }

    /**
     * QAPI {@code ChardevInfo}.
     *
     * @param label the id
     * @param filename where the other end is
     * @param frontendOpen whether a monitor is attached
     */
    public record Info(String label, String filename, boolean frontendOpen) {}

    private final Logger logger;
    private final Map<String, Entry> entries = new LinkedHashMap<>();
    private final List<SocketServer> awaitingClients = new ArrayList<>();
    private boolean stdioTaken;

    /** No chardevs. */
    @Activate
    public Chardevs(@Reference(service = LoggerFactory.class) Logger logger) {
        this.logger = logger;
    }

    @Deactivate
    synchronized void close() {
        entries.values().forEach(entry -> entry.device.close());
        entries.clear();
    }

    /** Whether there is a chardev of that id. */
    public synchronized boolean exists(String id) {
        return entries.containsKey(id);
    }

    /**
     * Makes a chardev.
     *
     * @throws QmpException with nothing left behind
     */
    public synchronized void add(String id, ChardevBackend backend) {
        if (exists(id)) {
            throw QmpException.generic("Chardev with id '%s' already exists", id);
        }
        try {
            entries.put(id, open(id, backend));
        } catch (LinuxException e) {
            throw new QmpException(e.getMessage(), e);
        }
    }

    private Entry open(String id, ChardevBackend backend) throws LinuxException {
        return switch (backend) {
            case ChardevBackend.File file ->
                    new Entry("file", new SinglePeer("file", openFile(file)), Optional.empty());
            case ChardevBackend.Null _ ->
                    new Entry(
                            "null",
                            new SinglePeer("null", new SilentPeer(OutputStream.nullOutputStream())),
                            Optional.empty());
            case ChardevBackend.Pipe pipe ->
                    new Entry(
                            "pipe",
                            new SinglePeer("pipe", openPipe(pipe.device())),
                            Optional.empty());
            case ChardevBackend.Pty _ ->
                    new Entry("pty", new PseudoTerminal(logger), Optional.empty());
            case ChardevBackend.Ringbuf ringbuf -> openBuffer("ringbuf", ringbuf.size());
            case ChardevBackend.Memory memory -> openBuffer("memory", memory.size());
            case ChardevBackend.Socket socket ->
                    new Entry("socket", openSocket(id, socket), Optional.empty());
            case ChardevBackend.Stdio stdio ->
                    new Entry("stdio", openStdio(stdio), Optional.empty());
        };
    }

    private static Peer openFile(ChardevBackend.File file) throws LinuxException {
        HostFile.Flag existing =
                file.append().orElse(false) ? HostFile.Flag.APPEND : HostFile.Flag.TRUNCATE;
        CharDevice output =
                stream(
                        file.out(),
                        HostFile.Flag.WRITE_ONLY,
                        HostFile.Flag.CREATE,
                        existing,
                        HostFile.Flag.NO_TERMINAL);
        if (file.in().isEmpty()) {
            return new StreamPeer(Optional.empty(), output, StreamPeer.AtEnd.SILENT, output::close);
        }
        return peer(
                () ->
                        stream(
                                file.in().get(),
                                HostFile.Flag.NON_BLOCKING,
                                HostFile.Flag.NO_TERMINAL),
                output);
    }

    private static Peer openPipe(String path) throws LinuxException {
        HostFile.Flag[] flags = {
            // For both, so that nobody has to be at the other end
            HostFile.Flag.WRITE, HostFile.Flag.NON_BLOCKING, HostFile.Flag.NO_TERMINAL
        };
        try {
            return peer(() -> stream(path + ".in", flags), stream(path + ".out", flags));
        } catch (LinuxException e) {
            CharDevice both = stream(path, flags);
            return new StreamPeer(Optional.of(both), both, StreamPeer.AtEnd.SILENT, both::close);
        }
    }

    /** Something that is opened. */
    private interface Opening {
        CharDevice open() throws LinuxException;
    }

    private static Peer peer(Opening opening, CharDevice output) throws LinuxException {
        CharDevice input;
        try {
            input = opening.open();
        } catch (LinuxException e) {
            output.close();
            throw e;
        }
        return new StreamPeer(
                Optional.of(input),
                output,
                StreamPeer.AtEnd.SILENT,
                () -> {
                    input.close();
                    output.close();
                });
    }

    private static CharDevice stream(String path, HostFile.Flag... flags) throws LinuxException {
        try (HostFile file = HostFile.open(path, flags)) {
            return CharDevice.of(file.release());
        }
    }

    private static Entry openBuffer(String kind, Optional<Long> requested) {
        long size = requested.orElse(RINGBUF_BYTES);
        if (Long.bitCount(size) != 1 || size < 0) {
            throw QmpException.generic("size of ringbuf chardev must be power of two");
        }
        if (size > MAX_RINGBUF_BYTES) {
            throw QmpException.generic(
                    "size of ringbuf chardev must be at most %d", MAX_RINGBUF_BYTES);
        }
        RingBuffer buffer = new RingBuffer((int) size);
        return new Entry(kind, new SinglePeer(kind, new SilentPeer(buffer)), Optional.of(buffer));
    }

    private Chardev openSocket(String id, ChardevBackend.Socket socket) throws LinuxException {
        boolean server = socket.server().orElse(true);
        boolean noDelay = socket.nodelay().orElse(false);
        if (socket.reconnect().isPresent() && socket.reconnectMs().isPresent()) {
            throw QmpException.generic("'reconnect' and 'reconnect-ms' are mutually exclusive");
        }
        if (socket.addr() instanceof SocketAddress.Fd
                && (socket.reconnect().isPresent() || socket.reconnectMs().isPresent())) {
            throw QmpException.generic("'reconnect' option is incompatible with 'fd' address type");
        }
        if (server && (socket.reconnect().isPresent() || socket.reconnectMs().isPresent())) {
            throw QmpException.generic(
                    "'%s' option is incompatible with socket in server listen mode",
                    socket.reconnect().isPresent() ? "reconnect" : "reconnect-ms");
        }
        if (!server && socket.wait_().isPresent()) {
            throw QmpException.generic(
                    "'wait' option is incompatible with socket in client connect mode");
        }
        long reconnectMillis =
                Math.clamp(
                        socket.reconnect()
                                .map(seconds -> Math.clamp(seconds, 0, Integer.MAX_VALUE) * 1000L)
                                .or(socket::reconnectMs)
                                .orElse(0L),
                        0L,
                        Integer.MAX_VALUE);
        if (!server) {
            return new SocketClient(id, socket.addr(), noDelay, reconnectMillis, logger);
        }
        SocketServer listener = new SocketServer(socket.addr(), noDelay, logger);
        if (socket.wait_().orElse(false)) {
            awaitingClients.add(listener);
        }
        return listener;
    }

    private Chardev openStdio(ChardevBackend.Stdio stdio) throws LinuxException {
        if (StandardStreams.areNobodys()) {
            throw QmpException.generic("cannot use stdio with -daemonize");
        }
        if (stdioTaken) {
            throw QmpException.generic("cannot use stdio by multiple character devices");
        }
        StdioPeer peer = new StdioPeer(stdio.signal().orElse(true), this::releaseStdio);
        stdioTaken = true;
        return new SinglePeer("stdio", peer);
    }

    private synchronized void releaseStdio() {
        stdioTaken = false;
    }

    /**
     * Whether an inherited descriptor is a socket that listens.
     *
     * @throws QmpException if it is no socket
     */
    static boolean listens(SocketAddress.Fd fd) {
        try {
            InheritedFd inherited = InheritedFd.take(fd);
            if (inherited.isSocket()) {
                return inherited.isListening();
            }
        } catch (NumberFormatException e) {
            throw new QmpException("Unable to parse FD number " + fd.str(), e);
        } catch (LinuxException e) {
            // not open
        }
        throw QmpException.generic("File descriptor '%s' is not a socket", fd.str());
    }

    /**
     * Waits for the first client of every socket that was made with {@code wait}. Not under the
     * control lock, so that the daemon can be ended meanwhile.
     */
    public void awaitClients() {
        List<SocketServer> servers;
        synchronized (this) {
            servers = List.copyOf(awaitingClients);
            awaitingClients.clear();
        }
        for (SocketServer server : servers) {
            logger.warn("info: waiting for connection on: {}", server.filename());
            server.awaitClient();
        }
    }

    /**
     * Removes a chardev that nothing is attached to.
     *
     * @throws QmpException if there is none, or it is in use
     */
    public synchronized void remove(String id) {
        Entry entry = find(id);
        if (entry.attached) {
            throw QmpException.generic("Chardev '%s' is busy", id);
        }
        entries.remove(id);
        entry.device.close();
    }

    /**
     * Replaces a chardev that nothing is attached to. If the new one cannot be made, there is none
     * of that id afterwards: the two may want the same address.
     *
     * @throws QmpException if there is none, its user could not change over, or as {@link #add}
     */
    public synchronized void change(String id, ChardevBackend backend) {
        Entry entry = entries.get(id);
        if (entry == null) {
            throw QmpException.generic("Chardev '%s' does not exist", id);
        }
        if (entry.attached) {
            throw QmpException.generic("Chardev user does not support chardev hotswap");
        }
        remove(id);
        addByCommand(id, backend);
    }

    /**
     * {@link #add} with the words of {@code chardev-add}.
     *
     * @throws QmpException with nothing left behind
     */
    public synchronized void addByCommand(String id, ChardevBackend backend) {
        if (exists(id)) {
            throw QmpException.generic("Chardev with id '%s' already exists", id);
        }
        try {
            add(id, backend);
        } catch (QmpException e) {
            throw new QmpException(
                    "Failed to add chardev '%s': %s".formatted(id, e.getMessage()), e);
        }
    }

    /** The device of a chardev's pseudo terminal; empty if it has none. */
    public synchronized Optional<String> terminal(String id) {
        return find(id).device instanceof PseudoTerminal terminal
                ? Optional.of(terminal.path())
                : Optional.empty();
    }

    /**
     * Makes sure that there is a chardev of that id.
     *
     * @throws QmpException if there is none
     */
    synchronized void check(String id) {
        find(id);
    }

    private Entry find(String id) {
        return Optional.ofNullable(entries.get(id))
                .orElseThrow(() -> QmpException.generic("Chardev '%s' not found", id));
    }

    /**
     * Attaches a front end, for good.
     *
     * @throws QmpException if there is no such chardev, or it has a front end
     */
    public synchronized Chardev attach(String id) {
        Entry entry = entries.get(id);
        if (entry == null) {
            throw QmpException.generic("chardev \"%s\" not found", id);
        }
        if (entry.attached) {
            throw QmpException.generic("Device '%s' is in use", id);
        }
        entry.attached = true;
        return entry.device;
    }

    /**
     * What ringbuf-read and -write work on.
     *
     * @throws QmpException if there is no such chardev, or it is of another kind
     */
    synchronized RingBuffer ringBuffer(String id) {
        if (!exists(id)) {
            throw QmpException.generic("Device '%s' not found", id);
        }
        return find(id).buffer
                .orElseThrow(() -> QmpException.generic("%s is not a ringbuf device", id));
    }

    /** All chardevs, in the order in which they were made. */
    public synchronized List<Info> list() {
        return entries.entrySet().stream()
                .map(
                        entry ->
                                new Info(
                                        entry.getKey(),
                                        entry.getValue().device.filename(),
                                        entry.getValue().attached))
                .toList();
    }

    // --- The object model --------------------------------------------------------------------

    @Override
    public String name() {
        return "chardevs";
    }

    @Override
    public synchronized SequencedMap<String, String> children() {
        SequencedMap<String, String> children = new LinkedHashMap<>();
        entries.forEach((id, entry) -> children.put(id, "chardev-" + entry.type));
        return children;
    }

    @Override
    public Map<String, String> types() {
        Map<String, String> types = new TreeMap<>();
        types.put("chardev", "object");
        QueryChardevBackends.names().forEach(kind -> types.put("chardev-" + kind, "chardev"));
        return types;
    }
}

package io.blockwharf.vhostuser;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.linux.Doorbell;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.MemFd;
import io.blockwharf.linux.ReceivedDescriptors;
import io.blockwharf.vhostuser.wire.Codec;
import io.blockwharf.vhostuser.wire.ProtocolFeatures;
import io.blockwharf.vhostuser.wire.Request;
import io.blockwharf.vhostuser.wire.Request.Type;
import io.blockwharf.vhostuser.wire.VhostUserException;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.DirtyLog;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.Virtqueue;

import org.osgi.service.log.Logger;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * One front end's connection: negotiation, memory, and the life of the vrings, vhost-user
 * specification, "Communication". Runs on a thread of its own; the vrings run on theirs.
 */
final class VhostUserSession {
    private static final int QUEUE_SIZE_MAX = 1024;

    /**
     * The most bytes of a dirty log, which is enough for 2 PiB of addresses, and of an in-flight
     * log; see {@link MemoryTable#MAX_BYTES}.
     */
    private static final long LOG_BYTES_MAX = 64L << 30;

    private final VirtioBlk device;
    private final FdSocket socket;
    private final Vring[] vrings;
    private final Logger log;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment buffer =
            arena.allocate(Codec.HEADER_BYTES + Codec.MAX_PAYLOAD_BYTES, 8);
    private final ReceivedDescriptors descriptors = new ReceivedDescriptors();

    private long features;
    private long protocolFeatures;
    private long status;
    private MemoryTable memory = MemoryTable.EMPTY;
    private Optional<MappedRegion> dirtyLog = Optional.empty();
    private Optional<MappedRegion> inFlight = Optional.empty();

    /** How much of it each vring has. */
    private long inFlightBytes;

    /** In that memory, if we have laid it out. */
    private Optional<KeptWriteback> kept = Optional.empty();

    /** Guarded by this: a resize sends from another thread. */
    private Optional<FdSocket> backend = Optional.empty();

    /**
     * A session that is not run yet.
     *
     * @param socket closed by the session when it ends
     * @param threads the vrings are spread over them
     * @param complaints about this front end and those before it
     */
    VhostUserSession(
            VirtioBlk device,
            FdSocket socket,
            int queues,
            QueueThreads threads,
            Logger log,
            Complaints complaints) {
        this.device = device;
        this.socket = socket;
        this.log = log;
        this.vrings = new Vring[queues];
        for (int i = 0; i < queues; i++) {
            vrings[i] = new Vring(i, threads.of(i), log, complaints);
        }
    }

    /** Serves the front end until it leaves, breaks the protocol, or {@link #shutdown}. */
    void run() {
        try {
            while (next()) {
                // one message at a time
            }
        } catch (VhostUserException | LinuxException e) {
            log.info("vhost-user connection ended: {}", e.getMessage());
        } catch (InternalError e) { // of the JVM: the front end has truncated what it had shared
            log.info("vhost-user connection ended: shared memory is gone: {}", e.getMessage());
        } catch (RuntimeException e) {
            log.error("vhost-user connection ended", e); // the next front end shall be served
        } finally {
            resetDevice();
            device.forgetDriver();
            dropBackend();
            memory.retire(MemoryTable.EMPTY);
            dirtyLog.ifPresent(MappedRegion::close);
            inFlight.ifPresent(MappedRegion::close);
            descriptors.close();
            closeSocket();
            arena.close();
        }
    }

    /** Never in the middle of {@link #shutdown}, which would end another one of that number. */
    private synchronized void closeSocket() {
        socket.close();
    }

    /** Disconnects the front end. From any thread. */
    synchronized void shutdown() {
        socket.shutdown();
    }

    /** Tells the front end that the size has changed. From any thread. */
    synchronized void configChanged() {
        if (backend.isPresent()) {
            ByteBuffer message = Codec.configChange();
            try (Arena own = Arena.ofConfined()) {
                var bytes = own.allocate(message.remaining());
                bytes.copyFrom(MemorySegment.ofBuffer(message));
                // A front end that does not read loses it: it would hold up whoever resizes.
                backend.get().send(bytes, 0, bytes.byteSize(), FdSocket.DONT_WAIT);
            } catch (LinuxException e) {
                log.debug("config change was not delivered: {}", e.getMessage());
            }
        }
    }

    private boolean next() throws LinuxException, VhostUserException {
        long n = socket.receiveWithDescriptors(buffer, 0, Codec.HEADER_BYTES, 0, descriptors);
        if (n <= 0) {
            return false;
        }
        receiveRest(n, Codec.HEADER_BYTES);
        Codec.Header header = Codec.header(buffer.asSlice(0, Codec.HEADER_BYTES).asByteBuffer());
        receiveRest(Codec.HEADER_BYTES, (long) Codec.HEADER_BYTES + header.size());
        if (descriptors.truncated()) {
            throw new VhostUserException("too many file descriptors");
        }
        Request request =
                Codec.request(
                        header, buffer.asSlice(Codec.HEADER_BYTES, header.size()).asByteBuffer());
        boolean ack = header.needReply() && (protocolFeatures & ProtocolFeatures.REPLY_ACK) != 0;
        try {
            if (!handle(header, request) && ack) {
                send(Codec.reply(header, 0));
            }
        } catch (IllegalArgumentException | LinuxException | BlockIoException e) {
            log.info("vhost-user {}: {}", request, e.getMessage());
            if (!ack) {
                throw new VhostUserException(e.getMessage());
            }
            send(Codec.reply(header, 1)); // "REPLY_ACK": non-zero is failure
        }
        return true;
    }

    private void receiveRest(long from, long to) throws LinuxException, VhostUserException {
        for (long at = from; at < to; ) {
            long n = socket.receive(buffer, at, to - at, FdSocket.WAIT_ALL);
            if (n <= 0) {
                throw new VhostUserException("the connection ended inside a message");
            }
            at += n;
        }
    }

    private void send(ByteBuffer message, int... fds) throws LinuxException {
        int length = message.remaining();
        buffer.asSlice(0, length).copyFrom(MemorySegment.ofBuffer(message));
        socket.sendWithDescriptors(buffer, 0, length, fds);
    }

    /** Carries a message out and tells whether it has a reply of its own, which was sent. */
    private boolean handle(Codec.Header header, Request request)
            throws LinuxException, VhostUserException, BlockIoException {
        switch (request) {
            case Request.Plain(Type type) -> {
                return plain(header, type);
            }
            case Request.Number(Type type, long value) -> number(type, value);
            case Request.VringState(Type type, int index, int value) -> {
                return vringState(header, type, vring(index), value);
            }
            case Request.VringAddress address -> {
                Vring vring = vring(address.index());
                vring.stop();
                vring.address(address);
                start(vring);
            }
            case Request.VringDescriptor(Type type, int index, boolean present) ->
                    vringDescriptor(type, vring(index), present);
            case Request.MemoryTable(var regions) -> memoryTable(regions);
            case Request.MemoryRegionChange(Type type, var region) -> {
                if (type == Type.ADD_MEM_REG) {
                    replace(memory.with(region, fd(0)));
                } else {
                    replace(memory.without(region));
                }
            }
            case Request.LogBase(long size, long offset) -> {
                if (size > LOG_BYTES_MAX) {
                    throw new IllegalArgumentException("dirty log of " + size + " bytes");
                }
                if ((offset & Long.BYTES - 1) != 0) { // it is written in whole words
                    throw new IllegalArgumentException("dirty log at offset " + offset);
                }
                var region =
                        MappedRegion.mapReceived(
                                fd(0), offset, size, MappedRegion.Access.READ_WRITE);
                Optional<MappedRegion> old = dirtyLog;
                dirtyLog = Optional.of(region);
                applyDirtyLog();
                old.ifPresent(MappedRegion::close);
                send(Codec.reply(header, 0));
                return true;
            }
            case Request.GetConfig get -> {
                send(Codec.replyConfig(header, get, device.config()));
                return true;
            }
            case Request.SetConfig set -> setConfig(set);
            case Request.InFlight inflight -> {
                return inFlight(header, inflight);
            }
            case Request.Unknown(int number, int size) ->
                    throw new IllegalArgumentException(
                            "unknown message " + number + " with " + size + " bytes");
        }
        return false;
    }

    /**
     * "Virtio device config space": what the driver writes (flags 0), or, on the destination of a
     * migration (flags 1), any part of what the source had. Of that we take over what its driver
     * has written; the rest is ours to say.
     */
    private void setConfig(Request.SetConfig request) throws BlockIoException {
        byte[] bytes = request.bytes();
        int at = VirtioBlk.CONFIG_WRITEBACK - request.offset();
        boolean migration =
                switch (request.flags()) {
                    case 0 -> false;
                    case 1 -> true;
                    default -> throw new IllegalArgumentException("flags " + request.flags());
                };
        if (!migration && (at != 0 || bytes.length != 1)) {
            throw new IllegalArgumentException("read-only configuration field");
        }
        if (at >= 0 && at < bytes.length) {
            writeback(bytes[at] != 0);
        }
    }

    private void writeback(boolean on) throws BlockIoException {
        device.setWriteback(on);
        kept.ifPresent(kept -> kept.keep(on));
    }

    private boolean plain(Codec.Header header, Type type) throws LinuxException {
        long answer;
        switch (type) {
            case GET_FEATURES -> answer = offered();
            case GET_PROTOCOL_FEATURES -> answer = ProtocolFeatures.ALL;
            case GET_QUEUE_NUM -> answer = vrings.length;
            case GET_MAX_MEM_SLOTS -> answer = MemoryTable.MAX_SLOTS;
            case GET_STATUS -> answer = status;
            case SET_BACKEND_REQ_FD -> {
                var channel = FdSocket.of(fd(0)); // if it is none it is closed with the message
                take(0);
                synchronized (this) {
                    dropBackend();
                    backend = Optional.of(channel);
                }
                return false;
            }
            case RESET_DEVICE, RESET_OWNER -> {
                resetByFrontEnd();
                return false;
            }
            default -> {
                return false; // SET_OWNER, SET_LOG_FD: nothing to do
            }
        }
        send(Codec.reply(header, answer));
        return true;
    }

    /**
     * The virtio features and vhost-user's own. VIRTIO_F_IN_ORDER is for front ends that ask for
     * it: QEMU accepts it for its guest only with {@code in_order=on}.
     */
    private long offered() {
        return device.features()
                | Virtqueue.F_IN_ORDER
                | ProtocolFeatures.F_PROTOCOL_FEATURES
                | ProtocolFeatures.F_LOG_ALL;
    }

    private void number(Type type, long value) {
        switch (type) {
            case SET_FEATURES -> {
                if ((value & ~offered()) != 0) {
                    throw new IllegalArgumentException(
                            "features 0x%x were not offered".formatted(value & ~offered()));
                }
                features = value;
                device.negotiated(value);
                if ((value & ProtocolFeatures.F_PROTOCOL_FEATURES) == 0) {
                    // "Ring states": without the negotiation rings are enabled from the start.
                    for (Vring vring : vrings) {
                        vring.enabled(true);
                    }
                }
                applyDirtyLog();
            }
            case SET_PROTOCOL_FEATURES -> protocolFeatures = value & ProtocolFeatures.ALL;
            case SET_STATUS -> {
                status = value & 0xff;
                if (status == 0) { // VIRTIO 1.3 section 2.1: a reset
                    resetByFrontEnd();
                }
            }
            default -> throw new IllegalArgumentException(type.name());
        }
    }

    private boolean vringState(Codec.Header header, Type type, Vring vring, int value)
            throws LinuxException {
        switch (type) {
            case SET_VRING_NUM -> {
                if (value < 1 || value > QUEUE_SIZE_MAX) {
                    throw new IllegalArgumentException("queue size " + value);
                }
                vring.stop();
                vring.size(value);
                start(vring);
            }
            case SET_VRING_BASE -> {
                vring.stop();
                vring.position(value);
                start(vring);
            }
            case SET_VRING_ENABLE -> {
                vring.enabled(value != 0);
                if (value == 0) {
                    vring.stop();
                } else {
                    start(vring);
                }
            }
            case GET_VRING_BASE -> {
                vring.stop();
                vring.kick(Optional.empty()); // stopped until the next kick descriptor
                send(Codec.replyVringState(header, vring.index(), vring.position()));
                return true;
            }
            default -> throw new IllegalArgumentException(type.name());
        }
        return false;
    }

    private void vringDescriptor(Type type, Vring vring, boolean present) throws LinuxException {
        switch (type) {
            case SET_VRING_KICK -> {
                Optional<EventFd> kick =
                        present ? Optional.of(EventFd.of(take(0))) : Optional.empty();
                vring.stop();
                if (kick.isPresent()) {
                    vring.kick(kick);
                } else {
                    vring.poll();
                }
                start(vring);
            }
            case SET_VRING_CALL -> vring.call(doorbell(present));
            default -> {
                Optional<Doorbell> bell = doorbell(present);
                vring.stop();
                vring.error(bell);
                start(vring);
            }
        }
    }

    private Optional<Doorbell> doorbell(boolean present) throws LinuxException {
        return present ? Optional.of(Doorbell.of(take(0))) : Optional.empty();
    }

    private void memoryTable(List<Request.MemoryRegion> regions) throws LinuxException {
        MemoryTable next = MemoryTable.EMPTY;
        try {
            for (int i = 0; i < regions.size(); i++) {
                next = next.with(regions.get(i), fd(i));
            }
        } catch (LinuxException | RuntimeException e) {
            next.retire(MemoryTable.EMPTY);
            throw e;
        }
        replace(next);
    }

    /** Vrings stand still while the memory under them changes. */
    private void replace(MemoryTable next) {
        var paused = stopAll();
        MemoryTable old = memory;
        memory = next;
        old.retire(next);
        paused.forEach(this::start);
    }

    private boolean inFlight(Codec.Header header, Request.InFlight request)
            throws LinuxException, BlockIoException {
        boolean get = request.type() == Type.GET_INFLIGHT_FD;
        int queues = request.queues();
        long each = InFlightLog.byteSize(request.queueSize());
        long logs = each * queues;
        long size = get ? logs + KeptWriteback.BYTES : request.size();
        if (queues < 1
                || queues > vrings.length
                || request.queueSize() < 1
                || request.queueSize() > QUEUE_SIZE_MAX
                || size < queues
                || size > LOG_BYTES_MAX) {
            throw new IllegalArgumentException("in-flight log of " + request);
        }
        try (MemFd made = get ? MemFd.create("blockwharf-inflight", size) : null) {
            var region =
                    MappedRegion.mapReceived(
                            get ? made.fd() : fd(0),
                            get ? 0 : request.offset(),
                            size,
                            MappedRegion.Access.READ_WRITE);
            var paused = stopAll();
            try {
                inFlight.ifPresent(MappedRegion::close);
                inFlight = Optional.of(region);
                MemorySegment all = region.segment();
                kept =
                        get
                                ? Optional.of(KeptWriteback.create(all, device.writeback()))
                                : KeptWriteback.find(all, logs);
                inFlightBytes = kept.isPresent() ? each : size / queues;
                if (kept.isPresent()) {
                    // Whoever has switched the cache off, then or now, does not flush
                    writeback(device.writeback() && kept.get().writeback());
                }
            } finally {
                paused.forEach(this::start);
            }
            if (get) {
                send(Codec.replyInFlight(header, size, queues, request.queueSize()), made.fd());
            }
        }
        return get;
    }

    /** Stops the vrings that run, and answers which they are. */
    private List<Vring> stopAll() {
        var running = Arrays.stream(vrings).filter(Vring::running).toList();
        running.forEach(Vring::stop);
        return running;
    }

    private void start(Vring vring) {
        vring.start(
                new Vring.Environment(
                        device, memory, features, inFlightLog(vring), currentDirtyLog()));
    }

    /** The vring's part of the in-flight log. */
    private Optional<MemorySegment> inFlightLog(Vring vring) {
        return inFlight.map(MappedRegion::segment)
                .filter(all -> inFlightBytes * (vring.index() + 1L) <= all.byteSize())
                .map(all -> all.asSlice(inFlightBytes * vring.index(), inFlightBytes));
    }

    private DirtyLog currentDirtyLog() {
        return dirtyLog.isPresent() && (features & ProtocolFeatures.F_LOG_ALL) != 0
                ? new PageLog(dirtyLog.get().segment())
                : DirtyLog.NONE;
    }

    private void applyDirtyLog() {
        DirtyLog current = currentDirtyLog();
        for (Vring vring : vrings) {
            vring.dirtyLog(current);
        }
    }

    private void resetDevice() {
        for (Vring vring : vrings) {
            vring.stop();
            vring.reset();
        }
        features = 0;
        status = 0;
        device.reset();
    }

    /** What was in flight is forgotten; when the front end is only lost it must not be. */
    private void resetByFrontEnd() {
        resetDevice();
        for (Vring vring : vrings) {
            inFlightLog(vring)
                    .filter(log -> log.byteSize() >= InFlightLog.byteSize(1))
                    .ifPresent(InFlightLog::clear);
        }
    }

    private synchronized void dropBackend() {
        backend.ifPresent(FdSocket::close);
        backend = Optional.empty();
    }

    private Vring vring(int index) {
        if (index < 0 || index >= vrings.length) {
            throw new IllegalArgumentException(
                    "there is no vring " + Integer.toUnsignedLong(index));
        }
        return vrings[index];
    }

    /** A descriptor that came with the message and is closed after it. */
    private int fd(int index) {
        requireDescriptor(index);
        return descriptors.get(index);
    }

    /** A descriptor that came with the message and is the caller's from now on. */
    private int take(int index) {
        requireDescriptor(index);
        return descriptors.take(index);
    }

    private void requireDescriptor(int index) {
        if (index >= descriptors.count()) {
            throw new IllegalArgumentException("a file descriptor is missing");
        }
    }
}

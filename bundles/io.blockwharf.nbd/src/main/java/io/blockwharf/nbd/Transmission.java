package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.linux.NativeMemory;
import io.blockwharf.linux.Poll;
import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.CommandFlags;
import io.blockwharf.nbd.wire.NbdError;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/**
 * Serves the requests of one client. proto.md, "Transmission".
 *
 * <pre>
 *            receive            tryRead, tryWrite                   one gathered send per batch
 *   socket ─────────► Input ──► validate ──► inline ──────────────► output buffer ──► socket
 *                                  │ would block                          ▲
 *                                  └──────────► Slot ──► BlockQueue ──────┘ in any order
 * </pre>
 *
 * A request stays in the input until it can be taken: when a slot or room for its reply is missing,
 * its header is simply read again later. Only a write that is longer than the input leaves a trace,
 * the {@link PayloadMode}.
 *
 * <p>Owned by one thread: its own ({@link #run}, on a link that waits) or a loop's ({@link #turn},
 * on one that does not). Only {@link #drain} and the counters are for others. After the first
 * requests nothing is allocated.
 */
final class Transmission implements AutoCloseable {
    /** Requests in the queue at a time. */
    static final int MAX_IN_FLIGHT = 16;

    /**
     * Most bytes that the slots of a client hold; a single request may always have what it needs.
     */
    private static final long MAX_HELD = 64 << 20;

    /** Reads of at least this many bytes leave by sendfile where they can. */
    private static final int FILE_THRESHOLD = 64 << 10;

    /** Longer reads than this are not copied through the output buffer. */
    private static final int INLINE_MAX = 256 << 10;

    private static final int FIRST_OUTPUT = 8 << 10;
    private static final int MAX_OUTPUT = 1 << 20;

    /**
     * Writes that are not complete in the input and longer than this are written piece by piece.
     */
    private static final int STREAM_ABOVE = 64 << 10;

    /** A piece of a longer write is at least this long, and ends on a page of the file. */
    private static final int MIN_PIECE = 32 << 10;

    private static final int PAGE = 4096;

    /** A CACHE request is read in pieces of this size. */
    private static final int CACHE_PIECE = 1 << 20;

    /** How often a loop's turn receives before the others have theirs. */
    private static final int ROUNDS = 4;

    /** What happens to the payload of a write whose header has been taken. */
    private enum PayloadMode {
        /** There is none. */
        NONE,
        /** The request is refused; its payload is dropped, then the reply sent. */
        SKIP,
        /** Written from the input, piece by piece. */
        PIECES,
        /** Collected in a slot, then written by the queue. */
        SLOT
    }

    private final Link link;
    private final Input in;
    private final Terms terms;
    private final BlockNode node;
    private final ReplyStyle style;
    private final RequestHeader header;
    private final boolean shared;
    private final Counters counters = new Counters();

    /** When the socket gave something last, in {@link System#nanoTime}. */
    private long arrived = System.nanoTime();

    /**
     * Requests that were carried out without the queue, by kind, and whose replies are not sent.
     */
    private final long[] inline = new long[3];

    private boolean anyInline;

    /** What requests are described with: a few bytes each, which may stay until they are found. */
    private final Arena arena = Arena.ofAuto();

    private final IoVector vector = new IoVector(arena, 1);
    private final NativeMemory probe;
    private final Poll poll = new Poll(2);
    private final ReadBatch batch;
    private final Admission admission;
    private final StatusReply statusReply;

    private NativeMemory outOwned;
    private MemorySegment out;

    /**
     * Output is in {@code [0, outEnd)}; what lies before {@code outQueued} has been given to the
     * link.
     */
    private int outEnd;

    private int outQueued;

    private BlockQueue queue;
    private final BlockQueue.Completion completion = this::completed;
    private final Slot[] slots = new Slot[MAX_IN_FLIGHT];
    private int free = (1 << MAX_IN_FLIGHT) - 1;
    private int sending;
    private final int[] done = new int[MAX_IN_FLIGHT];
    private int doneCount;
    private int inFlight;
    private boolean started;
    private long held;

    private PayloadMode payload = PayloadMode.NONE;
    private long payloadCookie;
    private long payloadOrigin;
    private long payloadLength;
    private long payloadAt;
    private long payloadLeft;
    private int payloadFlags;
    private Slot payloadSlot;
    private NbdError payloadError;
    private String payloadText;

    /** A file is on its way behind a chunk that was not the last; the last one follows. */
    private boolean trailer;

    private long trailerCookie;
    private long trailerOrigin;
    private long trailerAt;

    /** The node keeps the file that is on its way open. */
    private boolean pinned;

    /** Bytes that are known to be stored: reads of them need not ask for holes. */
    private long dataFrom;

    private long dataTo;

    /** A request waits in the input for a slot or for room. */
    private boolean stalled;

    /** A slot has become free since {@link #stalled} was decided. */
    private boolean released;

    /** The socket is full. */
    private boolean blocked;

    /** No further requests. */
    private boolean ended;

    /** Nothing can be sent any more. */
    private boolean broken;

    private boolean wrote;
    private volatile boolean draining;

    /**
     * Takes over a connection after its negotiation.
     *
     * @param in what has arrived already; stays the caller's, who closes it later
     * @param shared whether other connections wait for the thread
     */
    Transmission(Link link, Input in, Terms terms, boolean shared) {
        this.link = link;
        this.in = in;
        this.terms = terms;
        this.shared = shared;
        node = terms.export().node();
        style = terms.style();
        header = new RequestHeader(style == ReplyStyle.EXTENDED);
        batch = new ReadBatch(node);
        admission = new Admission(terms);
        statusReply = new StatusReply(terms, admission, shared);
        probe = NativeMemory.allocate(Math.max(PAGE, node.limits().requestAlignment()), PAGE);
        allocateOutput(FIRST_OUTPUT);
    }

    private void allocateOutput(int bytes) {
        outOwned = NativeMemory.allocate(bytes, PAGE);
        out = outOwned.segment();
    }

    /** What the client has done; from any thread. */
    Counters counters() {
        return counters;
    }

    /** Answers everything from now on with ESHUTDOWN. From any thread. */
    void drain() {
        draining = true;
    }

    /** Whether anything was written. */
    boolean wrote() {
        return wrote;
    }

    // ---- the two ways to be driven

    /** Serves until the client is gone; waits on the calling thread. */
    void run() throws IOException {
        serve();
        while (!ended || inFlight > 0) {
            await();
            serve();
        }
    }

    /** One system call where there is nothing in flight: the blocking receive. */
    private void await() throws IOException {
        if (inFlight == 0 || wantsInput() && link.hasInput()) {
            receive();
            return;
        }
        poll.set(0, wantsInput() ? link.fd() : -1, Poll.IN);
        poll.set(1, queue.fd(), Poll.IN);
        poll.await(-1);
        if (poll.events(1) != 0) {
            queue.reap(completion);
        }
        if (poll.events(0) != 0) {
            receive();
        }
    }

    /**
     * Does what can be done without waiting.
     *
     * @return false when the client is gone and nothing is in flight
     */
    boolean turn() {
        if (inFlight > 0) {
            queue.reap(completion);
        }
        try {
            if (!broken) {
                serve();
            }
            for (int round = 0; wantsInput() && (round < ROUNDS || link.hasInput()); round++) {
                if (receive() == Link.WOULD_BLOCK) {
                    break;
                }
                serve();
            }
        } catch (IOException e) {
            broken = true; // the client is gone; what is in flight is only waited for
            ended = true;
            unpin();
        }
        if (broken) {
            inFlight -= doneCount;
            doneCount = 0;
        }
        return !ended || inFlight > 0 || blocked && !broken;
    }

    /** Whether the socket's input is of use now. */
    boolean wantsInput() {
        return !ended && !stalled && !blocked;
    }

    /** Whether the socket has to take output before anything else can be done. */
    boolean wantsOutput() {
        return blocked;
    }

    /** Whether the socket does not matter any more: only what is in flight is waited for. */
    boolean socketDone() {
        return ended && !blocked;
    }

    /** The queue that completions come from, once there is one. */
    Optional<BlockQueue> queue() {
        return Optional.ofNullable(queue);
    }

    private long receive() throws IOException {
        long n;
        if (payload == PayloadMode.SLOT && in.available() == 0) {
            long filled = payloadLength - payloadLeft;
            n = link.receive(payloadSlot.memory, Slot.DATA + filled, payloadLeft);
            if (n > 0) {
                payloadLeft -= n;
            }
        } else {
            n = in.fill(link);
        }
        if (n == 0) {
            ended = true;
        } else {
            arrived = System.nanoTime();
        }
        return n;
    }

    /** A request was carried out here and now; its time is known when its reply has been sent. */
    private void done(int kind) {
        inline[kind]++;
        anyInline = true;
    }

    /** One reading of the clock for all of a batch: that is what a client waits for. */
    private void countInline() {
        long took = System.nanoTime() - arrived;
        for (int kind = 0; kind < inline.length; kind++) {
            if (inline[kind] > 0) {
                counters.took(kind, took, inline[kind]);
                inline[kind] = 0;
            }
        }
        anyInline = false;
    }

    /** Takes all requests that can be taken, and sends all replies that there are. */
    private void serve() throws IOException {
        boolean again;
        do {
            finishCompleted();
            released = false;
            parse();
            if (started) {
                started = false;
                queue.submit();
                queue.reap(completion);
                finishCompleted();
            }
            boolean wasBlocked = blocked;
            boolean sent = flush(false);
            if (sent && anyInline) {
                countInline();
            }
            again = sent && (doneCount > 0 || started || stalled && (released || wasBlocked));
            counters.inFlight = inFlight;
        } while (again);
    }

    // ---- requests

    private void parse() throws IOException {
        stalled = false;
        while (!ended) {
            if (payload != PayloadMode.NONE) {
                if (!takePayload()) {
                    return;
                }
            } else if (in.available() < header.bytes()) {
                return;
            } else if (!header.read(in.memory, in.start)) {
                ended = true; // "Terminating the transmission phase": a violation by the client
            } else if (!takeRequest()) {
                return;
            }
        }
    }

    private boolean stall() {
        stalled = true;
        return false;
    }

    /** Takes the request that {@link #header} has read; false if it has to wait for something. */
    private boolean takeRequest() throws IOException {
        int type = header.type();
        if (type == Command.DISC) {
            ended = true;
            return false;
        }
        if (!room(ReplyStyle.MAX_ERROR_BYTES)) {
            return stall();
        }
        NbdError error = admission.check(header, draining);
        if (header.hasPayload() && Admission.tooLong(header.length())) {
            // "if a payload length would be large enough to be deemed a denial of service attack"
            error(
                    header.cookie(),
                    header.offset(),
                    error == null ? NbdError.EINVAL : error,
                    admission.reason());
            ended = true;
            return false;
        }
        if (error != null) {
            refuse(error);
            return true;
        }
        return switch (type) {
            case Command.READ -> read();
            case Command.WRITE -> write();
            case Command.BLOCK_STATUS -> blockStatus();
            default -> enqueue(type);
        };
    }

    /** Answers with an error, after the payload if there is one. */
    private void refuse(NbdError error) {
        in.start += header.bytes();
        if (header.hasPayload()) {
            beginPayload(PayloadMode.SKIP);
            payloadError = error;
            payloadText = admission.reason();
        } else {
            error(header.cookie(), header.offset(), error, admission.reason());
        }
    }

    // ---- READ

    private boolean read() throws IOException {
        int length = (int) header.length();
        if (length == 0) {
            in.start += header.bytes();
            outEnd +=
                    style == ReplyStyle.SIMPLE
                            ? style.success(out, outEnd, header.cookie(), header.offset())
                            : style.end(out, outEnd, header.cookie(), header.offset());
            counters.reads++;
            done(Counters.READ);
            return true;
        }
        boolean fragments = style != ReplyStyle.SIMPLE && !header.has(CommandFlags.DF);
        if (fragments && !isData(header.offset(), length)) {
            return readFragments(header.offset(), length);
        }
        return switch (readRun(header.offset(), length, true)) {
            case TAKEN -> readTaken(length, true);
            case WOULD_BLOCK -> readLater(header.offset(), length) && readTaken(length, false);
            case NO_ROOM -> stall();
        };
    }

    private boolean readTaken(int length, boolean inline) {
        in.start += header.bytes();
        counters.reads++;
        if (inline) {
            done(Counters.READ);
        }
        counters.bytesRead += length;
        return true;
    }

    private enum Run {
        TAKEN,
        WOULD_BLOCK,
        NO_ROOM
    }

    /** Whether all of a range is stored data, as far as that costs nothing to know. */
    private boolean isData(long offset, int length) {
        if (offset >= dataFrom && offset + length <= dataTo) {
            return true;
        }
        try {
            Extent extent = node.extentAt(offset, length);
            if (extent.zero()) {
                return false;
            }
            dataFrom = extent.offset();
            dataTo = extent.end();
            return offset + length <= dataTo;
        } catch (BlockIoException e) {
            return true; // the read itself will tell
        }
    }

    /**
     * Sends holes as holes. NBD_CMD_READ, "Structured replies": chunks of several requests may be
     * mixed, so the rest of a read goes to the queue as soon as a part of it would block.
     */
    private boolean readFragments(long offset, int length) throws IOException {
        if (free == 0) {
            return stall();
        }
        long cookie = header.cookie();
        long end = offset + length;
        long at = offset;
        while (at < end) {
            long next = end;
            boolean zero = false;
            try {
                Extent extent = node.extentAt(at, end - at);
                next = Math.min(end, extent.end());
                zero = extent.zero();
            } catch (BlockIoException e) {
                // as data: the read itself will tell
            }
            boolean last = next == end;
            if (zero) {
                if (!room(ReplyStyle.MAX_ERROR_BYTES)) {
                    break;
                }
                outEnd += style.hole(out, outEnd, cookie, offset, at, (int) (next - at), last);
            } else {
                Run run = readRun(at, (int) (next - at), last);
                if (run != Run.TAKEN) {
                    break;
                }
                if (failed) {
                    return readTaken(length, true);
                }
            }
            at = next;
        }
        if (at < end && !readLater(at, (int) (end - at))) {
            if (at == offset) {
                return false; // nothing has been sent yet: once more later
            }
            // A slot is free, but not the memory: all that there is of it is this client's own
            error(cookie, offset, NbdError.ENOMEM, "too much in flight");
        }
        return readTaken(length, at == end);
    }

    /** The run that was read last ended in an error, which has been answered. */
    private boolean failed;

    /** Reads stored bytes without waiting for a device. */
    private Run readRun(long offset, int length, boolean last) throws IOException {
        failed = false;
        if (last
                && length >= FILE_THRESHOLD
                && link.sendsFiles()
                && inFile(offset, length) != null) {
            return sendFile(offset, length);
        }
        if (length > INLINE_MAX) {
            return Run.WOULD_BLOCK;
        }
        int headerBytes = style.dataHeaderBytes();
        if (!room(headerBytes + length)) {
            return Run.NO_ROOM;
        }
        if (last && joinsBatch(length)) {
            long cookie = header.cookie();
            batch.add(out, outEnd, headerBytes, cookie, header.offset(), offset, length);
            outEnd +=
                    style.data(out, outEnd, cookie, header.offset(), offset, length, true) + length;
            return Run.TAKEN;
        }
        vector.set(out, (long) outEnd + headerBytes, length);
        try {
            if (!node.tryRead(offset, vector)) {
                return Run.WOULD_BLOCK;
            }
        } catch (BlockIoException e) {
            failed = true;
            error(header.cookie(), header.offset(), NbdError.of(e.errno()), e.getMessage());
            return Run.TAKEN;
        }
        outEnd +=
                style.data(out, outEnd, header.cookie(), header.offset(), offset, length, last)
                        + length;
        return Run.TAKEN;
    }

    private boolean joinsBatch(int length) {
        leaveSlotsToBatch();
        int more = in.available() / header.bytes() - 1;
        return free != 0 && batch.wants(length, more);
    }

    /**
     * Carries the batch out. Replies to reads that did not succeed are taken out of the output, the
     * last one first; nothing of it has been given to the link.
     */
    private void endBatch() {
        if (batch.count() == 0) {
            return;
        }
        if (batch.run()) {
            for (int i = batch.count() - 1; i >= 0; i--) {
                if (batch.result(i) != Errno.OK) {
                    endUnread(i);
                }
            }
            if (started) {
                queue.submit();
            }
        }
        batch.clear();
    }

    private void endUnread(int index) {
        int at = batch.place(index);
        int length = batch.length(index);
        int end = at + style.dataHeaderBytes() + length;
        long cookie = batch.cookie(index);
        long origin = batch.origin(index);
        Slot slot = batch.result(index) == Errno.EAGAIN ? takeFreeSlot(length) : null;
        int instead = 0;
        if (slot != null) {
            slot.describe(Command.READ, 0, cookie, origin, batch.offset(index), length);
            slot.arrived = arrived;
            inline[Counters.READ]--;
            queue.read(slot.index, slot.offset, slot.vector.set(slot.memory, Slot.DATA, length));
            begun();
        } else {
            boolean again = batch.result(index) == Errno.EAGAIN;
            Errno why = again ? Errno.ENOMEM : batch.result(index);
            instead = style.error(out, at, cookie, origin, NbdError.of(why), "READ failed: " + why);
            counters.errors++;
        }
        MemorySegment.copy(out, end, out, (long) at + instead, outEnd - end);
        outEnd -= end - at - instead;
    }

    /** Where all of a range lies in a file of the host; null if it does not. */
    private HostExtent inFile(long offset, int length) {
        Optional<HostExtent> host = node.hostExtent(offset, length);
        return host.isPresent() && host.get().covers(offset, length) ? host.get() : null;
    }

    /**
     * Where it lies, in a file that stays open until {@link #unpin}; null also while the graph
     * changes.
     */
    private HostExtent pin(long offset, int length) {
        if (!node.pin()) {
            return null;
        }
        HostExtent host = inFile(offset, length);
        if (host == null) {
            node.unpin();
        } else {
            pinned = true;
        }
        return host;
    }

    /** No file is on its way any more. */
    private void unpin() {
        if (pinned) {
            pinned = false;
            node.unpin();
        }
    }

    /**
     * The file's pages go to the socket without being copied. The last page tells whether they are
     * in memory; a file that is not would block the thread.
     */
    private Run sendFile(long offset, int length) throws IOException {
        if (!isResident(offset + length - 1)) {
            return Run.WOULD_BLOCK;
        }
        if (!room(style.dataHeaderBytes())) {
            return Run.NO_ROOM;
        }
        HostExtent host = pin(offset, length);
        if (host == null) {
            return Run.WOULD_BLOCK;
        }
        long cookie = header.cookie();
        // "MUST NOT mark a chunk as final if there is still a possibility of detecting an error"
        outEnd += style.data(out, outEnd, cookie, header.offset(), offset, length, false);
        queueOutput();
        link.addFile(host.fd(), host.positionOf(offset), length, style != ReplyStyle.SIMPLE);
        if (style != ReplyStyle.SIMPLE) {
            trailer = true;
            trailerCookie = cookie;
            trailerOrigin = header.offset();
            trailerAt = offset;
        }
        return Run.TAKEN;
    }

    private boolean isResident(long at) {
        int alignment = node.limits().requestAlignment();
        if (alignment > probe.segment().byteSize()) {
            return false; // it was less when the client came
        }
        try {
            return node.tryRead(at & -alignment, vector.set(probe.segment(), 0, alignment));
        } catch (BlockIoException e) {
            return false;
        }
    }

    private boolean readLater(long offset, int length) {
        Slot slot = takeSlot(length);
        if (slot == null) {
            return stall();
        }
        describe(slot, Command.READ, offset, length);
        queue.read(slot.index, offset, slot.vector.set(slot.memory, Slot.DATA, length));
        begun();
        return true;
    }

    private void begun() {
        inFlight++;
        started = true;
    }

    // ---- WRITE

    private boolean write() throws IOException {
        long length = header.length();
        long total = header.bytes() + length;
        if (in.available() < total) {
            if (length <= STREAM_ABOVE) {
                in.require((int) total);
                return false;
            }
            return beginStream(length);
        }
        boolean fua = header.has(CommandFlags.FUA);
        vector.set(in.memory, in.start + header.bytes(), length);
        try {
            if (length == 0 || node.tryWrite(header.offset(), vector, fua ? RequestFlags.FUA : 0)) {
                success(header.cookie(), header.offset());
                done(Counters.WRITE);
            } else if (!writeLater((int) length)) {
                return false;
            }
        } catch (BlockIoException e) {
            error(header.cookie(), header.offset(), NbdError.of(e.errno()), e.getMessage());
        }
        in.start += (int) total;
        wrote(length);
        return true;
    }

    private void wrote(long length) {
        wrote = true;
        counters.writes++;
        counters.bytesWritten += length;
    }

    /** The payload is complete in the input, which will be needed for the next requests. */
    private boolean writeLater(int length) {
        Slot slot = takeSlot(length);
        if (slot == null) {
            return stall();
        }
        MemorySegment.copy(in.memory, in.start + header.bytes(), slot.memory, Slot.DATA, length);
        describe(slot, Command.WRITE, header.offset(), length);
        startWrite(slot);
        return true;
    }

    private void startWrite(Slot slot) {
        slot.arrived = arrived; // of its last byte
        queue.write(
                slot.index,
                slot.offset,
                slot.vector.set(slot.memory, Slot.DATA, slot.length),
                (slot.flags & CommandFlags.FUA) != 0 ? RequestFlags.FUA : 0);
        begun();
    }

    private boolean beginStream(long length) {
        boolean fua = header.has(CommandFlags.FUA);
        Slot slot = null;
        if (fua) {
            // One request to the device, so that the data is made durable once
            slot = takeSlot(length);
            if (slot == null) {
                return stall();
            }
            describe(slot, Command.WRITE, header.offset(), length);
        }
        in.start += header.bytes();
        beginPayload(fua ? PayloadMode.SLOT : PayloadMode.PIECES);
        payloadSlot = slot;
        return true;
    }

    private void beginPayload(PayloadMode mode) {
        payload = mode;
        payloadCookie = header.cookie();
        payloadOrigin = header.offset();
        payloadFlags = header.flags();
        payloadAt = header.offset();
        payloadLength = header.length();
        payloadLeft = header.length();
        payloadSlot = null;
        payloadError = null;
    }

    /**
     * Takes what has arrived of a payload; false if it has to wait for more, or for something else.
     */
    private boolean takePayload() throws IOException {
        int have = (int) Math.min(in.available(), payloadLeft);
        boolean taken =
                switch (payload) {
                    case NONE -> throw new IllegalStateException();
                    case SKIP -> {
                        in.start += have;
                        payloadLeft -= have;
                        yield have > 0;
                    }
                    case SLOT -> {
                        long filled = payloadLength - payloadLeft;
                        MemorySegment.copy(
                                in.memory, in.start, payloadSlot.memory, Slot.DATA + filled, have);
                        in.start += have;
                        payloadLeft -= have;
                        yield have > 0;
                    }
                    case PIECES -> have > 0 && takePiece(have);
                };
        if (payloadLeft > 0) {
            return taken;
        }
        if (!room(ReplyStyle.MAX_ERROR_BYTES)) {
            return stall();
        }
        endPayload();
        return true;
    }

    private boolean takePiece(int have) {
        int piece = have;
        if (have < payloadLeft) {
            piece = (int) ((payloadAt + have & -PAGE) - payloadAt);
            if (piece < MIN_PIECE) {
                return false;
            }
        }
        try {
            if (node.tryWrite(payloadAt, vector.set(in.memory, in.start, piece), 0)) {
                in.start += piece;
                payloadAt += piece;
                payloadLeft -= piece;
            } else if (!collectRest()) {
                return stall();
            }
        } catch (BlockIoException e) {
            payload = PayloadMode.SKIP;
            payloadError = NbdError.of(e.errno());
            payloadText = e.getMessage();
        }
        return true;
    }

    private boolean collectRest() {
        Slot slot = takeSlot(payloadLeft);
        if (slot == null) {
            return false;
        }
        slot.command = Command.WRITE;
        slot.flags = payloadFlags;
        slot.cookie = payloadCookie;
        slot.origin = payloadOrigin;
        slot.offset = payloadAt;
        slot.length = payloadLeft;
        payloadSlot = slot;
        payloadLength = payloadLeft;
        payload = PayloadMode.SLOT;
        return true;
    }

    private void endPayload() {
        PayloadMode mode = payload;
        payload = PayloadMode.NONE;
        switch (mode) {
            case SKIP -> error(payloadCookie, payloadOrigin, payloadError, payloadText);
            case SLOT -> startWrite(payloadSlot);
            case PIECES, NONE -> {
                success(payloadCookie, payloadOrigin);
                done(Counters.WRITE);
            }
        }
        if (mode != PayloadMode.SKIP) {
            wrote(header.length());
        }
    }

    // ---- FLUSH, TRIM, WRITE_ZEROES, CACHE

    private boolean enqueue(int type) {
        long length = header.length();
        if (length == 0 && type != Command.FLUSH) {
            in.start += header.bytes();
            success(header.cookie(), header.offset());
            counters.others++;
            done(Counters.OTHER);
            return true;
        }
        Slot slot = takeSlot(type == Command.CACHE ? Math.min(length, CACHE_PIECE) : 0);
        if (slot == null) {
            return stall();
        }
        describe(slot, type, header.offset(), length);
        in.start += header.bytes();
        counters.others++;
        switch (type) {
            case Command.FLUSH -> queue.flush(slot.index);
            case Command.TRIM -> {
                wrote = true;
                queue.discard(slot.index, slot.offset, length);
            }
            case Command.WRITE_ZEROES -> {
                wrote = true;
                queue.writeZeroes(slot.index, slot.offset, length, zeroFlags(slot.flags));
            }
            default -> cachePiece(slot);
        }
        begun();
        return true;
    }

    private static int zeroFlags(int flags) {
        return ((flags & CommandFlags.FUA) != 0 ? RequestFlags.FUA : 0)
                | ((flags & CommandFlags.NO_HOLE) != 0 ? 0 : RequestFlags.MAY_UNMAP)
                | ((flags & CommandFlags.FAST_ZERO) != 0 ? RequestFlags.NO_FALLBACK : 0);
    }

    private void cachePiece(Slot slot) {
        long piece = Math.min(slot.length - slot.progress, CACHE_PIECE);
        slot.vector.set(slot.memory, Slot.DATA, piece);
        queue.read(slot.index, slot.offset + slot.progress, slot.vector);
        slot.progress += piece;
    }

    // ---- BLOCK_STATUS

    private boolean blockStatus() throws IOException {
        int bytes = header.bytes();
        if (header.hasPayload()) {
            // EXTENDED_HEADERS, NBD_CMD_BLOCK_STATUS: effect length 64, then context ids 32 each
            NbdError error = statusReply.checkPayloadLength(header);
            if (error == null) {
                bytes += (int) header.length();
                if (in.available() < bytes) {
                    in.require(bytes);
                    return false;
                }
                error = statusReply.ask(header, in.memory, in.start + header.bytes());
            }
            if (error != null) {
                refuse(error);
                return true;
            }
        } else {
            statusReply.ask(header);
        }
        if (!roomForStatus()) {
            return stall();
        }
        try {
            outEnd += statusReply.write(header, out, outEnd);
        } catch (BlockIoException e) {
            error(header.cookie(), header.offset(), NbdError.of(e.errno()), e.getMessage());
        }
        in.start += bytes;
        counters.others++;
        done(Counters.OTHER);
        return true;
    }

    /** Whole of the output buffer, and a large one unless extents are asked for one by one. */
    private boolean roomForStatus() throws IOException {
        int wanted =
                header.has(CommandFlags.REQ_ONE)
                        ? ReplyStyle.MAX_ERROR_BYTES + 64 * terms.contexts().size()
                        : shared ? MAX_OUTPUT / 4 : MAX_OUTPUT;
        if (out.byteSize() - outEnd >= wanted) {
            return room(wanted);
        }
        return flush(true) && room(wanted);
    }

    // ---- slots

    /** A slot with room for {@code length} bytes of data, or null: wait for one. */
    private Slot takeSlot(long length) {
        leaveSlotsToBatch();
        return free == 0 ? null : takeFreeSlot(length);
    }

    /** Each read of the batch may need a slot in the end. */
    private void leaveSlotsToBatch() {
        if (batch.count() > 0 && batch.count() == Integer.bitCount(free)) {
            endBatch();
        }
    }

    /** The same when there is one, also for a read of the batch. */
    private Slot takeFreeSlot(long length) {
        if (queue == null) {
            queue = node.openQueue(MAX_IN_FLIGHT);
            for (int i = 0; i < MAX_IN_FLIGHT; i++) {
                slots[i] = new Slot(i, arena);
            }
        }
        Slot slot = slots[Integer.numberOfTrailingZeros(free)];
        if (length > 0) {
            if (held - slot.held() + slot.wouldHold(length) > MAX_HELD) {
                giveBackIdle();
                boolean alone = Integer.bitCount(free) == MAX_IN_FLIGHT;
                if (!alone && held + slot.wouldHold(length) > MAX_HELD) {
                    return null;
                }
            }
            held -= slot.held();
            slot.reserve(length);
            held += slot.held();
        }
        free &= ~(1 << slot.index);
        return slot;
    }

    private void giveBackIdle() {
        for (Slot slot : slots) {
            if ((free & 1 << slot.index) != 0) {
                held -= slot.held();
                slot.close();
            }
        }
    }

    private void describe(Slot slot, int command, long offset, long length) {
        slot.describe(command, header.flags(), header.cookie(), header.offset(), offset, length);
        slot.arrived = arrived;
    }

    private void release(Slot slot) {
        held -= slot.held();
        slot.release();
        held += slot.held();
        free |= 1 << slot.index;
        released = true;
    }

    private void completed(long cookie, Errno result) {
        Slot slot = slots[(int) cookie];
        slot.result = result;
        done[doneCount++] = slot.index;
    }

    private void finishCompleted() throws IOException {
        int taken = 0;
        long now = doneCount > 0 ? System.nanoTime() : 0;
        while (taken < doneCount && room(ReplyStyle.MAX_ERROR_BYTES)) {
            finish(slots[done[taken++]], now);
        }
        if (taken > 0) {
            doneCount -= taken;
            System.arraycopy(done, taken, done, 0, doneCount);
        }
    }

    private void finish(Slot slot, long now) {
        if (slot.result == Errno.OK && goesOn(slot)) {
            started = true;
            return;
        }
        inFlight--;
        counters.took(kindOf(slot.command), now - slot.arrived, 1);
        if (slot.result != Errno.OK) {
            String text = Command.name(slot.command) + " failed: " + slot.result;
            error(slot.cookie, slot.origin, NbdError.of(slot.result), text);
        } else if (slot.command == Command.READ) {
            int at = Slot.DATA - style.dataHeaderBytes();
            int length = (int) slot.length;
            style.data(slot.memory, at, slot.cookie, slot.origin, slot.offset, length, true);
            queueOutput();
            link.add(slot.memory, at, Slot.DATA - at + length);
            sending |= 1 << slot.index;
            return;
        } else {
            success(slot.cookie, slot.origin);
        }
        release(slot);
    }

    private static int kindOf(int command) {
        return switch (command) {
            case Command.READ -> Counters.READ;
            case Command.WRITE -> Counters.WRITE;
            default -> Counters.OTHER;
        };
    }

    /** Whether a request has another step. */
    private boolean goesOn(Slot slot) {
        if (slot.command == Command.TRIM
                && (slot.flags & CommandFlags.FUA) != 0
                && slot.progress == 0) {
            slot.progress = 1;
            queue.flush(slot.index);
            return true;
        }
        if (slot.command == Command.CACHE && slot.progress < slot.length && !ended) {
            cachePiece(slot);
            return true;
        }
        return false;
    }

    // ---- output

    private void success(long cookie, long origin) {
        outEnd += style.success(out, outEnd, cookie, origin);
    }

    private void error(long cookie, long origin, NbdError error, String text) {
        outEnd += style.error(out, outEnd, cookie, origin, error, text == null ? "" : text);
        counters.errors++;
    }

    private void queueOutput() {
        endBatch();
        if (outEnd > outQueued) {
            link.add(out, outQueued, outEnd - outQueued);
            outQueued = outEnd;
        }
    }

    /** Makes room in the output buffer; false if the socket has to take something first. */
    private boolean room(int bytes) throws IOException {
        if (!link.full() && out.byteSize() - outEnd >= bytes) {
            return true;
        }
        boolean tooSmall = out.byteSize() - outEnd < bytes;
        if (!flush(true)) {
            return false;
        }
        if (tooSmall) {
            // The end of a reply that a file was part of may be in the way
            if (outEnd > 0 && !flush(true)) {
                return false;
            }
            growOutput(bytes);
        }
        return true;
    }

    private void growOutput(int bytes) {
        long larger = out.byteSize();
        while (larger < MAX_OUTPUT && (larger == out.byteSize() || larger < bytes)) {
            larger *= 4;
        }
        if (larger > out.byteSize()) {
            outOwned.close();
            allocateOutput((int) Math.min(larger, MAX_OUTPUT));
        }
    }

    /** Sends what there is; false if the socket is full. */
    private boolean flush(boolean more) throws IOException {
        do {
            queueOutput();
            if (!link.flush(more || trailer)) {
                blocked = true;
                return false;
            }
            blocked = false;
            outEnd = 0;
            outQueued = 0;
            unpin();
            if (sending != 0) {
                releaseSent();
            }
            if (trailer) {
                trailer = false;
                endFile();
                if (more) {
                    return true;
                }
            }
        } while (outEnd > 0);
        return true;
    }

    private void releaseSent() {
        for (int rest = sending; rest != 0; rest &= rest - 1) {
            release(slots[Integer.numberOfTrailingZeros(rest)]);
        }
        sending = 0;
    }

    private void endFile() {
        if (link.fileFailed()) {
            outEnd +=
                    style.errorOffset(
                            out,
                            outEnd,
                            trailerCookie,
                            trailerOrigin,
                            NbdError.EIO,
                            "reading from file failed",
                            trailerAt);
            counters.errors++;
        } else {
            outEnd += style.end(out, outEnd, trailerCookie, trailerOrigin);
        }
    }

    /** Waits for what is in flight and gives all memory back. */
    @Override
    public void close() {
        unpin(); // first: a request in flight may wait for what waits for this
        batch.close();
        if (queue != null) {
            queue.close();
            for (Slot slot : slots) {
                slot.close();
            }
        }
        outOwned.close();
        out = MemorySegment.NULL;
        probe.close();
    }
}

package io.blockwharf.nbd.client;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.CommandFlags;
import io.blockwharf.nbd.wire.NbdError;
import io.blockwharf.nbd.wire.ReplyHeader;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.net.ProtocolException;

/**
 * A connection in its transmission phase: commands out, replies in, matched by their cookies in any
 * order. proto.md, "Transmission".
 *
 * <p>Whoever submits a request sends it, as far as the socket takes it at once; one thread
 * receives. Everything except {@link #receive} is called with the lock held that was given to the
 * constructor; {@code receive} takes it for each reply.
 *
 * <p>Nothing that the server says is trusted: a reply belongs to a command under way, its data lies
 * inside it and covers it exactly once, or the connection is at its end.
 */
final class Connection {
    /** Commands on the wire; what comes beyond waits its turn here. */
    static final int MOST_IN_FLIGHT = 256;

    /** Most bytes of a chunk other than data: texts have 4096, one extent 16. */
    private static final int MOST_CHUNK_BYTES = 64 << 10;

    private static final int CONTEXT_HOLE = 1;
    private static final int CONTEXT_ZERO = 2;

    /** Shorter rests of data are received together with what follows them. */
    private static final int WORTH_A_CALL = 16 << 10;

    /** Receives in a row before others have their turn. */
    private static final int ROUNDS = 8;

    private static final int SLOT_BITS = 8;
    private static final int SLOT_MASK = (1 << SLOT_BITS) - 1;

    private final Object lock;
    private final Link link;
    private final Terms terms;

    /** Whether the link must not receive while it sends. */
    private final boolean exclusive;

    /** ESHUTDOWN is the end of the connection rather than of the request. */
    private final boolean repeats;

    // Sending

    private final Request[] slots = new Request[MOST_IN_FLIGHT];
    private final int[] free = new int[MOST_IN_FLIGHT];
    private int freeCount;
    private long generation;

    /** Not begun; in order. */
    private Request first;

    private Request last;

    /** Given to the link in part. */
    private Request adding;

    private IoVector payload;
    private int piece;

    /** Given to the link in full, which has not sent all. */
    private final Request[] unsent = new Request[MOST_IN_FLIGHT];

    private int unsentCount;

    /** The link could not send all. */
    private boolean stalled;

    // Finished, not told

    private Request finished;
    private Request lastFinished;
    private boolean progress;

    // Receiving; the receiving thread's

    private final Input in;
    private final ReplyHeader reply;

    /** Whose data is being received, null for nobody's. */
    private Request target;

    private int targetPiece;
    private long targetOffset;
    private long dataLeft;
    private boolean lastData;

    /**
     * Begins the phase.
     *
     * @param exclusive whether the link can only do one thing at a time (TLS)
     * @param repeats whether requests that the server is too late for shall be kept for another
     */
    Connection(Object lock, Link link, Terms terms, boolean exclusive, boolean repeats) {
        this.repeats = repeats;
        this.lock = lock;
        this.link = link;
        this.terms = terms;
        this.exclusive = exclusive;
        in = new Input();
        reply = new ReplyHeader(terms.style());
        for (int i = 0; i < MOST_IN_FLIGHT; i++) {
            free[i] = MOST_IN_FLIGHT - 1 - i;
        }
        freeCount = MOST_IN_FLIGHT;
    }

    Terms terms() {
        return terms;
    }

    int fd() {
        return link.fd();
    }

    // --- Sending -----------------------------------------------------------------------------

    /** Takes a request over, or finishes it if there is nothing to send. {@link #pump} sends. */
    void start(Request request) {
        if (!request.plan(terms)) {
            finish(request);
            return;
        }
        request.next = null;
        if (first == null) {
            first = request;
        } else {
            last.next = request;
        }
        last = request;
    }

    /** Whether the socket has to become writable. */
    boolean stalled() {
        return stalled;
    }

    /** Sends as much as there is and the socket takes. */
    void pump() throws IOException {
        if (stalled) {
            if (!link.flush(false)) {
                return;
            }
            stalled = false;
            allSent();
        }
        while (add()) {
            boolean more = adding != null || first != null && freeCount > 0;
            if (!link.flush(more)) {
                stalled = true;
                return;
            }
            allSent();
        }
    }

    /** Fills the link; false if there was nothing to add. */
    private boolean add() {
        boolean some = false;
        while (!link.full()) {
            if (adding == null) {
                if (first == null || freeCount == 0) {
                    return some;
                }
                addHeader();
            } else {
                link.add(payload.base(piece), payload.offset(piece), payload.length(piece));
                piece++;
            }
            some = true;
            if (adding != null && (payload == null || piece == payload.count())) {
                unsent[unsentCount++] = adding;
                adding = null;
            }
        }
        return some;
    }

    private void addHeader() {
        Request request = first;
        first = request.next;
        last = first == null ? null : last;
        request.next = null;
        int slot = free[--freeCount];
        slots[slot] = request;
        request.cookie = generation++ << SLOT_BITS | slot;
        int bytes =
                RequestHeader.write(
                        request.header,
                        terms.extended(),
                        request.commandFlags() | payloadFlag(request),
                        request.command(),
                        request.cookie,
                        request.commandOffset(),
                        request.commandLength());
        link.add(request.header, 0, bytes);
        adding = request;
        payload = request.command() == Command.WRITE ? request.payload() : null;
        piece = 0;
    }

    /** EXTENDED_HEADERS: "the client MUST set" it where a payload follows. */
    private int payloadFlag(Request request) {
        return terms.extended() && request.command() == Command.WRITE
                ? CommandFlags.PAYLOAD_LEN
                : 0;
    }

    private void allSent() {
        for (int i = 0; i < unsentCount; i++) {
            Request request = unsent[i];
            unsent[i] = null;
            request.sent = true;
            if (request.answered) {
                commandDone(request);
            }
        }
        unsentCount = 0;
    }

    // --- Finishing ---------------------------------------------------------------------------

    /** A command is answered and its memory is not needed by the link any more. */
    private void commandDone(Request request) {
        int slot = (int) request.cookie & SLOT_MASK;
        slots[slot] = null;
        free[freeCount++] = slot;
        request.commandDone();
        progress = true;
        start(request);
    }

    private void finish(Request request) {
        request.next = null;
        if (finished == null) {
            finished = request;
        } else {
            lastFinished.next = request;
        }
        lastFinished = request;
    }

    /** Whether {@link #takeFinished} has something. */
    boolean anyFinished() {
        return finished != null;
    }

    /** Takes the chain of requests that are finished; null if there is none. */
    Request takeFinished() {
        Request chain = finished;
        finished = null;
        lastFinished = null;
        return chain;
    }

    /** Whether any command was ever answered. */
    boolean progress() {
        return progress;
    }

    /**
     * Ends it.
     *
     * @param orderly whether to tell the server
     * @return the chain of requests that are not finished; null if there is none
     */
    Request close(boolean orderly) {
        if (orderly && !stalled && adding == null && unsentCount == 0) {
            sayGoodbye();
        }
        link.close();
        in.close();
        Request chain = first;
        for (Request request : slots) {
            if (request != null) {
                request.next = chain;
                chain = request;
            }
        }
        return chain;
    }

    private void sayGoodbye() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment header = arena.allocate(RequestHeader.EXTENDED_BYTES);
            int bytes =
                    RequestHeader.write(
                            header, terms.extended(), 0, Command.DISC, generation, 0, 0);
            link.add(header, 0, bytes);
            link.flush(false);
        } catch (IOException e) {
            // the server has gone first
        }
    }

    // --- Receiving ---------------------------------------------------------------------------

    /** Whether there is something to receive although the socket is not readable. */
    boolean hasInput() {
        return link.hasInput();
    }

    /**
     * Receives what is there; finished requests wait in {@link #takeFinished}. Without the lock.
     *
     * @throws ProtocolException if the server does not keep to the protocol
     * @throws IOException if it has gone
     */
    void receive() throws IOException {
        for (int round = 0; round < ROUNDS; round++) {
            long n;
            if (exclusive) {
                synchronized (lock) {
                    n = in.fill(link);
                }
            } else {
                n = receivesDirectly() ? receiveData() : in.fill(link);
            }
            if (n == Link.WOULD_BLOCK) {
                return;
            } else if (n == 0) {
                throw new EOFException("the server has closed the connection");
            }
            consume();
        }
    }

    private boolean receivesDirectly() {
        return dataLeft >= WORTH_A_CALL && in.available() == 0;
    }

    private long receiveData() throws IOException {
        IoVector into = target.payload();
        long room = into.length(targetPiece) - targetOffset;
        long at = into.offset(targetPiece) + targetOffset;
        long n = link.receive(into.base(targetPiece), at, Math.min(room, dataLeft));
        if (n > 0) {
            advance(into, n);
        }
        return n;
    }

    private void advance(IoVector into, long n) {
        dataLeft -= n;
        targetOffset += n;
        if (targetOffset == into.length(targetPiece)) {
            targetPiece++;
            targetOffset = 0;
        }
    }

    /** Uses what is in the input. */
    private void consume() throws IOException {
        while (true) {
            if (target != null) {
                copyData();
                if (dataLeft > 0) {
                    return;
                }
                Request complete = target;
                target = null;
                if (lastData) {
                    answered(complete);
                }
            }
            if (!reply.read(in.memory, in.start, in.available())) {
                in.require(RequestHeader.EXTENDED_BYTES);
                return;
            }
            Request request = find(reply.cookie());
            boolean taken = reply.isSimple() ? takeSimple(request) : takeChunk(request);
            if (!taken) {
                return;
            }
        }
    }

    private Request find(long cookie) throws ProtocolException {
        synchronized (lock) {
            Request request = slots[(int) cookie & SLOT_MASK];
            if (request == null || request.cookie != cookie || request.answered) {
                throw new ProtocolException("reply to a request that was not made");
            }
            return request;
        }
    }

    private void answered(Request request) throws IOException {
        if (request.error == Errno.OK) {
            if (request.command() == Command.READ && !request.covered()) {
                throw new ProtocolException("the reply to a read is incomplete");
            } else if (request.command() == Command.BLOCK_STATUS && request.extent() == null) {
                throw new ProtocolException("Server did not reply with any status extents");
            }
        }
        synchronized (lock) {
            if (request.sent) {
                commandDone(request);
            } else {
                request.answered = true; // its memory may still be needed
            }
        }
    }

    private boolean takeSimple(Request request) throws IOException {
        in.start += reply.bytes();
        int error = reply.error();
        boolean inChunks =
                request.command() == Command.READ || request.command() == Command.BLOCK_STATUS;
        if (inChunks && terms.style() != ReplyStyle.SIMPLE) {
            throw new ProtocolException(
                    "Protocol error: simple reply when structured reply chunk was expected");
        }
        if (error != 0) {
            failed(request, error);
        } else if (request.command() == Command.READ) {
            request.cover(0, request.commandLength());
            data(request, 0, request.commandLength(), true);
            return true;
        }
        answered(request);
        return true;
    }

    /** The data of a read follows. */
    private void data(Request request, long from, long bytes, boolean done) {
        target = request;
        dataLeft = bytes;
        lastData = done;
        IoVector into = request.payload();
        targetPiece = 0;
        long skip = from;
        while (skip >= into.length(targetPiece)) {
            skip -= into.length(targetPiece++);
        }
        targetOffset = skip;
    }

    private void copyData() {
        IoVector into = target.payload();
        while (dataLeft > 0 && in.available() > 0) {
            long n = Math.min(in.available(), dataLeft);
            n = Math.min(n, into.length(targetPiece) - targetOffset);
            MemorySegment.copy(
                    in.memory,
                    in.start,
                    into.base(targetPiece),
                    into.offset(targetPiece) + targetOffset,
                    n);
            in.start += (int) n;
            advance(into, n);
        }
    }

    // --- Chunks ------------------------------------------------------------------------------

    /** Whether the chunk (of data: its beginning) was there in full. */
    private boolean takeChunk(Request request) throws IOException {
        long length = reply.length();
        boolean data = !reply.isError() && reply.type() == ReplyHeader.OFFSET_DATA;
        if (length < 0 || !data && length > MOST_CHUNK_BYTES) {
            throw new ProtocolException(
                    "Protocol error: chunk of %s bytes".formatted(Long.toUnsignedString(length)));
        }
        if (data && length <= 8) {
            throw malformed("NBD_REPLY_TYPE_OFFSET_DATA");
        }
        int needed = reply.bytes() + (data ? 8 : (int) length);
        if (in.available() < needed) {
            in.require(needed);
            return false;
        }
        long at = in.start + reply.bytes();
        in.start += needed;
        if (data) {
            takeData(request, RequestHeader.longAt(in.memory, at), length - 8);
            return true;
        } else if (reply.isError()) {
            takeError(request, at, length);
        } else {
            switch (reply.type()) {
                case ReplyHeader.NONE -> takeNone(length);
                case ReplyHeader.OFFSET_HOLE -> takeHole(request, at, length);
                case ReplyHeader.BLOCK_STATUS, ReplyHeader.BLOCK_STATUS_EXT ->
                        takeStatus(request, at, length);
                default ->
                        throw new ProtocolException(
                                "Unexpected reply type %d".formatted(reply.type()));
            }
        }
        if (reply.isDone()) {
            answered(request);
        }
        return true;
    }

    private static ProtocolException malformed(String type) {
        return new ProtocolException("Protocol error: invalid payload for " + type);
    }

    private void takeNone(long length) throws ProtocolException {
        if (length != 0) {
            throw malformed("NBD_REPLY_TYPE_NONE");
        } else if (!reply.isDone()) {
            throw new ProtocolException(
                    "Protocol error: NBD_REPLY_TYPE_NONE chunk without NBD_REPLY_FLAG_DONE flag"
                            + " set");
        }
    }

    private void takeData(Request request, long offset, long bytes) throws IOException {
        cover(request, offset, bytes);
        data(request, offset - request.commandOffset(), bytes, reply.isDone());
    }

    private void takeHole(Request request, long at, long length) throws IOException {
        if (length != 12) {
            throw malformed("NBD_REPLY_TYPE_OFFSET_HOLE");
        }
        long offset = RequestHeader.longAt(in.memory, at);
        long bytes = Integer.toUnsignedLong(RequestHeader.intAt(in.memory, at + 8));
        cover(request, offset, bytes);
        zero(request.payload(), offset - request.commandOffset(), bytes);
    }

    private static void zero(IoVector into, long from, long bytes) {
        long skip = from;
        long left = bytes;
        for (int i = 0; left > 0; i++) {
            long there = into.length(i);
            if (skip >= there) {
                skip -= there;
                continue;
            }
            long n = Math.min(left, there - skip);
            into.base(i).asSlice(into.offset(i) + skip, n).fill((byte) 0);
            skip = 0;
            left -= n;
        }
    }

    /** Lets only data pass that was asked for and has not come yet. */
    private static void cover(Request request, long offset, long bytes) throws ProtocolException {
        long begin = request.commandOffset();
        if (request.command() != Command.READ) {
            throw new ProtocolException("Protocol error: data in the reply to another command");
        }
        if (bytes == 0
                || offset < begin
                || bytes > request.commandLength()
                || offset - begin > request.commandLength() - bytes) {
            throw new ProtocolException(
                    "Protocol error: server sent chunk exceeding requested region");
        }
        if (!request.cover(offset - begin, bytes)) {
            throw new ProtocolException("Protocol error: server sent the same bytes twice");
        }
    }

    private void takeError(Request request, long at, long length) throws IOException {
        if (length < 6) {
            throw malformed("NBD_REPLY_TYPE_ERROR");
        }
        int error = RequestHeader.intAt(in.memory, at);
        int text = RequestHeader.intAt(in.memory, at + 2) & 0xffff; // the two bytes at 4
        if (error == 0) {
            throw new ProtocolException(
                    "Protocol error: server sent unexpected error chunk with zero error status");
        } else if (text > length - 6) {
            throw malformed("NBD_REPLY_TYPE_ERROR");
        }
        failed(request, error);
    }

    private void failed(Request request, int error) throws IOException {
        if (repeats && NbdError.errno(error) == Errno.ESHUTDOWN) {
            // "the client SHOULD [...] gracefully disconnect": its requests are for the next one
            throw new EOFException("the server is shutting down");
        }
        if (request.error == Errno.OK) {
            request.error = NbdError.errno(error);
        }
    }

    /** "Metadata querying"; one extent was asked for, and more are not looked at. */
    private void takeStatus(Request request, long at, long length) throws ProtocolException {
        boolean wide = reply.type() == ReplyHeader.BLOCK_STATUS_EXT;
        int head = wide ? 8 : 4;
        int each = wide ? 16 : 8;
        if (wide != terms.extended() || length < head + each || (length - head) % each != 0) {
            throw malformed("NBD_REPLY_TYPE_BLOCK_STATUS");
        }
        if (request.command() != Command.BLOCK_STATUS || request.extent() != null) {
            throw new ProtocolException("Protocol error: unexpected block status");
        }
        if (RequestHeader.intAt(in.memory, at) != terms.context().orElseThrow()) {
            throw new ProtocolException("Protocol error: unexpected context id for block status");
        }
        long bytes;
        long state;
        if (wide) {
            bytes = RequestHeader.longAt(in.memory, at + 8);
            state = RequestHeader.longAt(in.memory, at + 16);
        } else {
            bytes = Integer.toUnsignedLong(RequestHeader.intAt(in.memory, at + 4));
            state = RequestHeader.intAt(in.memory, at + 8);
        }
        if (bytes == 0) {
            throw new ProtocolException(
                    "Protocol error: server sent status chunk with zero length");
        }
        long known = bytes < 0 ? request.commandLength() : bytes;
        known = Math.min(known, request.commandLength()) & -(long) terms.minimum();
        if (known == 0) { // a part of a block is no hole
            known = terms.minimum();
            state = 0;
        }
        request.found(
                new Extent(
                        request.commandOffset(),
                        known,
                        (state & CONTEXT_HOLE) == 0,
                        (state & CONTEXT_ZERO) != 0,
                        1));
    }
}

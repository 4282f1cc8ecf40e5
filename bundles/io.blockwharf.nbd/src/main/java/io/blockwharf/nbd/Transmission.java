package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.RequestFlags;
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
import java.util.Optional;

/**
 * Serves the requests of one client. proto.md, "Transmission".
 *
 * <pre>
 *            receive              Reads, Writes: tryRead, tryWrite       one gathered send per batch
 *   socket ─────────► Input ──► Admission ──► inline ───────────────────► Replies ──► socket
 *                                  │ would block                             ▲
 *                                  └──────────► InFlight ──► BlockQueue ─────┘ in any order
 * </pre>
 *
 * A request stays in the input until it can be taken: when a slot or room for its reply is missing,
 * its header is simply read again later. Only a write that is longer than the input leaves a trace,
 * in {@link Writes}.
 *
 * <p>Owned by one thread: its own ({@link #run}, on a link that waits) or a loop's ({@link #turn},
 * on one that does not). Only {@link #drain} and the counters are for others. After the first
 * requests nothing is allocated.
 */
final class Transmission implements AutoCloseable {
    /** A CACHE request is read in pieces of this size. */
    private static final int CACHE_PIECE = 1 << 20;

    /** How often a loop's turn receives before the others have theirs. */
    private static final int ROUNDS = 4;

    private final Link link;
    private final Input in;
    private final Terms terms;
    private final RequestHeader header;
    private final boolean shared;
    private final Counters counters = new Counters();
    private final Poll poll = new Poll(2);
    private final Admission admission;
    private final InFlight inFlight;
    private final Replies replies;
    private final Reads reads;
    private final Writes writes;
    private final StatusReply statusReply;

    /** A request waits in the input for a slot or for room. */
    private boolean stalled;

    /** No further requests. */
    private boolean ended;

    /** Nothing can be sent any more. */
    private boolean broken;

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
        var node = terms.export().node();
        // For what requests are described with: a few bytes each, which may stay until found
        Arena arena = Arena.ofAuto();
        header = new RequestHeader(terms.style() == ReplyStyle.EXTENDED);
        admission = new Admission(terms);
        inFlight = new InFlight(node, arena);
        replies = new Replies(link, terms.style(), node, inFlight, counters);
        reads = new Reads(link, in, terms, replies, inFlight, counters, arena);
        writes = new Writes(in, node, replies, inFlight, counters, arena);
        statusReply = new StatusReply(terms, admission, shared);
    }

    /** What the client has done; from any thread. */
    Counters counters() {
        return counters;
    }

    /** Answers everything from now on with ESHUTDOWN. From any thread. */
    void drain() {
        draining = true;
    }

    // ---- the two ways to be driven

    /** Serves until the client is gone; waits on the calling thread. */
    void run() throws IOException {
        serve();
        while (!ended || inFlight.count() > 0) {
            await();
            serve();
        }
    }

    /** One system call where there is nothing in flight: the blocking receive. */
    private void await() throws IOException {
        if (inFlight.count() == 0 || wantsInput() && link.hasInput()) {
            receive();
            return;
        }
        poll.set(0, wantsInput() ? link.fd() : -1, Poll.IN);
        poll.set(1, inFlight.queue().fd(), Poll.IN);
        poll.await(-1);
        if (poll.events(1) != 0) {
            inFlight.reap();
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
        if (inFlight.count() > 0) {
            inFlight.reap();
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
            replies.abandon();
        }
        if (broken) {
            inFlight.submit(); // what was begun when the link broke ends as all requests do
            inFlight.forgetCompleted();
        }
        return !ended || inFlight.count() > 0 || replies.blocked() && !broken;
    }

    /** Whether the socket's input is of use now. */
    boolean wantsInput() {
        return !ended && !stalled && !replies.blocked();
    }

    /** Whether the socket has to take output before anything else can be done. */
    boolean wantsOutput() {
        return replies.blocked();
    }

    /** Whether the socket does not matter any more: only what is in flight is waited for. */
    boolean socketDone() {
        return ended && !replies.blocked();
    }

    /** The queue that completions come from, once there is one. */
    Optional<BlockQueue> queue() {
        return inFlight.opened();
    }

    private long receive() throws IOException {
        long n = writes.receive(link);
        if (n == 0) {
            ended = true;
        } else {
            counters.arrived = System.nanoTime();
        }
        return n;
    }

    /** Takes all requests that can be taken, and sends all replies that there are. */
    private void serve() throws IOException {
        boolean again;
        do {
            finishCompleted();
            inFlight.forgetReleased();
            parse();
            if (inFlight.started()) {
                inFlight.submit();
                finishCompleted();
            }
            boolean wasBlocked = replies.blocked();
            boolean sent = replies.flush(false);
            if (sent) {
                counters.sent();
            }
            again =
                    sent
                            && (inFlight.completed() > 0
                                    || inFlight.started()
                                    || stalled && (inFlight.released() || wasBlocked));
            counters.inFlight = inFlight.count();
        } while (again);
    }

    // ---- requests

    private void parse() throws IOException {
        Outcome outcome = Outcome.TAKEN;
        while (!ended && outcome == Outcome.TAKEN) {
            if (writes.inPayload()) {
                outcome = writes.takePayload();
            } else if (in.available() < header.bytes()) {
                outcome = Outcome.NEEDS_INPUT;
            } else if (header.read(in.memory, in.start)) {
                outcome = takeRequest();
            } else {
                ended = true; // "Terminating the transmission phase": a violation by the client
            }
        }
        stalled = outcome == Outcome.WAITS;
    }

    /** Takes the request that {@link #header} has read. */
    private Outcome takeRequest() throws IOException {
        int type = header.type();
        if (type == Command.DISC) {
            ended = true;
            return Outcome.TAKEN;
        }
        if (!replies.room(ReplyStyle.MAX_ERROR_BYTES)) {
            return Outcome.WAITS;
        }
        NbdError error = admission.check(header, draining);
        if (header.hasPayload() && Admission.tooLong(header.length())) {
            // "if a payload length would be large enough to be deemed a denial of service attack"
            answer(error == null ? NbdError.EINVAL : error, admission.reason());
            ended = true;
            return Outcome.TAKEN;
        }
        if (error != null) {
            return refuse(error);
        }
        return switch (type) {
            case Command.READ -> reads.take(header);
            case Command.WRITE -> writes.take(header);
            case Command.BLOCK_STATUS -> blockStatus();
            default -> enqueue(type);
        };
    }

    private void answer(NbdError error, String text) {
        replies.error(header.cookie(), header.offset(), error, text);
    }

    /** Answers with an error, after the payload if there is one. */
    private Outcome refuse(NbdError error) {
        if (header.hasPayload()) {
            writes.refuse(header, error, admission.reason());
        } else {
            in.start += header.bytes();
            answer(error, admission.reason());
        }
        return Outcome.TAKEN;
    }

    /** The request was answered here and now. */
    private Outcome answered(int bytes) {
        in.start += bytes;
        counters.others++;
        counters.done(Counters.OTHER);
        return Outcome.TAKEN;
    }

    // ---- FLUSH, TRIM, WRITE_ZEROES, CACHE

    private Outcome enqueue(int type) {
        long length = header.length();
        if (length == 0 && type != Command.FLUSH) {
            replies.success(header.cookie(), header.offset());
            return answered(header.bytes());
        }
        Slot slot = replies.slot(type == Command.CACHE ? Math.min(length, CACHE_PIECE) : 0);
        if (slot == null) {
            return Outcome.WAITS;
        }
        slot.describe(type, header, header.offset(), length, counters.arrived);
        in.start += header.bytes();
        counters.others++;
        BlockQueue queue = inFlight.queue();
        switch (type) {
            case Command.FLUSH -> queue.flush(slot.index);
            case Command.TRIM -> {
                counters.changed = true;
                queue.discard(slot.index, slot.offset, length);
            }
            case Command.WRITE_ZEROES -> {
                counters.changed = true;
                queue.writeZeroes(slot.index, slot.offset, length, zeroFlags(slot.flags));
            }
            default -> cachePiece(slot);
        }
        inFlight.begun();
        return Outcome.TAKEN;
    }

    private static int zeroFlags(int flags) {
        return ((flags & CommandFlags.FUA) != 0 ? RequestFlags.FUA : 0)
                | ((flags & CommandFlags.NO_HOLE) != 0 ? 0 : RequestFlags.MAY_UNMAP)
                | ((flags & CommandFlags.FAST_ZERO) != 0 ? RequestFlags.NO_FALLBACK : 0);
    }

    private void cachePiece(Slot slot) {
        long piece = Math.min(slot.length - slot.progress, CACHE_PIECE);
        slot.vector.set(slot.memory, Slot.DATA, piece);
        inFlight.queue().read(slot.index, slot.offset + slot.progress, slot.vector);
        slot.progress += piece;
    }

    // ---- BLOCK_STATUS

    private Outcome blockStatus() throws IOException {
        int bytes = header.bytes();
        if (header.hasPayload()) {
            // EXTENDED_HEADERS, NBD_CMD_BLOCK_STATUS: effect length 64, then context ids 32 each
            NbdError error = statusReply.checkPayloadLength(header);
            if (error == null) {
                bytes += (int) header.length();
                if (in.available() < bytes) {
                    in.require(bytes);
                    return Outcome.NEEDS_INPUT;
                }
                error = statusReply.ask(header, in.memory, in.start + header.bytes());
            }
            if (error != null) {
                return refuse(error);
            }
        } else {
            statusReply.ask(header);
        }
        if (!roomForStatus()) {
            return Outcome.WAITS;
        }
        try {
            replies.written(statusReply.write(header, replies.memory(), replies.end()));
        } catch (BlockIoException e) {
            answer(NbdError.of(e.errno()), e.getMessage());
        }
        return answered(bytes);
    }

    /** Whole of the buffer, and a large one unless extents are asked for one by one. */
    private boolean roomForStatus() throws IOException {
        int wanted =
                header.has(CommandFlags.REQ_ONE)
                        ? ReplyStyle.MAX_ERROR_BYTES + 64 * terms.contexts().size()
                        : shared ? Replies.MAX_BYTES / 4 : Replies.MAX_BYTES;
        return (replies.space() >= wanted || replies.flush(true)) && replies.room(wanted);
    }

    // ---- what is completed

    private void finishCompleted() throws IOException {
        int taken = 0;
        long now = inFlight.completed() > 0 ? System.nanoTime() : 0;
        while (taken < inFlight.completed() && replies.room(ReplyStyle.MAX_ERROR_BYTES)) {
            finish(inFlight.completed(taken++), now);
        }
        if (taken > 0) {
            inFlight.finished(taken);
        }
    }

    private void finish(Slot slot, long now) {
        if (slot.result == Errno.OK && goesOn(slot)) {
            inFlight.goesOn();
            return;
        }
        inFlight.ended();
        counters.took(kindOf(slot.command), now - slot.arrived, 1);
        if (slot.result == Errno.OK && slot.command == Command.READ) {
            replies.data(slot); // and releases it
            return;
        }
        if (slot.result == Errno.OK) {
            replies.success(slot.cookie, slot.origin);
        } else {
            String text = Command.name(slot.command) + " failed: " + slot.result;
            replies.error(slot.cookie, slot.origin, NbdError.of(slot.result), text);
        }
        inFlight.release(slot);
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
            inFlight.queue().flush(slot.index);
            return true;
        }
        if (slot.command == Command.CACHE && slot.progress < slot.length && !ended) {
            cachePiece(slot);
            return true;
        }
        return false;
    }

    /** Waits for what is in flight and gives all memory back. */
    @Override
    public void close() {
        replies.close(); // first: a request in flight may wait for what waits for its pin
        inFlight.close();
        reads.close();
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
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

/**
 * Carries out WRITE, and drops the payloads of requests that are refused. A write that has arrived
 * is written from the input; of one that is longer than the input the header is taken, and the
 * {@link Mode} tells what becomes of the payload as it arrives. Owned by the thread that serves the
 * connection.
 */
final class Writes {
    /**
     * Writes that are not complete in the input and longer than this are written piece by piece.
     */
    private static final int STREAM_ABOVE = 64 << 10;

    /** A piece of a longer write is at least this long, and ends on a page of the file. */
    private static final int MIN_PIECE = 32 << 10;

    private static final int PAGE = 4096;

    /** What happens to the payload of a request whose header has been taken. */
    private enum Mode {
        /** There is none. */
        NONE,
        /** The request is refused; its payload is dropped, then the reply sent. */
        SKIP,
        /** Written from the input, piece by piece. */
        PIECES,
        /** Collected in a slot, then written by the queue. */
        SLOT
    }

    private final Input in;
    private final BlockNode node;
    private final Replies replies;
    private final InFlight inFlight;
    private final Counters counters;
    private final IoVector vector;

    private Mode mode = Mode.NONE;

    // The request whose payload arrives

    private long cookie;
    private long origin;
    private long total;
    private int flags;

    /** Where the next byte goes, and how many are missing. */
    private long at;

    private long left;

    private Slot slot;
    private NbdError error;
    private String reason;

    Writes(
            Input in,
            BlockNode node,
            Replies replies,
            InFlight inFlight,
            Counters counters,
            Arena arena) {
        this.in = in;
        this.node = node;
        this.replies = replies;
        this.inFlight = inFlight;
        this.counters = counters;
        vector = new IoVector(arena, 1);
    }

    /** Whether what comes next in the input is the rest of a payload. */
    boolean inPayload() {
        return mode != Mode.NONE;
    }

    /** Receives into the input, or straight to where a payload is collected. */
    long receive(Link link) throws IOException {
        if (mode != Mode.SLOT || in.available() > 0) {
            return in.fill(link);
        }
        long n = link.receive(slot.memory, Slot.DATA + slot.length - left, left);
        if (n > 0) {
            left -= n;
        }
        return n;
    }

    /** Takes a write whose header is at the beginning of the input. */
    Outcome take(RequestHeader header) {
        long length = header.length();
        long bytes = header.bytes() + length;
        if (in.available() < bytes) {
            if (length <= STREAM_ABOVE) {
                in.require((int) bytes);
                return Outcome.NEEDS_INPUT;
            }
            return begin(header);
        }
        boolean fua = header.has(CommandFlags.FUA);
        vector.set(in.memory, in.start + header.bytes(), length);
        try {
            if (length == 0 || node.tryWrite(header.offset(), vector, fua ? RequestFlags.FUA : 0)) {
                replies.success(header.cookie(), header.offset());
                counters.done(Counters.WRITE);
            } else if (!later(header)) {
                return Outcome.WAITS;
            }
        } catch (BlockIoException e) {
            String text = e.getMessage();
            replies.error(header.cookie(), header.offset(), NbdError.of(e.errno()), text);
        }
        in.start += (int) bytes;
        wrote(length);
        return Outcome.TAKEN;
    }

    private void wrote(long length) {
        counters.changed = true;
        counters.writes++;
        counters.bytesWritten += length;
    }

    /** The payload is complete in the input, which will be needed for the next requests. */
    private boolean later(RequestHeader header) {
        int length = (int) header.length();
        Slot slot = replies.slot(length);
        if (slot == null) {
            return false;
        }
        MemorySegment.copy(in.memory, in.start + header.bytes(), slot.memory, Slot.DATA, length);
        slot.describe(Command.WRITE, header, header.offset(), length, counters.arrived);
        inFlight.write(slot);
        return true;
    }

    // ---- payloads that arrive by and by

    /** Drops the payload of a request, whose header is taken, and answers with an error then. */
    void refuse(RequestHeader header, NbdError error, String reason) {
        begin(header, Mode.SKIP);
        this.error = error;
        this.reason = reason;
    }

    private Outcome begin(RequestHeader header) {
        boolean fua = header.has(CommandFlags.FUA);
        Slot collected = null;
        if (fua) {
            // One request to the device, so that the data is made durable once
            long length = header.length();
            collected = replies.slot(length);
            if (collected == null) {
                return Outcome.WAITS;
            }
            collected.describe(Command.WRITE, header, header.offset(), length, counters.arrived);
        }
        begin(header, fua ? Mode.SLOT : Mode.PIECES);
        slot = collected;
        return Outcome.TAKEN;
    }

    private void begin(RequestHeader header, Mode mode) {
        in.start += header.bytes();
        this.mode = mode;
        cookie = header.cookie();
        origin = header.offset();
        flags = header.flags();
        total = header.length();
        at = origin;
        left = total;
        slot = null;
    }

    /** Takes what has arrived of the payload. */
    Outcome takePayload() throws IOException {
        int have = (int) Math.min(in.available(), left);
        Outcome outcome = have == 0 ? Outcome.NEEDS_INPUT : takePayload(have);
        if (left > 0) {
            return outcome;
        }
        if (!replies.room(ReplyStyle.MAX_ERROR_BYTES)) {
            return Outcome.WAITS;
        }
        end();
        return Outcome.TAKEN;
    }

    private Outcome takePayload(int have) {
        switch (mode) {
            case NONE -> throw new IllegalStateException();
            case SKIP -> {}
            case SLOT -> {
                long filled = slot.length - left;
                MemorySegment.copy(in.memory, in.start, slot.memory, Slot.DATA + filled, have);
            }
            case PIECES -> {
                return takePiece(have);
            }
        }
        in.start += have;
        left -= have;
        return Outcome.TAKEN;
    }

    private Outcome takePiece(int have) {
        int piece = have;
        if (have < left) {
            piece = (int) ((at + have & -PAGE) - at);
            if (piece < MIN_PIECE) {
                return Outcome.NEEDS_INPUT;
            }
        }
        try {
            if (node.tryWrite(at, vector.set(in.memory, in.start, piece), 0)) {
                in.start += piece;
                at += piece;
                left -= piece;
                counters.changed = true;
            } else if (!collectRest()) {
                return Outcome.WAITS;
            }
        } catch (BlockIoException e) {
            mode = Mode.SKIP;
            error = NbdError.of(e.errno());
            reason = e.getMessage();
        }
        return Outcome.TAKEN;
    }

    private boolean collectRest() {
        Slot rest = replies.slot(left);
        if (rest == null) {
            return false;
        }
        rest.describe(Command.WRITE, flags, cookie, origin, at, left);
        slot = rest;
        mode = Mode.SLOT;
        return true;
    }

    private void end() {
        Mode ended = mode;
        mode = Mode.NONE;
        switch (ended) {
            case SKIP -> replies.error(cookie, origin, error, reason);
            case SLOT -> {
                slot.arrived = counters.arrived; // of its last byte
                inFlight.write(slot);
            }
            case PIECES, NONE -> {
                replies.success(cookie, origin);
                counters.done(Counters.WRITE);
            }
        }
        if (ended != Mode.SKIP) {
            wrote(total);
        }
    }
}

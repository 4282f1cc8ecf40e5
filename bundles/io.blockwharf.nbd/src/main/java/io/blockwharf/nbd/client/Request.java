package io.blockwharf.nbd.client;

import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.CommandFlags;
import io.blockwharf.nbd.wire.TransmissionFlags;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.NavigableMap;
import java.util.TreeMap;

/**
 * A request to the node, and the commands that it takes one after the other: a discard that is too
 * long for one, zeroes where the server knows only data, a flush where it knows no FUA. Used again
 * and again.
 *
 * <p>Belongs to its user until it is submitted, then to {@link Remote} until its owner is told.
 */
final class Request {
    /** Who is told when a request is finished. */
    @FunctionalInterface
    interface Owner {
        /** On the thread of the connection; must not block. */
        void finished(Request request);
    }

    enum Kind {
        READ,
        WRITE,
        FLUSH,
        DISCARD,
        WRITE_ZEROES,
        STATUS
    }

    private static final MemorySegment ZEROES = Arena.global().allocate(64 << 10);
    private static final int ZERO_PIECES = 16;

    /** Gaps in the data of one READ; more are an attack on our memory. */
    private static final int MOST_ISLANDS = 1024;

    final Owner owner;

    /** Where the header of the command lies. */
    final MemorySegment header;

    /** The link of whatever list the request is in. */
    Request next;

    /** The user's. */
    long tag;

    private Kind kind;
    private long offset;
    private long length;
    private int flags;
    private IoVector vector;

    // How far it is
    private long done;
    private boolean asData;
    private boolean flushed;
    private IoVector zeroes;
    private Errno result;
    private Extent extent;

    // The command under way
    private int command;
    private int commandFlags;
    private long commandOffset;
    private long commandLength;

    // What has become of it; the connection's
    long cookie;
    boolean sent;
    boolean answered;
    Errno error;
    private long prefix;
    private NavigableMap<Long, Long> islands;

    Request(Owner owner, MemorySegment header) {
        this.owner = owner;
        this.header = header;
    }

    /** Makes it a new one. */
    Request set(Kind kind, long offset, long length, IoVector vector, int flags) {
        this.kind = kind;
        this.offset = offset;
        this.length = length;
        this.vector = vector;
        this.flags = flags;
        next = null;
        done = 0;
        asData = false;
        flushed = false;
        result = Errno.OK;
        extent = null;
        return this;
    }

    /** Forgets the user's memory. */
    void clear() {
        vector = null;
    }

    // --- Commands ----------------------------------------------------------------------------

    /**
     * Chooses the next command.
     *
     * @return false if there is none: the request is finished
     */
    boolean plan(Terms terms) {
        sent = false;
        answered = false;
        error = Errno.OK;
        prefix = 0;
        islands = null;
        if (result != Errno.OK) {
            return false;
        } else if (done < length) {
            return planBytes(terms);
        } else if (!flushed && wantsFlush(terms) && terms.has(TransmissionFlags.SEND_FLUSH)) {
            return command(Command.FLUSH, 0, 0, 0);
        }
        return false;
    }

    private boolean wantsFlush(Terms terms) {
        return switch (kind) {
            case FLUSH -> true;
            case WRITE, WRITE_ZEROES ->
                    (flags & RequestFlags.FUA) != 0 && !terms.has(TransmissionFlags.SEND_FUA);
            case READ, DISCARD, STATUS -> false;
        };
    }

    private boolean planBytes(Terms terms) {
        long at = offset + done;
        long rest = length - done;
        return switch (kind) {
            case READ -> command(Command.READ, 0, at, rest);
            case WRITE -> command(Command.WRITE, durably(terms), at, rest);
            case FLUSH -> throw new IllegalStateException("flushes have no length");
            case DISCARD -> {
                long most = Math.min(rest, terms.mostWithoutPayload());
                yield terms.has(TransmissionFlags.SEND_TRIM) && command(Command.TRIM, 0, at, most);
            }
            case WRITE_ZEROES -> planZeroes(terms, at, rest);
            case STATUS -> {
                long most = Math.min(rest, terms.mostWithoutPayload());
                yield terms.context().isPresent()
                        && command(Command.BLOCK_STATUS, CommandFlags.REQ_ONE, at, most);
            }
        };
    }

    private boolean planZeroes(Terms terms, long at, long rest) {
        boolean fast = (flags & RequestFlags.NO_FALLBACK) != 0;
        if (!asData && terms.has(TransmissionFlags.SEND_WRITE_ZEROES)) {
            int how = durably(terms);
            how |= (flags & RequestFlags.MAY_UNMAP) == 0 ? CommandFlags.NO_HOLE : 0;
            if (!fast || terms.has(TransmissionFlags.SEND_FAST_ZERO)) {
                how |= fast ? CommandFlags.FAST_ZERO : 0;
                return command(Command.WRITE_ZEROES, how, at, Math.min(rest, terms.mostZeroes()));
            }
        }
        if (fast) {
            result = Errno.ENOTSUP;
            return false;
        }
        asData = true;
        long most = Math.min(terms.maximum(), ZERO_PIECES * ZEROES.byteSize());
        return command(Command.WRITE, durably(terms), at, Math.min(rest, most));
    }

    private int durably(Terms terms) {
        return (flags & RequestFlags.FUA) != 0 && terms.has(TransmissionFlags.SEND_FUA)
                ? CommandFlags.FUA
                : 0;
    }

    private boolean command(int type, int how, long at, long bytes) {
        command = type;
        commandFlags = how;
        commandOffset = at;
        commandLength = bytes;
        return true;
    }

    /** The command is answered, as {@link #error} tells. */
    void commandDone() {
        if (error == Errno.ENOTSUP && command == Command.TRIM) {
            done = length; // a discard is advice
        } else if (error == Errno.ENOTSUP
                && command == Command.WRITE_ZEROES
                && (flags & RequestFlags.NO_FALLBACK) == 0) {
            asData = true;
        } else if (error != Errno.OK) {
            result = error;
        } else if (command == Command.FLUSH) {
            flushed = true;
        } else if (command == Command.BLOCK_STATUS) {
            done = length; // one answer is enough
        } else {
            done += commandLength;
        }
    }

    int command() {
        return command;
    }

    int commandFlags() {
        return commandFlags;
    }

    long commandOffset() {
        return commandOffset;
    }

    long commandLength() {
        return commandLength;
    }

    /** The data that follows a WRITE, or where that of a READ goes. */
    IoVector payload() {
        if (!asData) {
            return vector;
        }
        if (zeroes == null) {
            zeroes = new IoVector(Arena.ofAuto(), ZERO_PIECES);
        }
        zeroes.clear();
        for (long left = commandLength; left > 0; left -= ZEROES.byteSize()) {
            zeroes.add(ZEROES, 0, Math.min(left, ZEROES.byteSize()));
        }
        return zeroes;
    }

    // --- What is answered --------------------------------------------------------------------

    /** Fails, whatever is under way. */
    void fail(Errno why) {
        result = why;
    }

    /** How it ended. */
    Errno result() {
        return result;
    }

    /** What a STATUS has found; null if the server does not tell. */
    Extent extent() {
        return extent;
    }

    void found(Extent told) {
        extent = told;
    }

    /**
     * Notes that bytes of a READ are there. Servers nearly always send them in order; what comes
     * otherwise is kept in a map until the gap before it is closed.
     *
     * @param from counted from the command's offset; the range lies inside the command
     * @return false if some of it was there already, or there are too many gaps
     */
    boolean cover(long from, long bytes) {
        if (from < prefix) {
            return false;
        } else if (from > prefix || islands != null) {
            return coverIsland(from, bytes);
        }
        prefix += bytes;
        return true;
    }

    private boolean coverIsland(long from, long bytes) {
        if (islands == null) {
            islands = new TreeMap<>();
        }
        NavigableMap<Long, Long> all = islands;
        Map.Entry<Long, Long> before = all.floorEntry(from);
        Map.Entry<Long, Long> after = all.higherEntry(from);
        if (before != null && before.getValue() > from
                || after != null && after.getKey() < from + bytes) {
            return false;
        }
        long start = from;
        long end = from + bytes;
        if (before != null && before.getValue() == from) {
            start = before.getKey();
        }
        if (after != null && after.getKey() == end) {
            end = after.getValue();
            all.remove(after.getKey());
        }
        all.put(start, end);
        if (start == prefix) {
            prefix = all.remove(start);
        }
        return all.size() <= MOST_ISLANDS;
    }

    /** Whether every byte of a READ is there. */
    boolean covered() {
        return prefix == commandLength;
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.linux.NativeMemory;
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
 * Carries out READ: holes as holes, hot data at once or together with the reads behind it, long
 * data from its file, and all that would have to wait through the queue. proto.md, NBD_CMD_READ.
 * Owned by the thread that serves the connection.
 */
final class Reads implements AutoCloseable {
    /** Reads of at least this many bytes leave by sendfile where they can. */
    private static final int FILE_THRESHOLD = 64 << 10;

    /** Longer reads than this are not copied through the buffer of replies. */
    private static final int INLINE_MAX = 256 << 10;

    private static final int PAGE = 4096;

    private final Link link;
    private final Input in;
    private final BlockNode node;
    private final ReplyStyle style;
    private final Replies replies;
    private final InFlight inFlight;
    private final Counters counters;
    private final IoVector vector;
    private final NativeMemory probe;

    /** Bytes that are known to be stored: reads of them need not ask for holes. */
    private long dataFrom;

    private long dataTo;

    Reads(
            Link link,
            Input in,
            Terms terms,
            Replies replies,
            InFlight inFlight,
            Counters counters,
            Arena arena) {
        this.link = link;
        this.in = in;
        this.replies = replies;
        this.inFlight = inFlight;
        this.counters = counters;
        node = terms.export().node();
        style = terms.style();
        vector = new IoVector(arena, 1);
        probe = NativeMemory.allocate(Math.max(PAGE, node.limits().requestAlignment()), PAGE);
    }

    /** Takes a read whose header is at the beginning of the input. */
    Outcome take(RequestHeader header) throws IOException {
        int length = (int) header.length();
        long offset = header.offset();
        if (length == 0) {
            replies.nothing(header);
            return taken(header, true);
        }
        boolean fragments = style != ReplyStyle.SIMPLE && !header.has(CommandFlags.DF);
        if (fragments && !isData(offset, length)) {
            return fragments(header);
        }
        return switch (run(header, offset, length, true)) {
            case READ, FAILED -> taken(header, true);
            case WOULD_BLOCK ->
                    later(header, offset, length) ? taken(header, false) : Outcome.WAITS;
            case NO_ROOM -> Outcome.WAITS;
        };
    }

    private Outcome taken(RequestHeader header, boolean inline) {
        in.start += header.bytes();
        counters.reads++;
        counters.bytesRead += header.length();
        if (inline) {
            counters.done(Counters.READ);
        }
        return Outcome.TAKEN;
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
    private Outcome fragments(RequestHeader header) throws IOException {
        if (inFlight.free() == 0) {
            return Outcome.WAITS;
        }
        long offset = header.offset();
        long end = offset + header.length();
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
                if (!replies.room(ReplyStyle.MAX_ERROR_BYTES)) {
                    break;
                }
                replies.hole(header, at, (int) (next - at), last);
            } else {
                Run run = run(header, at, (int) (next - at), last);
                if (run == Run.FAILED) {
                    return taken(header, true);
                } else if (run != Run.READ) {
                    break;
                }
            }
            at = next;
        }
        if (at < end && !later(header, at, (int) (end - at))) {
            if (at == offset) {
                return Outcome.WAITS; // nothing has been sent yet: once more later
            }
            // A slot is free, but not the memory: all that there is of it is this client's own
            replies.error(header.cookie(), offset, NbdError.ENOMEM, "too much in flight");
        }
        return taken(header, at == end);
    }

    private enum Run {
        READ,
        /** And this has been answered. */
        FAILED,
        WOULD_BLOCK,
        NO_ROOM
    }

    /** Reads stored bytes without waiting for a device. */
    private Run run(RequestHeader header, long offset, int length, boolean last)
            throws IOException {
        if (last && length >= FILE_THRESHOLD && link.sendsFiles() && isInFile(offset, length)) {
            return sendFile(header, offset, length);
        }
        if (length > INLINE_MAX) {
            return Run.WOULD_BLOCK;
        }
        if (!replies.room(style.dataHeaderBytes() + length)) {
            return Run.NO_ROOM;
        }
        if (last && replies.promises(length, in.available() / header.bytes() - 1)) {
            replies.promise(header, offset, length);
            return Run.READ;
        }
        vector.set(replies.memory(), replies.dataPlace(), length);
        try {
            if (!node.tryRead(offset, vector)) {
                return Run.WOULD_BLOCK;
            }
        } catch (BlockIoException e) {
            String text = e.getMessage();
            replies.error(header.cookie(), header.offset(), NbdError.of(e.errno()), text);
            return Run.FAILED;
        }
        replies.data(header, offset, length, last);
        return Run.READ;
    }

    private boolean isInFile(long offset, int length) {
        Optional<HostExtent> host = node.hostExtent(offset, length);
        return host.isPresent() && host.get().covers(offset, length);
    }

    /** The last page tells whether they are in memory; a file that is not would block. */
    private Run sendFile(RequestHeader header, long offset, int length) throws IOException {
        if (!isResident(offset + length - 1)) {
            return Run.WOULD_BLOCK;
        }
        if (!replies.room(style.dataHeaderBytes())) {
            return Run.NO_ROOM;
        }
        return replies.dataOfFile(header, offset, length) ? Run.READ : Run.WOULD_BLOCK;
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

    private boolean later(RequestHeader header, long offset, int length) {
        Slot slot = replies.slot(length);
        if (slot == null) {
            return false;
        }
        slot.describe(Command.READ, header, offset, length, counters.arrived);
        inFlight.read(slot);
        return true;
    }

    @Override
    public void close() {
        probe.close();
    }
}

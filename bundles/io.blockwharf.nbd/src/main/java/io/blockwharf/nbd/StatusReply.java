package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.nbd.wire.CommandFlags;
import io.blockwharf.nbd.wire.NbdError;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;

import java.lang.foreign.MemorySegment;

/**
 * Answers BLOCK_STATUS: a chunk of extents for each metadata context that is asked for. proto.md,
 * NBD_CMD_BLOCK_STATUS; EXTENDED_HEADERS for its payload. Owned by the thread that serves the
 * connection.
 */
final class StatusReply implements ExtentSink {
    /** Extents in one chunk, on a thread of its own and on a loop that others wait for. */
    private static final int MAX_EXTENTS = 131072;

    private static final int MAX_EXTENTS_SHARED = 1024;

    private static final long ALL = -1;

    private final Terms terms;
    private final Admission admission;
    private final BlockNode node;
    private final ReplyStyle style;
    private final boolean shared;
    private long length;
    private long chosen;

    // The chunk that is being written

    private MetaContext context;
    private MemorySegment out;
    private int position;

    /** Extents that it has, and may have. */
    private int count;

    private int room;

    /** Runs that may still be looked at: neighbours of the same state become one extent. */
    private int looks;

    /** Where the next run begins, where the request ends, and how far extents may reach. */
    private long at;

    private long end;
    private long limit;

    /** The extent that is not written yet, because it may go on. */
    private long runLength;

    private int runState;

    /**
     * For one connection.
     *
     * @param shared whether other connections wait for the thread
     */
    StatusReply(Terms terms, Admission admission, boolean shared) {
        this.terms = terms;
        this.admission = admission;
        this.shared = shared;
        node = terms.export().node();
        style = terms.style();
    }

    /** What is wrong with the length of a request's payload, null if nothing is. */
    NbdError checkPayloadLength(RequestHeader header) {
        long bytes = header.length();
        return bytes < 12 || bytes > 8 + 4L * terms.contexts().size() || bytes % 4 != 0
                ? invalidPayload()
                : null;
    }

    private NbdError invalidPayload() {
        return admission.refusal(NbdError.EINVAL, "CMD_BLOCK_STATUS payload not valid");
    }

    /** Takes a question for all contexts. */
    void ask(RequestHeader header) {
        length = header.length();
        chosen = ALL;
    }

    /**
     * Takes a question whose payload lies at {@code at}.
     *
     * @return what is wrong with it, null if nothing is
     */
    NbdError ask(RequestHeader header, MemorySegment in, int at) {
        length = RequestHeader.longAt(in, at);
        chosen = contexts(in, at + 8, (int) (header.length() - 8) / 4);
        if (chosen == 0) {
            return invalidPayload();
        }
        return admission.contains(header.offset(), length)
                ? admission.checkStatus(length)
                : admission.refusal(NbdError.EINVAL, "operation past EOF");
    }

    /** The set of contexts with these ids, 0 if one of them is unknown or there twice. */
    private long contexts(MemorySegment in, int at, int count) {
        long chosen = 0;
        for (int i = 0; i < count; i++) {
            int id = RequestHeader.intAt(in, at + 4L * i);
            long bit = 0;
            for (int c = 0; c < terms.contexts().size(); c++) {
                if (terms.contexts().get(c).id() == id) {
                    bit = 1L << c;
                }
            }
            if (bit == 0 || (chosen & bit) != 0) {
                return 0;
            }
            chosen |= bit;
        }
        return chosen;
    }

    /**
     * Writes the reply to what was asked for, as long as there is room, less {@link
     * ReplyStyle#MAX_ERROR_BYTES}: fewer extents than there are is a valid answer.
     *
     * @return how many bytes
     */
    int write(RequestHeader header, MemorySegment out, int start) throws BlockIoException {
        int at = start;
        int left = chosen == ALL ? terms.contexts().size() : Long.bitCount(chosen);
        for (int i = 0; left > 0; i++) {
            if (chosen != ALL && (chosen & 1L << i) == 0) {
                continue;
            }
            int share = (int) (out.byteSize() - at - ReplyStyle.MAX_ERROR_BYTES) / left;
            at += chunk(header, terms.contexts().get(i), out, at, share, left == 1);
            left--;
        }
        return at - start;
    }

    /** NBD_REPLY_TYPE_BLOCK_STATUS: only the last extent may go beyond the request. */
    private int chunk(
            RequestHeader header,
            MetaContext context,
            MemorySegment out,
            int start,
            int share,
            boolean last)
            throws BlockIoException {
        boolean one = header.has(CommandFlags.REQ_ONE);
        int most = (share - style.statusHeaderBytes()) / style.statusExtentBytes();
        room = one ? 1 : Math.min(most, shared ? MAX_EXTENTS_SHARED : MAX_EXTENTS);
        looks = room + 1;
        this.context = context;
        this.out = out;
        at = header.offset();
        end = at + length;
        limit =
                one
                        ? end
                        : at
                                + Math.min(
                                        style.maxStatusLength(),
                                        admission.size() - header.offset());
        position = start + style.statusHeaderBytes();
        count = 0;
        runLength = 0;
        long before;
        do {
            before = at;
            context.extents(node, at, end - at, this);
        } while (at > before && at < end && looks > 0);
        if (runLength > 0) {
            endRun();
        }
        style.statusHeader(out, start, header.cookie(), header.offset(), context.id(), count, last);
        return position - start;
    }

    @Override
    public boolean run(long bytes, boolean data, boolean zero, int depth) {
        int state = context.state(data, zero, depth);
        long n = Math.min(bytes, limit - at);
        if (runLength > 0 && (state != runState || runLength + n > style.maxStatusLength())) {
            endRun();
        }
        if (count == room || n <= 0) {
            looks = 0;
            return false;
        }
        runState = state;
        runLength += n;
        at += n;
        looks--;
        return at < end && looks > 0;
    }

    private void endRun() {
        position += style.statusExtent(out, position, runLength, runState);
        count++;
        runLength = 0;
    }
}

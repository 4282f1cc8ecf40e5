package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
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
final class StatusReply {
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
        int headerBytes = style.statusHeaderBytes();
        int most = (share - headerBytes) / style.statusExtentBytes();
        most = Math.min(most, shared ? MAX_EXTENTS_SHARED : MAX_EXTENTS);
        boolean one = header.has(CommandFlags.REQ_ONE);
        if (one) {
            most = 1;
        }
        long limit =
                one
                        ? length
                        : Math.min(style.maxStatusLength(), admission.size() - header.offset());
        long at = header.offset();
        long end = at + length;
        int count = 0;
        int position = start + headerBytes;
        long runLength = 0;
        int runState = 0;
        for (int calls = 0; at < end && calls <= most; calls++) {
            Extent extent = context.extentAt(node, at, end - at);
            int state = context.state(extent);
            long n = Math.min(extent.end() - at, header.offset() + limit - at);
            if (runLength > 0 && (state != runState || runLength + n > style.maxStatusLength())) {
                position += style.statusExtent(out, position, runLength, runState);
                count++;
                runLength = 0;
                if (count == most) {
                    break;
                }
            }
            if (n <= 0) {
                break;
            }
            runState = state;
            runLength += n;
            at += n;
        }
        if (runLength > 0) {
            position += style.statusExtent(out, position, runLength, runState);
            count++;
        }
        style.statusHeader(out, start, header.cookie(), header.offset(), context.id(), count, last);
        return position - start;
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.CommandFlags;
import io.blockwharf.nbd.wire.NbdError;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;
import io.blockwharf.nbd.wire.TransmissionFlags;

/**
 * Which requests of a client are carried out, and what the others are answered: commands, flags,
 * ranges, the state of the export. proto.md, "Request types" and "Error values". Owned by the
 * thread that serves the connection.
 */
final class Admission {
    private final Terms terms;
    private final BlockNode node;
    private final ReplyStyle style;
    private String reason = "";

    Admission(Terms terms) {
        this.terms = terms;
        node = terms.export().node();
        style = terms.style();
    }

    /** Why the last request was refused, in words. */
    String reason() {
        return reason;
    }

    static boolean tooLong(long length) {
        return length < 0 || length > Command.MAX_PAYLOAD;
    }

    /**
     * What is wrong with the request, null if nothing is. Leaves the {@link #reason}.
     *
     * @param draining whether nothing is to be served any more
     */
    NbdError check(RequestHeader header, boolean draining) {
        int type = header.type();
        int known = CommandFlags.FUA;
        switch (type) {
            case Command.READ -> {
                if (style != ReplyStyle.SIMPLE) {
                    known |= CommandFlags.DF;
                }
            }
            case Command.WRITE -> {
                if (style == ReplyStyle.EXTENDED) {
                    known |= CommandFlags.PAYLOAD_LEN;
                }
            }
            case Command.WRITE_ZEROES -> known |= CommandFlags.NO_HOLE | CommandFlags.FAST_ZERO;
            case Command.BLOCK_STATUS -> {
                known |= CommandFlags.REQ_ONE;
                if (terms.has(TransmissionFlags.BLOCK_STATUS_PAYLOAD)) {
                    known |= CommandFlags.PAYLOAD_LEN;
                }
            }
            case Command.FLUSH, Command.TRIM, Command.CACHE -> {}
            default -> {
                return refusal(NbdError.EINVAL, "invalid request type (" + type + ") received");
            }
        }
        if (draining) {
            return refusal(NbdError.ESHUTDOWN, "export is shutting down");
        }
        if (header.has(~known)) {
            return refusal(
                    NbdError.EINVAL,
                    "unsupported flags for command %s (got 0x%x)"
                            .formatted(Command.name(type), header.flags()));
        }
        boolean anywhere =
                type == Command.FLUSH || header.hasPayload() && type == Command.BLOCK_STATUS;
        NbdError error = anywhere ? null : checkRange(header, type);
        boolean looks = type == Command.READ || type == Command.BLOCK_STATUS;
        return error == null && !looks && !node.active()
                ? refusal(NbdError.EPERM, "export is inactive")
                : error;
    }

    /** "Error values": which number for what lies past the end, and on a read-only export. */
    private NbdError checkRange(RequestHeader header, int type) {
        boolean writes =
                type == Command.WRITE || type == Command.WRITE_ZEROES || type == Command.TRIM;
        if (writes && terms.has(TransmissionFlags.READ_ONLY)) {
            return refusal(NbdError.EPERM, "Export is read-only");
        }
        long length = header.length();
        if ((type == Command.READ || type == Command.WRITE || type == Command.CACHE)
                && tooLong(length)) {
            return refusal(
                    type == Command.WRITE || style == ReplyStyle.SIMPLE
                            ? NbdError.EINVAL
                            : NbdError.EOVERFLOW,
                    "len (%s) is larger than max len (%d)"
                            .formatted(Long.toUnsignedString(length), Command.MAX_PAYLOAD));
        }
        if (!contains(header.offset(), length)) {
            return refusal(
                    type == Command.WRITE || type == Command.WRITE_ZEROES
                            ? NbdError.ENOSPC
                            : NbdError.EINVAL,
                    "operation past EOF; From: %s, Len: %s, Size: %d"
                            .formatted(
                                    Long.toUnsignedString(header.offset()),
                                    Long.toUnsignedString(length),
                                    size()));
        }
        if (type == Command.BLOCK_STATUS) {
            return checkStatus(length);
        }
        return null;
    }

    /** What is wrong with a question for the status of {@code length} bytes that exist. */
    NbdError checkStatus(long length) {
        if (terms.contexts().isEmpty()) {
            return refusal(NbdError.EINVAL, "CMD_BLOCK_STATUS not negotiated");
        }
        return length == 0 ? refusal(NbdError.EINVAL, "need non-zero length") : null;
    }

    /** Notes a reason; answers {@code error}. */
    NbdError refusal(NbdError error, String text) {
        reason = text;
        return error;
    }

    /** The size that the client knows, or what a resize has left of it. */
    long size() {
        return Math.min(terms.size(), node.length());
    }

    /** Offset and length are unsigned: what does not fit a long is negative here, and too large. */
    boolean contains(long offset, long length) {
        long size = size();
        return offset >= 0 && length >= 0 && offset <= size && length <= size - offset;
    }
}

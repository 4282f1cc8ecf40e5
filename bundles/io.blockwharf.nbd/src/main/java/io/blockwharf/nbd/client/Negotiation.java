package io.blockwharf.nbd.client;

import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.Handshake;
import io.blockwharf.nbd.wire.OptionReply;
import io.blockwharf.nbd.wire.OptionReply.BlockSizeInfo;
import io.blockwharf.nbd.wire.OptionReply.Context;
import io.blockwharf.nbd.wire.OptionReply.ExportInfo;
import io.blockwharf.nbd.wire.OptionReply.Failure;
import io.blockwharf.nbd.wire.OptionReply.Reason;
import io.blockwharf.nbd.wire.OptionReply.UnknownFailure;
import io.blockwharf.nbd.wire.OptionRequest;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.TransmissionFlags;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.ProtocolException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;

/**
 * The client's side of a negotiation, from the greeting to the terms. Waits for the server; nothing
 * is read ahead. Sentences are those of QEMU's client (nbd/client.c). proto.md, "Fixed newstyle
 * negotiation".
 */
final class Negotiation {
    /** Enough for every text of the protocol (4096 bytes each), and nothing to fear. */
    private static final int MOST_REPLY_BYTES = 64 << 10;

    /** More replies to one option than any server has to give. */
    private static final int MOST_REPLIES = 64;

    /** Goes on through TLS. */
    @FunctionalInterface
    interface Tls {
        /** Waits for the handshake; gives what is to be used instead of the link from now on. */
        Link start() throws IOException;
    }

    /**
     * What the client wants.
     *
     * @param export the export's name
     * @param context the metadata context for block status
     * @param required whether to do without the context is no choice
     * @param tls how to secure the connection, if it is to be
     */
    record Wish(String export, String context, boolean required, Optional<Tls> tls) {}

    /** How it ended: what was agreed on, and the link to use from now on. */
    record Outcome(Terms terms, Link link) {}

    private final Wish wish;
    private Link link;
    private final MemorySegment buffer;

    /** Allocates for one negotiation only. */
    Negotiation(Link link, Wish wish, Arena arena) {
        this.link = link;
        this.wish = wish;
        buffer = arena.allocate(MOST_REPLY_BYTES);
    }

    /**
     * Negotiates.
     *
     * @throws Refusal if the server does not give what is wanted
     * @throws ProtocolException if it is no server, or a bad one
     */
    Outcome run() throws IOException {
        int handshake = Handshake.flags(receive(Handshake.GREETING_BYTES, "initial magic"));
        send(Handshake.clientFlags(handshake), "clientflags field");
        if (wish.tls().isPresent()) {
            require(OptionRequest.STARTTLS, ask(new OptionRequest.StartTls()));
            link = wish.tls().get().start();
        }
        ReplyStyle style = style();
        OptionalInt context = style == ReplyStyle.SIMPLE ? OptionalInt.empty() : context();
        if (context.isEmpty() && wish.required()) {
            throw new Refusal(
                    "requested x-dirty-bitmap %s not found".formatted(wish.context()), "");
        }
        Optional<Terms> terms = go(style, context);
        return new Outcome(
                terms.isPresent() ? terms.get() : exportName(style, context, handshake), link);
    }

    /** What is used now: whoever sees {@link #run} fail closes it. */
    Link link() {
        return link;
    }

    // --- Options -----------------------------------------------------------------------------

    private ReplyStyle style() throws IOException {
        if (accepted(OptionRequest.EXTENDED_HEADERS, new OptionRequest.ExtendedHeaders())) {
            return ReplyStyle.EXTENDED;
        }
        return accepted(OptionRequest.STRUCTURED_REPLY, new OptionRequest.StructuredReply())
                ? ReplyStyle.STRUCTURED
                : ReplyStyle.SIMPLE;
    }

    /** Asks for what one can do without. */
    private boolean accepted(int option, OptionRequest request) throws IOException {
        return switch (ask(request)) {
            case OptionReply.Ack() -> true;
            case Failure(Reason reason, String text) -> {
                if (reason == Reason.TLS_REQD || reason == Reason.SHUTDOWN) {
                    throw refused(option, reason, text);
                }
                yield false;
            }
            case UnknownFailure _ -> false;
            default -> throw unexpected(option);
        };
    }

    private OptionalInt context() throws IOException {
        int option = OptionRequest.SET_META_CONTEXT;
        OptionalInt found = OptionalInt.empty();
        OptionReply reply =
                ask(new OptionRequest.MetaContext(true, wish.export(), List.of(wish.context())));
        for (int i = 0; i < MOST_REPLIES; i++) {
            switch (reply) {
                case Context(int id, String name) -> {
                    if (!name.equals(wish.context()) || found.isPresent()) {
                        throw new ProtocolException(
                                "Failed to negotiate query '%s', server answered with different"
                                                .formatted(wish.context())
                                        + " context '%s'".formatted(shortened(name)));
                    }
                    found = OptionalInt.of(id);
                }
                case OptionReply.Ack() -> {
                    return found;
                }
                case Failure(Reason reason, String text) -> {
                    if (reason == Reason.TLS_REQD || reason == Reason.SHUTDOWN) {
                        throw refused(option, reason, text);
                    }
                    return OptionalInt.empty();
                }
                case UnknownFailure _ -> {
                    return OptionalInt.empty();
                }
                default -> throw unexpected(option);
            }
            reply = reply(option);
        }
        throw unexpected(option);
    }

    /** Empty if the server is too old for GO. */
    private Optional<Terms> go(ReplyStyle style, OptionalInt context) throws IOException {
        int option = OptionRequest.GO;
        Optional<ExportInfo> export = Optional.empty();
        Optional<BlockSizeInfo> sizes = Optional.empty();
        OptionReply reply =
                ask(
                        new OptionRequest.Info(
                                true, wish.export(), Set.of(OptionReply.INFO_BLOCK_SIZE)));
        for (int i = 0; i < MOST_REPLIES; i++) {
            switch (reply) {
                case ExportInfo info -> export = Optional.of(info);
                case BlockSizeInfo info -> sizes = Optional.of(info);
                case OptionReply.TextInfo _, OptionReply.UnknownInfo _ -> {} // nobody has asked
                case OptionReply.Ack() -> {
                    return Optional.of(
                            terms(
                                    style,
                                    context,
                                    export.orElseThrow(
                                            () ->
                                                    new ProtocolException(
                                                            "broken server omitted"
                                                                    + " NBD_INFO_EXPORT")),
                                    sizes));
                }
                case Failure(Reason reason, String _) when reason == Reason.UNSUP -> {
                    return Optional.empty();
                }
                default -> require(option, reply);
            }
            reply = reply(option);
        }
        throw unexpected(option);
    }

    private Terms exportName(ReplyStyle style, OptionalInt context, int handshake)
            throws IOException {
        send(new OptionRequest.ExportName(wish.export()).encode(), "export name");
        boolean noZeroes = (handshake & Handshake.NO_ZEROES) != 0;
        ByteBuffer answer =
                ByteBuffer.wrap(receive(Handshake.exportNameReplyBytes(noZeroes), "export length"));
        ExportInfo info = new ExportInfo(answer.getLong(), Short.toUnsignedInt(answer.getShort()));
        return terms(style, context, info, Optional.empty());
    }

    // --- What the server tells ---------------------------------------------------------------

    /** Checks what the server tells about the export. proto.md, "Size constraints". */
    private static Terms terms(
            ReplyStyle style, OptionalInt context, ExportInfo export, Optional<BlockSizeInfo> sizes)
            throws Refusal {
        if (export.size() < 0) {
            throw new Refusal(
                    "export length %s is too large".formatted(Long.toUnsignedString(export.size())),
                    "");
        }
        // As QEMU: a server that tells nothing and has a size of whole sectors may mean sectors
        int minimum = context.isPresent() || (export.size() & 511) != 0 ? 1 : 512;
        int preferred = 0;
        long maximum = Command.MAX_PAYLOAD;
        if (sizes.isPresent()) {
            minimum = sizes.get().minimum();
            preferred = sizes.get().preferred();
            maximum = Integer.toUnsignedLong(sizes.get().maximum());
            check(minimum, preferred, maximum);
        }
        if ((export.size() & minimum - 1) != 0) {
            throw new Refusal(
                    "export length %d is not multiple of minimum block size %d"
                            .formatted(export.size(), minimum),
                    "");
        }
        int flags = export.transmissionFlags();
        if ((flags & TransmissionFlags.HAS_FLAGS) == 0) {
            flags = 0; // "Transmission flags": all others mean nothing then
        }
        return new Terms(
                style,
                export.size(),
                flags,
                minimum,
                preferred,
                Terms.maximum(maximum, minimum),
                context);
    }

    private static void check(int minimum, int preferred, long maximum) throws Refusal {
        if (Integer.bitCount(minimum) != 1 || minimum < 0) {
            throw new Refusal(
                    "server minimum block size %s is not a power of two"
                            .formatted(Integer.toUnsignedString(minimum)),
                    "");
        } else if (minimum > Terms.LARGEST_MINIMUM) {
            throw new Refusal(
                    "server minimum block size %d is larger than %d"
                            .formatted(minimum, Terms.LARGEST_MINIMUM),
                    "");
        } else if (Integer.bitCount(preferred) != 1 || preferred < minimum) {
            throw new Refusal(
                    "server preferred block size %s is not valid"
                            .formatted(Integer.toUnsignedString(preferred)),
                    "");
        } else if (maximum < minimum) {
            throw new Refusal("server maximum block size %d is not valid".formatted(maximum), "");
        }
    }

    /** Lets only an acknowledgement pass. */
    private static void require(int option, OptionReply reply) throws IOException {
        switch (reply) {
            case OptionReply.Ack() -> {}
            case Failure(Reason reason, String text) -> throw refused(option, reason, text);
            case UnknownFailure(int type, String text) ->
                    throw new Refusal(
                            "Unknown error code 0x%x when asking for option %s"
                                    .formatted(type, described(option)),
                            reported(text));
            default -> throw unexpected(option);
        }
    }

    private static Refusal refused(int option, Reason reason, String text) {
        String what = described(option);
        String message =
                switch (reason) {
                    case UNSUP -> "Unsupported option type " + what;
                    case POLICY -> "Denied by server for option " + what;
                    case INVALID -> "Invalid parameters for option " + what;
                    case PLATFORM -> "Server lacks support for option " + what;
                    case TLS_REQD -> "TLS negotiation required before option " + what;
                    case UNKNOWN -> "Requested export not available";
                    case SHUTDOWN -> "Server shutting down before option " + what;
                    case BLOCK_SIZE_REQD -> "Server requires INFO_BLOCK_SIZE for option " + what;
                    case TOO_BIG -> "Option " + what + " is too large for the server";
                    case EXT_HEADER_REQD -> "Server requires extended headers for option " + what;
                };
        String advice = reason == Reason.TLS_REQD ? "Did you forget a valid tls-creds?\n" : "";
        return new Refusal(message, (advice + reported(text)).strip());
    }

    private static String reported(String text) {
        return text.isEmpty() ? "" : "server reported: " + shortened(text);
    }

    /** A hostile server's text is not to fill anybody's log, nor to drive a terminal. */
    private static String shortened(String text) {
        String plain = text.replaceAll("\\p{Cntrl}", "?");
        return plain.length() <= 1024 ? plain : plain.substring(0, 1024) + "...";
    }

    private static String described(int option) {
        return "%d (%s)".formatted(option, OptionRequest.name(option));
    }

    private static ProtocolException unexpected(int option) {
        return new ProtocolException("Unexpected reply to option " + described(option));
    }

    // --- Bytes -------------------------------------------------------------------------------

    private OptionReply ask(OptionRequest request) throws IOException {
        byte[] bytes = request.encode();
        send(bytes, "option request");
        return reply(ByteBuffer.wrap(bytes).getInt(8));
    }

    private OptionReply reply(int option) throws IOException {
        ByteBuffer header = ByteBuffer.wrap(receive(OptionReply.HEADER_BYTES, "option reply"));
        if (header.getLong() != OptionReply.MAGIC) {
            throw new ProtocolException("Unexpected option reply magic");
        }
        int about = header.getInt();
        if (about != option) {
            throw new ProtocolException(
                    "Unexpected option type %s, expected %d"
                            .formatted(Integer.toUnsignedString(about), option));
        }
        int type = header.getInt();
        int length = header.getInt();
        if (length < 0 || length > MOST_REPLY_BYTES) {
            throw new ProtocolException(
                    "Option %s response length is %s, which is too long"
                            .formatted(described(option), Integer.toUnsignedString(length)));
        }
        return OptionReply.decode(type, receive(length, "option reply"));
    }

    private byte[] receive(int length, String what) throws IOException {
        int have = 0;
        while (have < length) {
            long n = link.receive(buffer, have, length - have);
            if (n <= 0) {
                throw new EOFException(
                        "Failed to read %s: Unexpected end-of-file before all data were read"
                                .formatted(what));
            }
            have += (int) n;
        }
        return buffer.asSlice(0, length).toArray(ValueLayout.JAVA_BYTE);
    }

    private void send(byte[] bytes, String what) throws IOException {
        MemorySegment.copy(bytes, 0, buffer, ValueLayout.JAVA_BYTE, 0, bytes.length);
        link.add(buffer, 0, bytes.length);
        try {
            link.flush(false);
        } catch (IOException e) {
            throw new IOException("Failed to send %s: %s".formatted(what, e.getMessage()), e);
        }
    }
}

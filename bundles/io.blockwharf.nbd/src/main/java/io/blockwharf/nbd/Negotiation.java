package io.blockwharf.nbd;

import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.wire.Command;
import io.blockwharf.nbd.wire.Handshake;
import io.blockwharf.nbd.wire.OptionReply;
import io.blockwharf.nbd.wire.OptionReply.Reason;
import io.blockwharf.nbd.wire.OptionRequest;
import io.blockwharf.nbd.wire.ReplyStyle;
import io.blockwharf.nbd.wire.RequestHeader;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The handshake with one client: which export it uses, and how. proto.md, "Fixed newstyle
 * negotiation". Runs on a thread that may wait; whoever started it ends it by {@link
 * Link#shutdown}.
 */
final class Negotiation {
    /** Options whose data is longer are refused unread; meta context queries are the longest. */
    private static final int MAX_DATA = 64 << 10;

    /** Names longer than this are cut in messages. */
    private static final int MAX_NAME_IN_TEXT = 80;

    private Link link;
    private boolean secure;
    private final Input in;
    private final NbdServer server;
    private final NbdSession session;
    private boolean fixed;
    private boolean noZeroes;
    private ReplyStyle style = ReplyStyle.SIMPLE;

    /** The export that {@link #contexts} belong to. */
    private String contextsOf = "";

    private List<MetaContext> contexts = List.of();

    /** What an option leads to. */
    private sealed interface Step {
        /** The next option. */
        record Next() implements Step {}

        /** The transmission phase. */
        record Serve(Terms terms) implements Step {}

        /** The end. */
        record Over() implements Step {}

        Step NEXT = new Next();
        Step OVER = new Over();
    }

    /** Begins with a client that has said nothing yet. */
    Negotiation(Link link, Input in, NbdServer server, NbdSession session) {
        this.link = link;
        this.in = in;
        this.server = server;
        this.session = session;
    }

    /**
     * Runs to its end.
     *
     * @return what to serve, with the session attached to the export; empty if the connection is to
     *     be closed
     */
    Optional<Terms> run() throws IOException {
        send(Handshake.greeting());
        receive(Handshake.CLIENT_FLAGS_BYTES);
        int flags = RequestHeader.intAt(in.memory, in.start);
        in.start += Handshake.CLIENT_FLAGS_BYTES;
        if (!Handshake.clientFlagsValid(flags)) {
            return Optional.empty();
        }
        fixed = (flags & Handshake.FIXED_NEWSTYLE) != 0;
        noZeroes = (flags & Handshake.NO_ZEROES) != 0;
        while (true) {
            Step step = option();
            if (step instanceof Step.Serve(Terms terms)) {
                return Optional.of(terms);
            }
            if (step instanceof Step.Over) {
                return Optional.empty();
            }
        }
    }

    private Step option() throws IOException {
        receive(Handshake.OPTION_HEADER_BYTES);
        long magic = RequestHeader.longAt(in.memory, in.start);
        int option = RequestHeader.intAt(in.memory, in.start + 8L);
        long length = Integer.toUnsignedLong(RequestHeader.intAt(in.memory, in.start + 12L));
        in.start += Handshake.OPTION_HEADER_BYTES;
        if (!OptionRequest.magicValid(magic) || length > Handshake.MAX_OPTION_BYTES) {
            return Step.OVER;
        }
        if (length > MAX_DATA) {
            return tooLong(option, length);
        }
        receive((int) length);
        byte[] data = in.memory.asSlice(in.start, length).toArray(ValueLayout.JAVA_BYTE);
        in.start += (int) length;
        TraceEvent.NBD_OPTION.record(session.number(), option);
        OptionRequest request = OptionRequest.decode(option, data);
        if (!fixed && !(request instanceof OptionRequest.ExportName)) {
            return Step.OVER; // "In non-fixed newstyle only one option can be set"
        }
        return server.tls().isPresent() && !secure
                ? answerBeforeTls(option, request)
                : answer(option, request);
    }

    /** "FORCEDTLS mode". */
    private Step answerBeforeTls(int option, OptionRequest request) throws IOException {
        return switch (request) {
            case OptionRequest.StartTls _, OptionRequest.Abort _ -> answer(option, request);
            case OptionRequest.ExportName _ -> Step.OVER;
            default ->
                    fail(
                            option,
                            Reason.TLS_REQD,
                            "Option 0x%x not permitted before TLS".formatted(option));
        };
    }

    private Step startTls(int option) throws IOException {
        if (server.tls().isEmpty()) {
            return fail(option, Reason.POLICY, "TLS not configured");
        }
        if (secure) {
            return fail(option, Reason.INVALID, "TLS already enabled");
        }
        if (in.available() > 0) {
            // Said before TLS, to be believed after it: somebody in between may have put it there
            return Step.OVER;
        }
        acknowledge(option);
        link = session.startTls(server.tls().get());
        secure = true;
        // "the server MUST NOT preserve any negotiation state"
        style = ReplyStyle.SIMPLE;
        contextsOf = "";
        contexts = List.of();
        return Step.NEXT;
    }

    private Step tooLong(int option, long length) throws IOException {
        for (long left = length; left > 0; ) {
            receive(1);
            int n = (int) Math.min(left, in.available());
            in.start += n;
            left -= n;
        }
        if (!fixed || option == OptionRequest.EXPORT_NAME) {
            return Step.OVER;
        }
        if (server.tls().isPresent() && !secure) {
            return answerBeforeTls(option, new OptionRequest.Unknown(option));
        }
        if (OptionRequest.decode(option, new byte[0]) instanceof OptionRequest.Unknown unknown) {
            return answer(option, unknown);
        }
        return fail(
                option, Reason.TOO_BIG, "option '" + OptionRequest.name(option) + "' is too long");
    }

    private Step answer(int option, OptionRequest request) throws IOException {
        return switch (request) {
            case OptionRequest.ExportName(String name) -> exportName(name);
            case OptionRequest.Abort() -> {
                abort(option);
                yield Step.OVER;
            }
            case OptionRequest.ListExports() -> {
                for (NbdExport export : server.exports()) {
                    if (!export.lists(session.identity())) {
                        continue;
                    }
                    send(option, new OptionReply.Server(export.name(), export.description()));
                }
                yield acknowledge(option);
            }
            case OptionRequest.StartTls() -> startTls(option);
            case OptionRequest.Info info -> info(option, info);
            case OptionRequest.StructuredReply() -> structuredReply(option);
            case OptionRequest.ExtendedHeaders() -> extendedHeaders(option);
            case OptionRequest.MetaContext query -> metaContext(option, query);
            case OptionRequest.Malformed(int _, String text) -> malformed(option, text);
            case OptionRequest.Unknown(int _) ->
                    fail(
                            option,
                            Reason.UNSUP,
                            "Unsupported option %s (%s)"
                                    .formatted(
                                            Integer.toUnsignedString(option),
                                            OptionRequest.name(option)));
        };
    }

    private Step malformed(int option, String text) throws IOException {
        return option == OptionRequest.EXPORT_NAME
                ? Step.OVER // has no way to say no
                : fail(option, Reason.INVALID, text);
    }

    /** NBD_OPT_ABORT: "gracefully handle the client ... closing the connection without waiting". */
    private void abort(int option) {
        try {
            acknowledge(option);
        } catch (IOException e) {
            // gone already
        }
    }

    private Step structuredReply(int option) throws IOException {
        return switch (style) {
            case SIMPLE -> {
                style = ReplyStyle.STRUCTURED;
                yield acknowledge(option);
            }
            case STRUCTURED -> fail(option, Reason.INVALID, "structured reply already negotiated");
            case EXTENDED ->
                    fail(option, Reason.EXT_HEADER_REQD, "extended headers already negotiated");
        };
    }

    private Step extendedHeaders(int option) throws IOException {
        if (style == ReplyStyle.EXTENDED) {
            return fail(option, Reason.INVALID, "extended headers already negotiated");
        }
        style = ReplyStyle.EXTENDED;
        return acknowledge(option);
    }

    private Step exportName(String name) throws IOException {
        Optional<NbdExport> export = server.export(name);
        if (export.isEmpty()
                || !export.get().serves(session.identity())
                || style == ReplyStyle.EXTENDED // "a client MUST NOT use NBD_OPT_EXPORT_NAME"
                || !export.get().attach(session)) {
            return Step.OVER;
        }
        Terms terms = terms(export.get(), name);
        send(Handshake.exportNameReply(terms.size(), terms.flags(), noZeroes));
        return new Step.Serve(terms);
    }

    private Terms terms(NbdExport export, String name) {
        List<MetaContext> selected = contextsOf.equals(name) ? contexts : List.of();
        return new Terms(
                export,
                style,
                export.size(),
                export.transmissionFlags(style, !selected.isEmpty(), session.identity()),
                selected);
    }

    private Step info(int option, OptionRequest.Info info) throws IOException {
        Optional<NbdExport> found = server.export(info.name());
        if (found.isEmpty()) {
            return notPresent(option, info.name());
        }
        NbdExport export = found.get();
        if (!export.serves(session.identity())) {
            return notPermitted(option, export);
        }
        Terms terms = terms(export, info.name());
        Set<Integer> requests = info.requests();
        if (requests.contains(OptionReply.INFO_NAME)) {
            send(option, new OptionReply.TextInfo(OptionReply.INFO_NAME, export.name()));
        }
        if (!export.description().isEmpty()) {
            send(
                    option,
                    new OptionReply.TextInfo(OptionReply.INFO_DESCRIPTION, export.description()));
        }
        boolean sizes = requests.contains(OptionReply.INFO_BLOCK_SIZE);
        int alignment = export.node().limits().requestAlignment();
        int minimum = sizes || !info.go() ? alignment : 1;
        send(
                option,
                new OptionReply.BlockSizeInfo(
                        minimum,
                        Math.max(4096, minimum),
                        (int) Math.min(export.node().limits().maxTransfer(), Command.MAX_PAYLOAD)));
        send(option, new OptionReply.ExportInfo(terms.size(), terms.flags()));
        if (!info.go() && !sizes && alignment > 1) {
            return fail(
                    option,
                    Reason.BLOCK_SIZE_REQD,
                    "request NBD_INFO_BLOCK_SIZE to use this export");
        }
        if (!info.go()) {
            return acknowledge(option);
        }
        if (!export.attach(session)) {
            return notPresent(option, info.name());
        }
        acknowledge(option);
        return new Step.Serve(terms);
    }

    private Step notPresent(int option, String name) throws IOException {
        return fail(option, Reason.UNKNOWN, "export '%s' not present".formatted(shortened(name)));
    }

    /** Who may not even list the export must not learn that it is there. */
    private Step notPermitted(int option, NbdExport export) throws IOException {
        return export.lists(session.identity())
                ? fail(
                        option,
                        Reason.POLICY,
                        "export '%s' is not for this client".formatted(shortened(export.name())))
                : notPresent(option, export.name());
    }

    private static String shortened(String name) {
        byte[] bytes = name.getBytes(StandardCharsets.UTF_8);
        return bytes.length < MAX_NAME_IN_TEXT
                ? name
                : new String(bytes, 0, MAX_NAME_IN_TEXT, StandardCharsets.UTF_8) + "...";
    }

    private Step metaContext(int option, OptionRequest.MetaContext query) throws IOException {
        if (query.set()) {
            // "replaces all previously-set metadata contexts (including when this command fails)"
            contextsOf = "";
            contexts = List.of();
        }
        if (style == ReplyStyle.SIMPLE) {
            return fail(
                    option,
                    Reason.INVALID,
                    "request option '%s' when structured reply is not negotiated"
                            .formatted(OptionRequest.name(option)));
        }
        Optional<NbdExport> export = server.export(query.export());
        if (export.isEmpty()) {
            return notPresent(option, query.export());
        }
        if (!export.get().serves(session.identity())) {
            return notPermitted(option, export.get());
        }
        List<MetaContext> found =
                MetaContext.matching(export.get().contexts(), query.queries(), !query.set());
        for (MetaContext context : found) {
            // NBD_OPT_LIST_META_CONTEXT: the id "is reserved and SHOULD be set to zero"
            send(option, new OptionReply.Context(query.set() ? context.id() : 0, context.name()));
        }
        if (query.set()) {
            contextsOf = query.export();
            contexts = found;
        }
        return acknowledge(option);
    }

    private Step acknowledge(int option) throws IOException {
        send(option, new OptionReply.Ack());
        return Step.NEXT;
    }

    private Step fail(int option, Reason reason, String text) throws IOException {
        send(option, new OptionReply.Failure(reason, text));
        return Step.NEXT;
    }

    private void send(int option, OptionReply reply) throws IOException {
        send(reply.encode(option));
    }

    private void send(byte[] bytes) throws IOException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment copy = arena.allocateFrom(ValueLayout.JAVA_BYTE, bytes);
            link.add(copy, 0, bytes.length);
            link.flush(false);
        }
    }

    /** Waits until {@code bytes} are there. */
    private void receive(int bytes) throws IOException {
        in.require(bytes);
        while (in.available() < bytes) {
            if (in.fill(link) == 0) {
                throw new EOFException("the client has gone");
            }
        }
    }
}

package io.blockwharf.nbd.wire;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** An option that a client asks for, in both directions. proto.md, "Option types". */
public sealed interface OptionRequest {
    /** NBD_OPT_EXPORT_NAME. */
    int EXPORT_NAME = 1;

    /** NBD_OPT_ABORT. */
    int ABORT = 2;

    /** NBD_OPT_LIST. */
    int LIST = 3;

    /** NBD_OPT_PEEK_EXPORT, withdrawn. */
    int PEEK_EXPORT = 4;

    /** NBD_OPT_STARTTLS. */
    int STARTTLS = 5;

    /** NBD_OPT_INFO. */
    int INFO = 6;

    /** NBD_OPT_GO. */
    int GO = 7;

    /** NBD_OPT_STRUCTURED_REPLY. */
    int STRUCTURED_REPLY = 8;

    /** NBD_OPT_LIST_META_CONTEXT. */
    int LIST_META_CONTEXT = 9;

    /** NBD_OPT_SET_META_CONTEXT. */
    int SET_META_CONTEXT = 10;

    /** NBD_OPT_EXTENDED_HEADERS. */
    int EXTENDED_HEADERS = 11;

    /** Longest string. "Conventions". */
    int MAX_STRING_BYTES = 4096;

    /** Ends the negotiation with an export, without a way to refuse. */
    record ExportName(String name) implements OptionRequest {}

    /** Ends the connection. */
    record Abort() implements OptionRequest {}

    /** Asks for the names of the exports. */
    record ListExports() implements OptionRequest {}

    /** Asks for TLS. */
    record StartTls() implements OptionRequest {}

    /**
     * Asks about an export.
     *
     * @param go whether to use it if that succeeds
     * @param requests the kinds of information, {@link OptionReply}'s {@code INFO_*}
     */
    record Info(boolean go, String name, Set<Integer> requests) implements OptionRequest {}

    /** Asks for structured replies. */
    record StructuredReply() implements OptionRequest {}

    /**
     * Asks for metadata contexts.
     *
     * @param set whether to select them
     */
    record MetaContext(boolean set, String export, List<String> queries) implements OptionRequest {}

    /** Asks for extended headers. */
    record ExtendedHeaders() implements OptionRequest {}

    /** An option that this server does not know. */
    record Unknown(int option) implements OptionRequest {}

    /** A known option whose data is not what it should be; the reason for people. */
    record Malformed(int option, String text) implements OptionRequest {}

    /** The option's name for messages. */
    static String name(int option) {
        return switch (option) {
            case EXPORT_NAME -> "export name";
            case ABORT -> "abort";
            case LIST -> "list";
            case PEEK_EXPORT -> "peek export";
            case STARTTLS -> "starttls";
            case INFO -> "info";
            case GO -> "go";
            case STRUCTURED_REPLY -> "structured reply";
            case LIST_META_CONTEXT -> "list meta context";
            case SET_META_CONTEXT -> "set meta context";
            case EXTENDED_HEADERS -> "extended headers";
            default -> "<unknown>";
        };
    }

    /** Whether the header of an option begins with its magic number. */
    static boolean magicValid(long magic) {
        return magic == Handshake.OPTION_MAGIC;
    }

    /**
     * Reads an option.
     *
     * @param data all of the option's data
     */
    static OptionRequest decode(int option, byte[] data) {
        return switch (option) {
            case EXPORT_NAME ->
                    data.length > MAX_STRING_BYTES
                            ? new Malformed(option, "export name too long")
                            : new ExportName(new String(data, StandardCharsets.UTF_8));
            case ABORT -> new Abort(); // "a server SHOULD ignore any data"
            case LIST -> empty(option, data, new ListExports());
            case STARTTLS -> empty(option, data, new StartTls());
            case STRUCTURED_REPLY -> empty(option, data, new StructuredReply());
            case EXTENDED_HEADERS -> empty(option, data, new ExtendedHeaders());
            case INFO, GO -> info(option, ByteBuffer.wrap(data));
            case LIST_META_CONTEXT, SET_META_CONTEXT -> metaContext(option, ByteBuffer.wrap(data));
            default -> new Unknown(option);
        };
    }

    /** Encodes it with its header, as a client sends it. */
    default byte[] encode() {
        return switch (this) {
            case ExportName(String name) -> option(EXPORT_NAME, utf8(name));
            case Abort() -> option(ABORT);
            case ListExports() -> option(LIST);
            case StartTls() -> option(STARTTLS);
            case StructuredReply() -> option(STRUCTURED_REPLY);
            case ExtendedHeaders() -> option(EXTENDED_HEADERS);
            case Info(boolean go, String name, Set<Integer> requests) -> {
                ByteBuffer numbers = ByteBuffer.allocate(2 + 2 * requests.size());
                numbers.putShort((short) requests.size());
                requests.forEach(number -> numbers.putShort(number.shortValue()));
                yield option(go ? GO : INFO, counted(name), numbers.array());
            }
            case MetaContext(boolean set, String export, List<String> queries) -> {
                List<byte[]> parts = new ArrayList<>();
                parts.add(counted(export));
                parts.add(ByteBuffer.allocate(4).putInt(queries.size()).array());
                queries.forEach(query -> parts.add(counted(query)));
                yield option(
                        set ? SET_META_CONTEXT : LIST_META_CONTEXT, parts.toArray(byte[][]::new));
            }
            case Unknown(int option) -> option(option);
            case Malformed _ -> throw new IllegalStateException("only received, never sent");
        };
    }

    private static byte[] option(int option, byte[]... data) {
        int length = 0;
        for (byte[] part : data) {
            length += part.length;
        }
        ByteBuffer out = ByteBuffer.allocate(Handshake.OPTION_HEADER_BYTES + length);
        out.putLong(Handshake.OPTION_MAGIC).putInt(option).putInt(length);
        for (byte[] part : data) {
            out.put(part);
        }
        return out.array();
    }

    private static byte[] counted(String text) {
        byte[] bytes = utf8(text);
        return ByteBuffer.allocate(4 + bytes.length).putInt(bytes.length).put(bytes).array();
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    private static OptionRequest empty(int option, byte[] data, OptionRequest request) {
        return data.length == 0 ? request : unexpectedLength(option);
    }

    private static Malformed unexpectedLength(int option) {
        return new Malformed(option, "option '" + name(option) + "' has unexpected length");
    }

    private static OptionRequest info(int option, ByteBuffer in) {
        try {
            String name = string(in);
            int count = Short.toUnsignedInt(in.getShort());
            if (in.remaining() != 2 * count) {
                return unexpectedLength(option);
            }
            Set<Integer> requests = new HashSet<>();
            while (in.hasRemaining()) {
                requests.add(Short.toUnsignedInt(in.getShort()));
            }
            return new Info(option == GO, name, Set.copyOf(requests));
        } catch (BufferUnderflowException e) {
            return unexpectedLength(option);
        }
    }

    private static OptionRequest metaContext(int option, ByteBuffer in) {
        try {
            String export = string(in);
            long count = Integer.toUnsignedLong(in.getInt());
            List<String> queries = new ArrayList<>();
            for (long i = 0; i < count; i++) {
                queries.add(string(in)); // takes at least 4 bytes or ends the loop
            }
            return in.hasRemaining()
                    ? unexpectedLength(option)
                    : new MetaContext(option == SET_META_CONTEXT, export, List.copyOf(queries));
        } catch (BufferUnderflowException e) {
            return unexpectedLength(option);
        }
    }

    private static String string(ByteBuffer in) {
        int length = in.getInt();
        if (length < 0 || length > in.remaining() || length > MAX_STRING_BYTES) {
            throw new BufferUnderflowException();
        }
        String string = new String(in.array(), in.position(), length, StandardCharsets.UTF_8);
        in.position(in.position() + length);
        return string;
    }
}

package io.blockwharf.nbd.wire;

import java.net.ProtocolException;
import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** The answer to an option, or a part of it. proto.md, "Option reply types". */
public sealed interface OptionReply {
    /** NBD_INFO_EXPORT. */
    int INFO_EXPORT = 0;

    /** NBD_INFO_NAME. */
    int INFO_NAME = 1;

    /** NBD_INFO_DESCRIPTION. */
    int INFO_DESCRIPTION = 2;

    /** NBD_INFO_BLOCK_SIZE. */
    int INFO_BLOCK_SIZE = 3;

    /** The magic number of a reply. "Fixed newstyle negotiation". */
    long MAGIC = 0x3e889045565a9L;

    /** Done. */
    record Ack() implements OptionReply {}

    /** One export of a list. */
    record Server(String name, String description) implements OptionReply {}

    /** Size and transmission flags of the export. */
    record ExportInfo(long size, int transmissionFlags) implements OptionReply {}

    /** A string about the export: {@link #INFO_NAME} or {@link #INFO_DESCRIPTION}. */
    record TextInfo(int kind, String text) implements OptionReply {}

    /** Size constraints, bytes. */
    record BlockSizeInfo(int minimum, int preferred, int maximum) implements OptionReply {}

    /** A metadata context. */
    record Context(int id, String name) implements OptionReply {}

    /** Information of a kind that nobody has asked for; ignored. */
    record UnknownInfo(int kind) implements OptionReply {}

    /** Refused, for a reason that has no name here. */
    record UnknownFailure(int type, String text) implements OptionReply {}

    /** Refused. */
    record Failure(Reason reason, String text) implements OptionReply {}

    /** Why an option is refused; all have bit 31 set. */
    enum Reason {
        /** Unknown option. */
        UNSUP(1),
        /** Not allowed here. */
        POLICY(2),
        /** Malformed, or at the wrong time. */
        INVALID(3),
        /** Needs something that this build or host does not have. */
        PLATFORM(4),
        /** Only over TLS. */
        TLS_REQD(5),
        /** There is no such export. */
        UNKNOWN(6),
        /** The server is shutting down. */
        SHUTDOWN(7),
        /** The client has to ask for the block sizes. */
        BLOCK_SIZE_REQD(8),
        /** Too large to process. */
        TOO_BIG(9),
        /** Extended headers take precedence. */
        EXT_HEADER_REQD(10);

        private final int number;

        Reason(int number) {
            this.number = 1 << 31 | number;
        }

        /** The reply type on the wire. */
        public int number() {
            return number;
        }
    }

    /** Bytes in front of a reply's data: magic, option, type, length. */
    int HEADER_BYTES = 20;

    /**
     * Reads a reply.
     *
     * @param type as on the wire
     * @param data all of the reply's data
     * @throws ProtocolException if the data is not what the type demands, or the type is unknown
     */
    static OptionReply decode(int type, byte[] data) throws ProtocolException {
        ByteBuffer in = ByteBuffer.wrap(data);
        try {
            OptionReply reply =
                    switch (type) {
                        case 1 -> new Ack();
                        case 2 -> {
                            String name = text(in, in.getInt());
                            yield new Server(name, text(in, in.remaining()));
                        }
                        case 3 -> info(in);
                        case 4 -> new Context(in.getInt(), text(in, in.remaining()));
                        default -> failure(type, text(in, in.remaining()));
                    };
            if (in.hasRemaining()) {
                throw new ProtocolException("option reply of type %d is too long".formatted(type));
            }
            return reply;
        } catch (BufferUnderflowException e) {
            throw new ProtocolException("option reply of type %d is too short".formatted(type));
        }
    }

    private static OptionReply info(ByteBuffer in) {
        int kind = Short.toUnsignedInt(in.getShort());
        return switch (kind) {
            case INFO_EXPORT -> new ExportInfo(in.getLong(), Short.toUnsignedInt(in.getShort()));
            case INFO_BLOCK_SIZE -> new BlockSizeInfo(in.getInt(), in.getInt(), in.getInt());
            case INFO_NAME, INFO_DESCRIPTION -> new TextInfo(kind, text(in, in.remaining()));
            default -> {
                in.position(in.limit());
                yield new UnknownInfo(kind);
            }
        };
    }

    private static OptionReply failure(int type, String text) throws ProtocolException {
        if (type >= 0) {
            throw new ProtocolException("unexpected option reply of type %d".formatted(type));
        }
        for (Reason reason : Reason.values()) {
            if (reason.number() == type) {
                return new Failure(reason, text);
            }
        }
        return new UnknownFailure(type, text);
    }

    private static String text(ByteBuffer in, int length) {
        if (length < 0 || length > in.remaining()) {
            throw new BufferUnderflowException();
        }
        String text = new String(in.array(), in.position(), length, StandardCharsets.UTF_8);
        in.position(in.position() + length);
        return text;
    }

    /** Encodes the reply to {@code option}. */
    default byte[] encode(int option) {
        return switch (this) {
            case Ack() -> reply(option, 1, 0).array();
            case Server(String name, String description) -> {
                byte[] n = utf8(name);
                byte[] d = utf8(description);
                yield reply(option, 2, 4 + n.length + d.length)
                        .putInt(n.length)
                        .put(n)
                        .put(d)
                        .array();
            }
            case ExportInfo(long size, int flags) ->
                    reply(option, 3, 12)
                            .putShort((short) INFO_EXPORT)
                            .putLong(size)
                            .putShort((short) flags)
                            .array();
            case TextInfo(int kind, String text) -> {
                byte[] t = utf8(text);
                yield reply(option, 3, 2 + t.length).putShort((short) kind).put(t).array();
            }
            case BlockSizeInfo(int minimum, int preferred, int maximum) ->
                    reply(option, 3, 14)
                            .putShort((short) INFO_BLOCK_SIZE)
                            .putInt(minimum)
                            .putInt(preferred)
                            .putInt(maximum)
                            .array();
            case Context(int id, String name) -> {
                byte[] n = utf8(name);
                yield reply(option, 4, 4 + n.length).putInt(id).put(n).array();
            }
            case UnknownInfo _, UnknownFailure _ ->
                    throw new IllegalStateException("only received, never sent");
            case Failure(Reason reason, String text) -> {
                byte[] t = utf8(text);
                yield reply(option, reason.number(), t.length).put(t).array();
            }
        };
    }

    private static ByteBuffer reply(int option, int type, int length) {
        return ByteBuffer.allocate(20 + length)
                .putLong(MAGIC)
                .putInt(option)
                .putInt(type)
                .putInt(length);
    }

    private static byte[] utf8(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }
}

package io.blockwharf.nbd.wire;

import java.net.ProtocolException;
import java.nio.ByteBuffer;

/**
 * The first bytes of a connection and its final ones before transmission. proto.md, "Newstyle
 * negotiation".
 */
public final class Handshake {
    /** {@code NBDMAGIC}. */
    static final long NBD_MAGIC = 0x4e42444d41474943L;

    /** {@code IHAVEOPT}: in the greeting, and in front of each option. */
    static final long OPTION_MAGIC = 0x49484156454F5054L;

    /** Handshake flag and client flag of fixed newstyle negotiation. "Handshake flags". */
    public static final int FIXED_NEWSTYLE = 1;

    /** Handshake flag and client flag: no 124 zeroes after EXPORT_NAME. "Handshake flags". */
    public static final int NO_ZEROES = 2;

    /** Bytes of the client flags. */
    public static final int CLIENT_FLAGS_BYTES = 4;

    /** Bytes in front of an option's data: magic, option, length. */
    public static final int OPTION_HEADER_BYTES = 16;

    /** An option longer than this is taken for an attack. */
    public static final long MAX_OPTION_BYTES = 32 << 20;

    private static final int RESERVED_ZEROES = 124;

    private Handshake() {}

    /** Bytes of {@link #greeting}. */
    public static final int GREETING_BYTES = 18;

    /**
     * Reads what the server says first; the sentences are those of QEMU's client.
     *
     * @return the handshake flags
     * @throws ProtocolException if it is no NBD server, or one that does not negotiate
     */
    public static int flags(byte[] greeting) throws ProtocolException {
        ByteBuffer in = ByteBuffer.wrap(greeting);
        long initial = in.getLong();
        if (initial != NBD_MAGIC) {
            throw new ProtocolException("Bad initial magic received: 0x%016x".formatted(initial));
        }
        long magic = in.getLong();
        if (magic != OPTION_MAGIC) {
            throw new ProtocolException("Bad server magic received: 0x%016x".formatted(magic));
        }
        int flags = Short.toUnsignedInt(in.getShort());
        if ((flags & FIXED_NEWSTYLE) == 0) {
            throw new ProtocolException("Server does not support fixed newstyle negotiation");
        }
        return flags;
    }

    /** The client's flags for those of the server. "Client flags". */
    public static byte[] clientFlags(int handshakeFlags) {
        return ByteBuffer.allocate(CLIENT_FLAGS_BYTES)
                .putInt(handshakeFlags & (FIXED_NEWSTYLE | NO_ZEROES))
                .array();
    }

    /** Bytes of {@link #exportNameReply}. */
    public static int exportNameReplyBytes(boolean noZeroes) {
        return noZeroes ? 10 : 10 + RESERVED_ZEROES;
    }

    /** What the server says first. */
    public static byte[] greeting() {
        return ByteBuffer.allocate(GREETING_BYTES)
                .putLong(NBD_MAGIC)
                .putLong(OPTION_MAGIC)
                .putShort((short) (FIXED_NEWSTYLE | NO_ZEROES))
                .array();
    }

    /**
     * Whether the client's flags are known. If not, "the server MUST drop the TCP connection"
     * ("Client flags").
     */
    public static boolean clientFlagsValid(int flags) {
        return (flags & ~(FIXED_NEWSTYLE | NO_ZEROES)) == 0;
    }

    /** The answer to EXPORT_NAME. "Newstyle negotiation". */
    public static byte[] exportNameReply(long size, int transmissionFlags, boolean noZeroes) {
        return ByteBuffer.allocate(exportNameReplyBytes(noZeroes))
                .putLong(size)
                .putShort((short) transmissionFlags)
                .array();
    }
}

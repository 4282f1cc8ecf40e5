package io.blockwharf.nbd.wire;

/** What an export can do. proto.md, "Transmission flags". */
public final class TransmissionFlags {
    /** Always set. */
    public static final int HAS_FLAGS = 1;

    /** Writing commands fail. */
    public static final int READ_ONLY = 1 << 1;

    /** FLUSH is understood. */
    public static final int SEND_FLUSH = 1 << 2;

    /** {@link CommandFlags#FUA} is understood. */
    public static final int SEND_FUA = 1 << 3;

    /** TRIM is understood. */
    public static final int SEND_TRIM = 1 << 5;

    /** WRITE_ZEROES and {@link CommandFlags#NO_HOLE} are understood. */
    public static final int SEND_WRITE_ZEROES = 1 << 6;

    /** {@link CommandFlags#DF} is understood. */
    public static final int SEND_DF = 1 << 7;

    /** Several connections see each other's writes after a flush. */
    public static final int CAN_MULTI_CONN = 1 << 8;

    /** CACHE is understood. */
    public static final int SEND_CACHE = 1 << 10;

    /** {@link CommandFlags#FAST_ZERO} is understood. */
    public static final int SEND_FAST_ZERO = 1 << 11;

    /** BLOCK_STATUS with a list of contexts. EXTENDED_HEADERS, "Transmission flags". */
    public static final int BLOCK_STATUS_PAYLOAD = 1 << 12;

    private TransmissionFlags() {}
}

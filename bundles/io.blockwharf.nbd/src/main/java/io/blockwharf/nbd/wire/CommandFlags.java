package io.blockwharf.nbd.wire;

/** Flags of a request. proto.md, "Command flags". */
public final class CommandFlags {
    /** The effect is on stable storage before the reply. Valid with every command. */
    public static final int FUA = 1;

    /** WRITE_ZEROES shall not give storage back. */
    public static final int NO_HOLE = 1 << 1;

    /** READ shall answer in one piece. */
    public static final int DF = 1 << 2;

    /** BLOCK_STATUS shall answer with one extent. */
    public static final int REQ_ONE = 1 << 3;

    /** WRITE_ZEROES shall be faster than writing, or fail. */
    public static final int FAST_ZERO = 1 << 4;

    /** The length is that of a payload which follows. EXTENDED_HEADERS, "Command flags". */
    public static final int PAYLOAD_LEN = 1 << 5;

    private CommandFlags() {}
}

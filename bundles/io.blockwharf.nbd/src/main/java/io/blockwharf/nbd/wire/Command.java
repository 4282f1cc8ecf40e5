package io.blockwharf.nbd.wire;

/** Request types. proto.md, "Request types". Plain numbers: they are read once per request. */
public final class Command {
    /** Returns bytes. */
    public static final int READ = 0;

    /** Brings bytes. */
    public static final int WRITE = 1;

    /** Ends the connection; has no reply. */
    public static final int DISC = 2;

    /** Makes finished writes durable. */
    public static final int FLUSH = 3;

    /** Says that bytes are not needed any more. */
    public static final int TRIM = 4;

    /** Says that bytes will be read soon. */
    public static final int CACHE = 5;

    /** Makes bytes zero. */
    public static final int WRITE_ZEROES = 6;

    /** Asks for the state of bytes. */
    public static final int BLOCK_STATUS = 7;

    /** Most bytes that a request or the data of its reply may carry. "Size constraints". */
    public static final int MAX_PAYLOAD = 32 << 20;

    private Command() {}

    /** The name for messages, {@code <unknown>} for other numbers. */
    public static String name(int type) {
        return switch (type) {
            case READ -> "read";
            case WRITE -> "write";
            case DISC -> "disconnect";
            case FLUSH -> "flush";
            case TRIM -> "discard";
            case CACHE -> "cache";
            case WRITE_ZEROES -> "write zeroes";
            case BLOCK_STATUS -> "block status";
            default -> "<unknown>";
        };
    }
}

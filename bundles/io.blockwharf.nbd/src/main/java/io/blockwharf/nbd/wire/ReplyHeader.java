package io.blockwharf.nbd.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.net.ProtocolException;
import java.nio.ByteOrder;

/**
 * The header of a reply or of a chunk of one, read where it lies; the layouts stand in {@link
 * ReplyStyle}. One object per connection serves all replies; it belongs to the thread that
 * receives.
 */
public final class ReplyHeader {
    /** A chunk that only ends its reply. "Structured reply types". */
    public static final int NONE = ReplyStyle.TYPE_NONE;

    /** Offset 64, then data. */
    public static final int OFFSET_DATA = ReplyStyle.TYPE_OFFSET_DATA;

    /** Offset 64, length 32. */
    public static final int OFFSET_HOLE = ReplyStyle.TYPE_OFFSET_HOLE;

    /** Context 32, then extents of length 32 and state 32. */
    public static final int BLOCK_STATUS = ReplyStyle.TYPE_BLOCK_STATUS;

    /** Context 32, count 32, then extents of length 64 and state 64. */
    public static final int BLOCK_STATUS_EXT = ReplyStyle.TYPE_BLOCK_STATUS_EXT;

    /** Bit of the types that are errors: number 32, length of text 16, text. */
    private static final int ERROR_BIT = 1 << 15;

    private static final ValueLayout.OfInt INT = JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
    private static final ValueLayout.OfLong LONG =
            JAVA_LONG_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

    private final ReplyStyle style;
    private int bytes;
    private boolean simple;
    private int error;
    private boolean done;
    private int type;
    private long cookie;
    private long length;

    /** Reads headers of the style that was agreed on. */
    public ReplyHeader(ReplyStyle style) {
        this.style = style;
    }

    /**
     * Reads a header.
     *
     * @param available bytes that are there from {@code at} on
     * @return false if the header is not there in full
     * @throws ProtocolException if it is none, or one that was not agreed on
     */
    public boolean read(MemorySegment in, long at, long available) throws ProtocolException {
        if (available < 4) {
            return false;
        }
        int magic = in.get(INT, at);
        simple = magic == ReplyStyle.SIMPLE_MAGIC && style != ReplyStyle.EXTENDED;
        if (simple) {
            bytes = 16;
        } else if (style == ReplyStyle.STRUCTURED && magic == ReplyStyle.STRUCTURED_MAGIC) {
            bytes = 20;
        } else if (style == ReplyStyle.EXTENDED && magic == ReplyStyle.EXTENDED_MAGIC) {
            bytes = 32;
        } else {
            throw new ProtocolException("invalid magic number 0x%08x of a reply".formatted(magic));
        }
        if (available < bytes) {
            return false;
        }
        int word = in.get(INT, at + 4);
        cookie = in.get(LONG, at + 8);
        error = simple ? word : 0;
        done = simple || (word >>> 16 & ReplyStyle.FLAG_DONE) != 0;
        type = simple ? NONE : word & 0xffff;
        length =
                switch (bytes) {
                    case 16 -> 0;
                    case 20 -> Integer.toUnsignedLong(in.get(INT, at + 16));
                    default -> in.get(LONG, at + 24);
                };
        return true;
    }

    /** Bytes of the header. */
    public int bytes() {
        return bytes;
    }

    /** Whether it is a simple reply. */
    public boolean isSimple() {
        return simple;
    }

    /** The error of a simple reply, 0 for none. */
    public int error() {
        return error;
    }

    /** Whether it is the last chunk of its reply. */
    public boolean isDone() {
        return done;
    }

    /** The type of the chunk, also an unknown one. */
    public int type() {
        return type;
    }

    /** Whether the chunk tells of an error; unknown types may do so, too. */
    public boolean isError() {
        return (type & ERROR_BIT) != 0;
    }

    /** Whose reply it is, if the server is honest. */
    public long cookie() {
        return cookie;
    }

    /** Bytes of the chunk that follow the header; unsigned, so negative is too much. */
    public long length() {
        return length;
    }
}

package io.blockwharf.nbd.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;

/**
 * How replies look on a connection, and their encoders. proto.md, "Simple reply message",
 * "Structured reply chunk message"; EXTENDED_HEADERS, "Extended reply chunk message".
 *
 * <pre>
 *   simple     (16): magic 32 | error 32 | cookie 64
 *   structured (20): magic 32 | flags 16 | type 16 | cookie 64 | payload length 32
 *   extended   (32): magic 32 | flags 16 | type 16 | cookie 64 | request's offset 64 | payload length 64
 * </pre>
 *
 * An encoder writes at {@code at} and returns how many bytes it wrote. {@code origin} is the offset
 * of the request, which only extended headers carry.
 */
public enum ReplyStyle {
    /** Nothing was negotiated. */
    SIMPLE,
    /**
     * STRUCTURED_REPLY was: chunks for READ, BLOCK_STATUS and errors, simple replies for the rest.
     */
    STRUCTURED,
    /** EXTENDED_HEADERS was: chunks for everything. */
    EXTENDED;

    /** Most bytes of any header in front of the data of a read. */
    public static final int MAX_DATA_HEADER_BYTES = 40;

    /** Most bytes of an error reply. */
    public static final int MAX_ERROR_BYTES = 32 + 6 + ReplyStyle.MAX_TEXT_BYTES + 8;

    private static final int MAX_TEXT_BYTES = 512;

    static final int SIMPLE_MAGIC = 0x67446698;
    static final int STRUCTURED_MAGIC = 0x668e33ef;
    static final int EXTENDED_MAGIC = 0x6e8a278c;

    /** "Structured reply flags". */
    static final int FLAG_DONE = 1;

    /** "Structured reply types". */
    static final int TYPE_NONE = 0;

    static final int TYPE_OFFSET_DATA = 1;
    static final int TYPE_OFFSET_HOLE = 2;
    static final int TYPE_BLOCK_STATUS = 5;
    static final int TYPE_BLOCK_STATUS_EXT = 6;
    static final int TYPE_ERROR = (1 << 15) + 1;
    static final int TYPE_ERROR_OFFSET = (1 << 15) + 2;

    private static final ValueLayout.OfShort SHORT =
            JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
    private static final ValueLayout.OfInt INT = JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
    private static final ValueLayout.OfLong LONG =
            JAVA_LONG_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

    /** Bytes that {@link #data} writes. */
    public int dataHeaderBytes() {
        return switch (this) {
            case SIMPLE -> 16;
            case STRUCTURED -> 28;
            case EXTENDED -> 40;
        };
    }

    /**
     * What stands in front of {@code length} bytes of data from {@code offset} on.
     *
     * @param done whether it is the last chunk of the reply; simple replies have only one
     */
    public int data(
            MemorySegment out,
            long at,
            long cookie,
            long origin,
            long offset,
            int length,
            boolean done) {
        if (this == SIMPLE) {
            return simple(out, at, cookie, 0);
        }
        int header = chunk(out, at, TYPE_OFFSET_DATA, cookie, origin, length + 8L, done);
        out.set(LONG, at + header, offset);
        return header + 8;
    }

    /** A run of zeroes in the reply to a read. Not for simple replies. */
    public int hole(
            MemorySegment out,
            long at,
            long cookie,
            long origin,
            long offset,
            int length,
            boolean done) {
        int header = chunk(out, at, TYPE_OFFSET_HOLE, cookie, origin, 12, done);
        out.set(LONG, at + header, offset);
        out.set(INT, at + header + 8, length);
        return header + 12;
    }

    /** A request other than READ and BLOCK_STATUS has succeeded. */
    public int success(MemorySegment out, long at, long cookie, long origin) {
        return this == EXTENDED
                ? chunk(out, at, TYPE_NONE, cookie, origin, 0, true)
                : simple(out, at, cookie, 0);
    }

    /** The end of a reply in chunks none of which was the last. Not for simple replies. */
    public int end(MemorySegment out, long at, long cookie, long origin) {
        return chunk(out, at, TYPE_NONE, cookie, origin, 0, true);
    }

    /**
     * A request has failed.
     *
     * @param text for people; left out of simple replies, and cut if it is long
     */
    public int error(
            MemorySegment out, long at, long cookie, long origin, NbdError error, String text) {
        if (this == SIMPLE) {
            return simple(out, at, cookie, error.number());
        }
        byte[] message = bytes(text);
        int header = chunk(out, at, TYPE_ERROR, cookie, origin, 6L + message.length, true);
        return header + errorPayload(out, at + header, error, message);
    }

    /**
     * A read has failed at {@code offset}, after a chunk that covers it. Not for simple replies.
     */
    public int errorOffset(
            MemorySegment out,
            long at,
            long cookie,
            long origin,
            NbdError error,
            String text,
            long offset) {
        byte[] message = bytes(text);
        int header = chunk(out, at, TYPE_ERROR_OFFSET, cookie, origin, 14L + message.length, true);
        int payload = errorPayload(out, at + header, error, message);
        out.set(LONG, at + header + payload, offset);
        return header + payload + 8;
    }

    private static int errorPayload(MemorySegment out, long at, NbdError error, byte[] message) {
        out.set(INT, at, error.number());
        out.set(SHORT, at + 4, (short) message.length);
        MemorySegment.copy(message, 0, out, JAVA_BYTE, at + 6, message.length);
        return 6 + message.length;
    }

    private static byte[] bytes(String text) {
        byte[] message = text.getBytes(StandardCharsets.UTF_8);
        if (message.length <= MAX_TEXT_BYTES) {
            return message;
        }
        int end = MAX_TEXT_BYTES;
        while ((message[end] & 0xc0) == 0x80) {
            end--; // not in the middle of a character
        }
        return java.util.Arrays.copyOf(message, end);
    }

    /** Bytes that {@link #statusHeader} writes. */
    public int statusHeaderBytes() {
        return this == EXTENDED ? 40 : 24;
    }

    /** Bytes that {@link #statusExtent} writes. */
    public int statusExtentBytes() {
        return this == EXTENDED ? 16 : 8;
    }

    /** What stands in front of {@code count} extents of one metadata context. */
    public int statusHeader(
            MemorySegment out,
            long at,
            long cookie,
            long origin,
            int contextId,
            int count,
            boolean done) {
        if (this == EXTENDED) {
            int header =
                    chunk(out, at, TYPE_BLOCK_STATUS_EXT, cookie, origin, 8 + 16L * count, done);
            out.set(INT, at + header, contextId);
            out.set(INT, at + header + 4, count);
            return header + 8;
        }
        int header = chunk(out, at, TYPE_BLOCK_STATUS, cookie, origin, 4 + 8L * count, done);
        out.set(INT, at + header, contextId);
        return header + 4;
    }

    /** One extent: at most {@link #maxStatusLength} bytes long. */
    public int statusExtent(MemorySegment out, long at, long length, int state) {
        if (this == EXTENDED) {
            out.set(LONG, at, length);
            out.set(LONG, at + 8, Integer.toUnsignedLong(state));
            return 16;
        }
        out.set(INT, at, (int) length);
        out.set(INT, at + 4, state);
        return 8;
    }

    /** The longest extent that can be told; a multiple of any block size. */
    public long maxStatusLength() {
        return this == EXTENDED ? Long.MAX_VALUE & -65536 : 0xffff_0000L;
    }

    private static int simple(MemorySegment out, long at, long cookie, int error) {
        out.set(INT, at, SIMPLE_MAGIC);
        out.set(INT, at + 4, error);
        out.set(LONG, at + 8, cookie);
        return 16;
    }

    private int chunk(
            MemorySegment out,
            long at,
            int type,
            long cookie,
            long origin,
            long payload,
            boolean done) {
        out.set(INT, at, this == EXTENDED ? EXTENDED_MAGIC : STRUCTURED_MAGIC);
        out.set(INT, at + 4, (done ? FLAG_DONE : 0) << 16 | type);
        out.set(LONG, at + 8, cookie);
        if (this == EXTENDED) {
            out.set(LONG, at + 16, origin);
            out.set(LONG, at + 24, payload);
            return 32;
        }
        out.set(INT, at + 16, (int) payload);
        return 20;
    }
}

package io.blockwharf.nbd.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;

/**
 * The header of a request, read where it lies. proto.md, "Compact request message" and
 * EXTENDED_HEADERS, "Extended request message".
 *
 * <pre>
 *   compact  (28): magic 32 | flags 16 | type 16 | cookie 64 | offset 64 | length 32
 *   extended (32): magic 32 | flags 16 | type 16 | cookie 64 | offset 64 | length 64
 * </pre>
 *
 * One object per connection serves all of its requests; it belongs to the thread that serves it.
 */
public final class RequestHeader {
    /** Bytes of a compact header. */
    public static final int COMPACT_BYTES = 28;

    /** Bytes of an extended header. */
    public static final int EXTENDED_BYTES = 32;

    static final int COMPACT_MAGIC = 0x25609513;
    static final int EXTENDED_MAGIC = 0x21e41c71;

    private static final ValueLayout.OfInt INT = JAVA_INT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);
    private static final ValueLayout.OfLong LONG =
            JAVA_LONG_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

    private final boolean extended;
    private int flags;
    private int type;
    private long cookie;
    private long offset;
    private long length;

    /** Reads headers of one style. */
    public RequestHeader(boolean extended) {
        this.extended = extended;
    }

    /** Bytes of one header. */
    public int bytes() {
        return extended ? EXTENDED_BYTES : COMPACT_BYTES;
    }

    /**
     * Reads {@link #bytes()} bytes at {@code at}.
     *
     * @return false if they do not begin with the magic number: the connection has to be closed
     */
    public boolean read(MemorySegment in, long at) {
        if (in.get(INT, at) != (extended ? EXTENDED_MAGIC : COMPACT_MAGIC)) {
            return false;
        }
        int word = in.get(INT, at + 4);
        flags = word >>> 16;
        type = word & 0xffff;
        cookie = in.get(LONG, at + 8);
        offset = in.get(LONG, at + 16);
        length = extended ? in.get(LONG, at + 24) : Integer.toUnsignedLong(in.get(INT, at + 24));
        return true;
    }

    /**
     * Writes a header; the other direction of {@link #read}.
     *
     * @param out room for {@link #EXTENDED_BYTES}
     * @return how many bytes it has
     */
    public static int write(
            MemorySegment out,
            boolean extended,
            int flags,
            int type,
            long cookie,
            long offset,
            long length) {
        out.set(INT, 0, extended ? EXTENDED_MAGIC : COMPACT_MAGIC);
        out.set(INT, 4, flags << 16 | type);
        out.set(LONG, 8, cookie);
        out.set(LONG, 16, offset);
        if (extended) {
            out.set(LONG, 24, length);
            return EXTENDED_BYTES;
        }
        out.set(INT, 24, (int) length);
        return COMPACT_BYTES;
    }

    /** A 32-bit number of a payload. */
    public static int intAt(MemorySegment in, long at) {
        return in.get(INT, at);
    }

    /** A 64-bit number of a payload. */
    public static long longAt(MemorySegment in, long at) {
        return in.get(LONG, at);
    }

    /** {@link CommandFlags}, also unknown ones. */
    public int flags() {
        return flags;
    }

    /** Whether any of these flags is set. */
    public boolean has(int wanted) {
        return (flags & wanted) != 0;
    }

    /** A {@link Command}, or an unknown number. */
    public int type() {
        return type;
    }

    /** What the reply has to carry; opaque. */
    public long cookie() {
        return cookie;
    }

    /** First byte in the export; unsigned, so a negative number is past any end. */
    public long offset() {
        return offset;
    }

    /** Bytes; unsigned, so a negative number is more than there can be. */
    public long length() {
        return length;
    }

    /**
     * Whether {@link #length} is that of a payload that follows the header. A WRITE has one with or
     * without the flag: QEMU's client up to 10.0 at least forgets it, and its server does not mind.
     */
    public boolean hasPayload() {
        return type == Command.WRITE || extended && has(CommandFlags.PAYLOAD_LEN);
    }
}

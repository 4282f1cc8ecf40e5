package io.blockwharf.fuse.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;

/**
 * A view of one request where the kernel left it: {@code struct fuse_in_header}, the argument of
 * its operation, and data. Reused for one request after another, so that decoding allocates
 * nothing. Owned by one thread at a time.
 *
 * <p>Accessors of an operation's argument may be called for that operation only. 64-bit offsets are
 * passed as they are: negative ones are the caller's to refuse. Unsigned 32-bit numbers are
 * widened.
 */
public final class Request {
    /** The size of {@code struct fuse_in_header}. */
    public static final int HEADER_BYTES = 40;

    /** What precedes the data of a {@link Opcode#WRITE}. */
    public static final int WRITE_HEADER_BYTES = HEADER_BYTES + 40;

    /** {@code FATTR_MODE}. */
    public static final int SET_MODE = 1;

    /** {@code FATTR_UID}. */
    public static final int SET_UID = 1 << 1;

    /** {@code FATTR_GID}. */
    public static final int SET_GID = 1 << 2;

    /** {@code FATTR_SIZE}. */
    public static final int SET_SIZE = 1 << 3;

    /** {@code FATTR_FH} and {@code FATTR_LOCKOWNER}: they qualify a request and change nothing. */
    public static final int SET_NOTHING = 1 << 6 | 1 << 9;

    /** {@code FALLOC_FL_KEEP_SIZE}. */
    public static final int KEEP_SIZE = 1;

    /** {@code FALLOC_FL_PUNCH_HOLE}. */
    public static final int PUNCH_HOLE = 2;

    /** {@code FALLOC_FL_ZERO_RANGE}. */
    public static final int ZERO_RANGE = 16;

    /** {@code SEEK_DATA}. */
    public static final int SEEK_DATA = 3;

    /** {@code SEEK_HOLE}. */
    public static final int SEEK_HOLE = 4;

    private MemorySegment head = MemorySegment.NULL;
    private long headAt;
    private MemorySegment argument = MemorySegment.NULL;
    private long argumentAt;
    private long argumentBytes;
    private long dataBytes;
    private Opcode opcode = Opcode.INVALID;

    /**
     * Looks at a message that {@code read(2)} on the device has returned.
     *
     * @param length what was read, bytes
     * @return false if it is too short for a header, so that it cannot even be answered
     */
    public boolean onDevice(MemorySegment buffer, long at, long length) {
        if (length < HEADER_BYTES) {
            opcode = Opcode.INVALID;
            return false;
        }
        head = buffer;
        headAt = at;
        argument = buffer;
        argumentAt = at + HEADER_BYTES;
        decode(length, length - HEADER_BYTES);
        return true;
    }

    /**
     * Looks at a request that the kernel has put into a ring entry: {@code struct
     * fuse_uring_req_header}, with the data in a buffer of its own.
     *
     * @param payloadBytes {@code fuse_uring_ent_in_out.payload_sz}
     */
    public void onRing(MemorySegment headers, long at, long payloadBytes) {
        head = headers;
        headAt = at;
        argument = headers;
        argumentAt = at + RingEntry.ARGUMENT;
        int argumentSize = Opcode.of(u32(head, headAt + 4)).argumentBytes();
        decode(HEADER_BYTES + argumentSize + payloadBytes, argumentSize + payloadBytes);
    }

    private void decode(long length, long bodyBytes) {
        Opcode asked = Opcode.of(u32(head, headAt + 4));
        argumentBytes = bodyBytes;
        dataBytes = bodyBytes - asked.argumentBytes();
        boolean whole = Integer.toUnsignedLong(u32(head, headAt)) == length && dataBytes >= 0;
        boolean valid = whole && (asked != Opcode.WRITE || size() == dataBytes);
        // Of what is unknown a ring entry does not tell the size.
        opcode = valid || asked == Opcode.UNKNOWN ? asked : Opcode.INVALID;
    }

    /** The operation. */
    public Opcode opcode() {
        return opcode;
    }

    /** The number that the reply repeats. */
    public long unique() {
        return u64(head, headAt + 8);
    }

    /** Which file: 1 is the root, the only one there is. */
    public long nodeId() {
        return u64(head, headAt + 16);
    }

    /** Bytes of data behind a {@link Opcode#WRITE}'s argument. */
    public long dataBytes() {
        return dataBytes;
    }

    /** READ, WRITE, FALLOCATE, LSEEK: where in the file, bytes. */
    public long offset() {
        return u64(argument, argumentAt + 8);
    }

    /** READ, WRITE: how many bytes. */
    public long size() {
        return Integer.toUnsignedLong(u32(argument, argumentAt + 16));
    }

    /** FALLOCATE: how many bytes. */
    public long length() {
        return u64(argument, argumentAt + 16);
    }

    /** FALLOCATE: {@link #KEEP_SIZE} and others. */
    public int allocationMode() {
        return u32(argument, argumentAt + 24);
    }

    /** LSEEK: {@link #SEEK_DATA} or {@link #SEEK_HOLE}. */
    public int whence() {
        return u32(argument, argumentAt + 16);
    }

    /** OPEN: as for open(2). */
    public int openFlags() {
        return u32(argument, argumentAt);
    }

    /** RELEASE: what the reply to the OPEN had as file handle. */
    public long fileHandle() {
        return u64(argument, argumentAt);
    }

    /** SETATTR: which of the following are meant, {@link #SET_SIZE} and others. */
    public int attributesToSet() {
        return u32(argument, argumentAt);
    }

    /** SETATTR: the size of the file, bytes. */
    public long newSize() {
        return u64(argument, argumentAt + 16);
    }

    /** SETATTR: permissions. */
    public int newMode() {
        return u32(argument, argumentAt + 68);
    }

    /** SETATTR: owner. */
    public int newUid() {
        return u32(argument, argumentAt + 76);
    }

    /** SETATTR: group. */
    public int newGid() {
        return u32(argument, argumentAt + 80);
    }

    /** INIT: {@code struct fuse_init_in}, as much of it as this kernel has. */
    public Init.Offer offer() {
        boolean extended = argumentBytes >= 20;
        long flags = Integer.toUnsignedLong(u32(argument, argumentAt + 12));
        if (extended && (flags & Init.INIT_EXT) != 0) {
            flags |= (long) u32(argument, argumentAt + 16) << 32;
        }
        return new Init.Offer(
                u32(argument, argumentAt),
                u32(argument, argumentAt + 4),
                Integer.toUnsignedLong(u32(argument, argumentAt + 8)),
                flags);
    }

    private static int u32(MemorySegment segment, long at) {
        return segment.get(JAVA_INT_UNALIGNED, at);
    }

    private static long u64(MemorySegment segment, long at) {
        return segment.get(JAVA_LONG_UNALIGNED, at);
    }
}

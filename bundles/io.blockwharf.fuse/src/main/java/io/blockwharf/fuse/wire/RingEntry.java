package io.blockwharf.fuse.wire;

import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.MemorySegment;

/**
 * {@code struct fuse_uring_req_header}, through which requests and replies go when FUSE runs over
 * io_uring: 128 bytes for the header of request or reply, 128 for the operation's argument, 32
 * about the entry itself. Data and bodies of replies have a buffer of their own.
 */
public final class RingEntry {
    /** The size of the structure. */
    public static final int BYTES = 288;

    /** Where the argument of the operation begins. */
    static final int ARGUMENT = 128;

    /** {@code FUSE_IO_URING_CMD_REGISTER}: a new entry that waits for its first request. */
    public static final int REGISTER = 1;

    /** {@code FUSE_IO_URING_CMD_COMMIT_AND_FETCH}: a reply, and waiting for the next request. */
    public static final int COMMIT_AND_FETCH = 2;

    private static final int COMMIT_ID = 256 + 8;
    private static final int PAYLOAD_BYTES = 256 + 16;

    private RingEntry() {}

    /** The id that the commit of this request has to name. */
    public static long commitId(MemorySegment entry, long at) {
        return entry.get(JAVA_LONG_UNALIGNED, at + COMMIT_ID);
    }

    /** Bytes of the request in the data buffer. */
    public static long payloadBytes(MemorySegment entry, long at) {
        return Integer.toUnsignedLong(entry.get(JAVA_INT_UNALIGNED, at + PAYLOAD_BYTES));
    }

    /** Tells how many bytes of the data buffer are the reply's body. */
    public static void payloadBytes(MemorySegment entry, long at, int bytes) {
        entry.set(JAVA_INT_UNALIGNED, at + PAYLOAD_BYTES, bytes);
    }

    /**
     * Fills in {@code struct fuse_uring_cmd_req}, the command part of a submission queue entry.
     *
     * @param commitId 0 for {@link #REGISTER}
     * @param queue the number of the queue, which is that of a processor
     */
    public static void command(MemorySegment command, long commitId, int queue) {
        command.fill((byte) 0);
        command.set(JAVA_LONG_UNALIGNED, 8, commitId);
        command.set(java.lang.foreign.ValueLayout.JAVA_SHORT_UNALIGNED, 16, (short) queue);
    }
}

package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * Native memory for the arguments of the one call that a thread is in: nothing has to be allocated
 * per call, and objects that several threads use need no memory of their own. The thread's map
 * keeps it reachable during the call; the garbage collector frees it after the thread.
 */
final class Scratch {
    /** Capacity of {@link #control}: SCM_RIGHTS with this many descriptors. */
    static final int MAX_DESCRIPTORS = 32;

    private static final ThreadLocal<Scratch> OF_THREAD = ThreadLocal.withInitial(Scratch::new);

    private static final int MSGHDR = 8;
    private static final int IOVEC = MSGHDR + 56;
    private static final int NUMBER = IOVEC + 16;
    private static final int CONTROL = NUMBER + 8;
    static final int CONTROL_BYTES = 16 + 4 * MAX_DESCRIPTORS;

    /** Where the linker stores errno after a call; 4 bytes. */
    final MemorySegment errno;

    /** A {@code struct msghdr}, all zero but for what the running call sets. */
    final long msghdr;

    /** One {@code struct iovec}. */
    final long iovec;

    /** One 64-bit number that a call reads or writes through a pointer. */
    final long number;

    /** {@code struct cmsghdr} and the descriptors that follow it. */
    final long control;

    private final MemorySegment memory = Arena.ofAuto().allocate(CONTROL + CONTROL_BYTES, 16);

    private Scratch() {
        errno = memory.asSlice(0, 4);
        msghdr = memory.address() + MSGHDR;
        iovec = memory.address() + IOVEC;
        number = memory.address() + NUMBER;
        control = memory.address() + CONTROL;
    }

    static Scratch ofThread() {
        return OF_THREAD.get();
    }

    /** The one iovec, set to this range. */
    long iovec(long address, long length) {
        RawMemory.ALL.set(JAVA_LONG, iovec, address);
        RawMemory.ALL.set(JAVA_LONG, iovec + 8, length);
        return iovec;
    }

    /** The msghdr for these iovecs (recvmsg(2): msg_iov at 16, msg_iovlen at 24). */
    long message(long iovecs, long count) {
        RawMemory.ALL.set(JAVA_LONG, msghdr + 16, iovecs);
        RawMemory.ALL.set(JAVA_LONG, msghdr + 24, count);
        return msghdr;
    }

    /** The msghdr for one iovec and {@code bytes} of {@link #control} (32 and 40). */
    long messageWithControl(long iovec, long bytes) {
        RawMemory.ALL.set(JAVA_LONG, msghdr + 32, control);
        RawMemory.ALL.set(JAVA_LONG, msghdr + 40, bytes);
        return message(iovec, 1);
    }

    /** Brings the msghdr back to messages without control data. */
    void clearControl() {
        RawMemory.ALL.set(JAVA_LONG, msghdr + 32, 0);
        RawMemory.ALL.set(JAVA_LONG, msghdr + 40, 0);
        RawMemory.ALL.set(JAVA_LONG, msghdr + 48, 0);
    }

    /** The number, set to {@code value}. */
    long number(long value) {
        RawMemory.ALL.set(JAVA_LONG, number, value);
        return number;
    }

    /** What the call left in {@link #number}. */
    long number() {
        return RawMemory.ALL.get(JAVA_LONG, number);
    }
}

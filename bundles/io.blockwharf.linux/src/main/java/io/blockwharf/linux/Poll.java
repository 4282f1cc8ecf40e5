package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Waits for one of a few descriptors (poll(2)) without allocating. Owned by one thread; its memory
 * is freed by the garbage collector.
 */
public final class Poll {
    /** Something can be read, or a connection accepted. */
    public static final int IN = 0x1;

    /** Something can be written. */
    public static final int OUT = 0x4;

    /** An error; always reported. */
    public static final int ERR = 0x8;

    /** The peer is gone; always reported. */
    public static final int HUP = 0x10;

    /** The descriptor is not open; always reported. */
    public static final int INVALID = 0x20;

    /** The peer has sent its last byte. */
    public static final int PEER_DONE = 0x2000;

    private static final int ENTRY = 8;
    private static final int TIMESPEC = 16;

    /** The {@code struct pollfd}s, and behind them the {@code struct timespec} of the wait. */
    private final MemorySegment entries;

    private final int count;

    /** Waits for {@code count} descriptors, none of which is set yet. */
    public Poll(int count) {
        this.count = count;
        entries = Arena.ofAuto().allocate((long) count * ENTRY + TIMESPEC, ENTRY);
        for (int i = 0; i < count; i++) {
            set(i, -1, 0);
        }
    }

    /**
     * Waits for {@code events} of {@code fd} at place {@code index}; a negative {@code fd} leaves
     * the place out.
     */
    public void set(int index, int fd, int events) {
        entries.set(JAVA_INT, (long) index * ENTRY, fd);
        entries.set(JAVA_INT, (long) index * ENTRY + 4, events & 0xffff);
    }

    /**
     * Waits until something happens.
     *
     * @param timeoutMillis most milliseconds to wait, 0 not to wait, -1 for ever
     * @return descriptors that have events, 0 when the time is over
     */
    public int await(int timeoutMillis) throws LinuxException {
        long timeout = 0;
        if (timeoutMillis >= 0) {
            long at = (long) count * ENTRY;
            entries.set(JAVA_LONG, at, timeoutMillis / 1000);
            entries.set(JAVA_LONG, at + 8, timeoutMillis % 1000 * 1_000_000L);
            timeout = entries.address() + at;
        }
        int n = HotCalls.ppoll(entries.address(), count, timeout);
        Reference.reachabilityFence(this);
        return (int) LinuxException.checkHot(n, "ppoll");
    }

    /** What the last {@link #await} saw at place {@code index}; 0 for nothing. */
    public int events(int index) {
        return Short.toUnsignedInt(entries.get(JAVA_SHORT, (long) index * ENTRY + 6));
    }
}

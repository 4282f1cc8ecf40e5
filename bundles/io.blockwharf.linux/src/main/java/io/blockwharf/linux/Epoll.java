package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_INT_UNALIGNED;
import static java.lang.foreign.ValueLayout.JAVA_LONG_UNALIGNED;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * Waits for many descriptors (epoll(7)), each known by a number of the caller's choice. Descriptors
 * may be added, changed and removed by any thread; {@link #await} and the events it leaves belong
 * to one thread. Nothing is allocated per wait.
 */
public final class Epoll implements AutoCloseable {
    /** Something can be read, or a connection accepted. */
    public static final int IN = 0x1;

    /** Something can be written. */
    public static final int OUT = 0x4;

    /** An error; always reported. */
    public static final int ERR = 0x8;

    /** The peer is gone; always reported. */
    public static final int HUP = 0x10;

    /** The peer has sent its last byte. */
    public static final int PEER_DONE = 0x2000;

    /** Report the event once, then not before {@link #modify}. */
    public static final int ONE_SHOT = 1 << 30;

    /** Report changes only. */
    public static final int EDGE = 1 << 31;

    /** The structure is packed on x86-64 only (linux/eventpoll.h, EPOLL_PACKED). */
    private static final boolean PACKED = System.getProperty("os.arch").equals("amd64");

    private static final int EVENT_BYTES = PACKED ? 12 : 16;
    private static final int COOKIE = PACKED ? 4 : 8;
    private static final int ADD = 1;
    private static final int REMOVE = 2;
    private static final int MODIFY = 3;

    private final Descriptor descriptor;
    private final MemorySegment events;
    private final int capacity;

    /**
     * An empty set.
     *
     * @param capacity most events that one {@link #await} returns
     */
    public Epoll(int capacity) throws LinuxException {
        descriptor =
                new Descriptor(
                        LinuxException.check(Libc.epoll_create1(Libc.O_CLOEXEC), "epoll_create1"));
        this.capacity = capacity;
        events = Arena.ofAuto().allocate((long) capacity * EVENT_BYTES, 8);
    }

    /** The set's own descriptor, which is readable when {@link #await} would return at once. */
    public int fd() {
        return descriptor.fd();
    }

    /** Waits for {@code events} of {@code fd} too, reported with {@code cookie}. */
    public void add(int fd, int events, long cookie) throws LinuxException {
        control(ADD, fd, events, cookie, "epoll_ctl ADD");
    }

    /** Waits for these events from now on, with this cookie. */
    public void modify(int fd, int events, long cookie) throws LinuxException {
        control(MODIFY, fd, events, cookie, "epoll_ctl MOD");
    }

    /** Waits for it no longer. To be called before {@code fd} is closed. */
    public void remove(int fd) throws LinuxException {
        control(REMOVE, fd, 0, 0, "epoll_ctl DEL");
    }

    private void control(int operation, int fd, int wanted, long cookie, String what)
            throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment event = RawMemory.argument(arena, 16);
            event.set(JAVA_INT, 0, wanted);
            event.set(JAVA_LONG_UNALIGNED, COOKIE, cookie);
            LinuxException.check(Libc.epoll_ctl(fd(), operation, fd, event.address()), what);
        }
    }

    /**
     * Waits until something happens.
     *
     * @param timeoutMillis most milliseconds to wait, 0 not to wait, -1 for ever; a signal starts
     *     the time anew
     * @return number of events, 0 when the time is over
     */
    public int await(int timeoutMillis) throws LinuxException {
        int n = HotCalls.epollWait(fd(), events.address(), capacity, timeoutMillis);
        Reference.reachabilityFence(this);
        return (int) LinuxException.checkHot(n, "epoll_wait");
    }

    /** The events of number {@code index} of those that the last {@link #await} counted. */
    public int events(int index) {
        return events.get(JAVA_INT_UNALIGNED, (long) index * EVENT_BYTES);
    }

    /** The cookie of number {@code index}. */
    public long cookie(int index) {
        return events.get(JAVA_LONG_UNALIGNED, (long) index * EVENT_BYTES + COOKIE);
    }

    /** Closes the set, not the descriptors in it. Idempotent. */
    @Override
    public void close() {
        descriptor.close();
    }
}

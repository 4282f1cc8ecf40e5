package io.blockwharf.linux;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * A counter that a thread, a process or a virtual machine raises and another waits for
 * (eventfd(2)). Any thread may signal; one waits. Nothing is allocated.
 */
public final class EventFd implements AutoCloseable {
    private static final int NON_BLOCKING = Libc.O_NONBLOCK;
    private static final int CLOSE_ON_EXEC = Libc.O_CLOEXEC;

    private final Descriptor descriptor;

    /** The waiting thread's, from its first wait on. */
    private Poll waiting;

    private EventFd(int fd) {
        descriptor = new Descriptor(fd);
    }

    /** A counter at zero. */
    public static EventFd open() throws LinuxException {
        return new EventFd(
                LinuxException.check(Libc.eventfd(0, NON_BLOCKING | CLOSE_ON_EXEC), "eventfd"));
    }

    /**
     * A counter at zero whose {@link #await} is a single blocking call, and whose {@link #clear}
     * must not be called unless it is known to be signalled.
     */
    public static EventFd openBlocking() throws LinuxException {
        return new EventFd(LinuxException.check(Libc.eventfd(0, CLOSE_ON_EXEC), "eventfd"));
    }

    /**
     * Takes over a descriptor that was received. It is closed with this object, and also if this
     * fails. To wait for another file, or to write to it, can mean to wait for the process that its
     * file system belongs to (FUSE), or for one that never reads.
     *
     * @throws LinuxException EINVAL if it is no eventfd
     */
    public static EventFd of(int fd) throws LinuxException {
        var event = new EventFd(fd);
        if (!isEventFd(fd)) {
            event.close();
            throw LinuxException.sentence("The descriptor is no eventfd", Errnos.EINVAL);
        }
        return event;
    }

    private static boolean isEventFd(int fd) {
        try {
            Path target = Files.readSymbolicLink(Path.of("/proc/self/fd", Integer.toString(fd)));
            return target.toString().equals("anon_inode:[eventfd]");
        } catch (IOException e) {
            return false; // not even open
        }
    }

    /** The descriptor's number; -1 if closed. */
    public int fd() {
        return descriptor.fd();
    }

    /**
     * Whether {@link #clear} and {@link #await} ask without waiting first; for every owner of it.
     */
    public void blocking(boolean on) throws LinuxException {
        Descriptor.nonBlocking(fd(), !on);
    }

    /** Adds one. A counter that is full stays so: whoever waits is woken anyway. */
    public void signal() throws LinuxException {
        Scratch scratch = Scratch.ofThread();
        long n = HotCalls.write(fd(), scratch.number(1), 8);
        if (n < 0 && n != -Errnos.EAGAIN) {
            throw new LinuxException("eventfd write", (int) -n);
        }
    }

    /**
     * Takes the count without waiting.
     *
     * @return the count, 0 if nobody has signalled
     */
    public long clear() throws LinuxException {
        Scratch scratch = Scratch.ofThread();
        long n = HotCalls.read(fd(), scratch.number, 8);
        if (n == -Errnos.EAGAIN) {
            return 0;
        }
        LinuxException.checkHot(n, "eventfd read");
        return scratch.number();
    }

    /** Waits until the count is not zero, and takes it. Occupies a platform thread. */
    public long await() throws LinuxException {
        for (; ; ) {
            long count = clear();
            if (count != 0) {
                return count;
            }
            // Only a non-blocking descriptor comes here
            if (waiting == null) {
                waiting = new Poll(1);
            }
            waiting.set(0, fd(), Poll.IN);
            waiting.await(-1);
        }
    }

    /** Gives the descriptor away: the caller closes it. */
    public int release() {
        return descriptor.release();
    }

    /** Closes it. Idempotent; not while a thread waits: signal it first. */
    @Override
    public void close() {
        descriptor.close();
    }
}

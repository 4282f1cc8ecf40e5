package io.blockwharf.linux;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * One file descriptor of this process and its end. Once closed its number is -1, so that later
 * calls fail with EBADF instead of meeting a stranger that got the same number.
 */
public final class Descriptor implements AutoCloseable {
    private static final VarHandle FD;

    static {
        try {
            FD = MethodHandles.lookup().findVarHandle(Descriptor.class, "fd", int.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    private volatile int fd;

    Descriptor(int fd) {
        this.fd = fd;
    }

    /** The number; -1 if closed. Not to be closed by the caller. */
    public int fd() {
        return fd;
    }

    boolean isClosed() {
        return fd < 0;
    }

    /** Gives the number away: closing this object no longer closes it. -1 if closed before. */
    public int release() {
        return (int) FD.getAndSet(this, -1);
    }

    /** Closes it once. What close(2) reports is of no use: the descriptor is gone either way. */
    @Override
    public void close() {
        int open = release();
        if (open >= 0) {
            Libc.close(open);
        }
    }

    static void nonBlocking(int fd, boolean on) throws LinuxException {
        int flags = LinuxException.check(Libc.fcntl(fd, Libc.F_GETFL, 0), "fcntl F_GETFL");
        int wanted = on ? flags | Libc.O_NONBLOCK : flags & ~Libc.O_NONBLOCK;
        if (wanted != flags) {
            LinuxException.check(Libc.fcntl(fd, Libc.F_SETFL, wanted), "fcntl F_SETFL");
        }
    }

    static void closeOnExec(int fd) throws LinuxException {
        int flags =
                LinuxException.check(
                        Libc.fcntl(fd, Libc.F_GETFD, 0), "File descriptor " + fd + " is not open");
        LinuxException.check(
                Libc.fcntl(fd, Libc.F_SETFD, flags | Libc.FD_CLOEXEC), "fcntl F_SETFD");
    }

    /** open(2) with O_CLOEXEC; a descriptor, or a negated error number. */
    static int open(String path, int flags, int mode) {
        if (path.indexOf('\0') >= 0) {
            return -Errnos.EINVAL;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment name = arena.allocateFrom(path);
            int fd;
            do {
                fd = Libc.open(name.address(), flags | Libc.O_CLOEXEC, mode);
            } while (fd < 0 && Native.getLastError() == Errnos.EINTR);
            return fd < 0 ? -Native.getLastError() : fd;
        }
    }
}

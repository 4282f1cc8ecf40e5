package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The system calls that are made once per request, bound with the JDK's foreign function API, which
 * costs two thirds of a JNA call (README.md). As in the kernel, a result below zero is a negated
 * error number. A call that a signal interrupted is made again. Nothing is allocated.
 *
 * <p>They are made by number, through syscall(2): the functions of the C library that may wait are
 * cancellation points, which changes the state of the thread atomically before and after each (20
 * to 40 ns).
 *
 * <p>The linker slices the segment that takes errno in every call that captures it, and whether the
 * compiler makes do without that object changes from one compilation to the next (seen: 40 bytes
 * for each wait). So a call that may be repeated when it has failed is made without; if it fails it
 * is made once more to learn why. Calls on sockets may not: an error is reported once, and a second
 * call would find the end of the stream. Nor may a read that would have to wait, which starts to
 * fetch what it did not find, nor a durable write, whose error is reported once, too.
 *
 * <p>All are bound with one shape, a number and six {@code long}s in and one out, as the kernel
 * itself sees them: the linker makes code per shape, which takes tens of milliseconds of a start. A
 * call that takes fewer or narrower arguments ignores the rest of the registers (System V and
 * AAPCS64 calling conventions).
 */
@SuppressWarnings("restricted")
final class HotCalls {
    private static final Linker LINKER = Linker.nativeLinker();
    private static final FunctionDescriptor SHAPE =
            FunctionDescriptor.of(
                    JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                    JAVA_LONG);
    private static final MemorySegment SYSCALL = LINKER.defaultLookup().findOrThrow("syscall");
    private static final MethodHandle PLAIN = LINKER.downcallHandle(SYSCALL, SHAPE);
    private static final MethodHandle CAPTURING =
            LINKER.downcallHandle(SYSCALL, SHAPE, Linker.Option.captureCallState("errno"));

    private static final int READ = number(0, 63);
    private static final int WRITE = number(1, 64);
    private static final int WRITEV = number(20, 66);
    private static final int PREAD = number(17, 67);
    private static final int PWRITE = number(18, 68);
    private static final int PREADV2 = number(327, 286);
    private static final int PWRITEV2 = number(328, 287);
    private static final int LSEEK = number(8, 62);
    private static final int RECVFROM = number(45, 207);
    private static final int SENDTO = number(44, 206);
    private static final int RECVMSG = number(47, 212);
    private static final int SENDMSG = number(46, 211);
    private static final int SENDFILE = number(40, 71);
    private static final int EPOLL_PWAIT = number(281, 22);
    private static final int PPOLL = number(271, 73);
    private static final int IO_URING_ENTER = 426;

    private HotCalls() {}

    /** The number of a call on x86-64, and on aarch64 and all that is newer (asm-generic). */
    private static int number(int x86, int generic) {
        return switch (System.getProperty("os.arch")) {
            case "amd64" -> x86;
            case "aarch64", "riscv64" -> generic;
            default ->
                    throw new UnsupportedOperationException(
                            "Linux on " + System.getProperty("os.arch"));
        };
    }

    /** Inlined into each of the methods below; the arguments that a call does not have are 0. */
    private static long call(int number, long a, long b, long c, long d, long e, long f) {
        MemorySegment errno = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) CAPTURING.invokeExact(errno, (long) number, a, b, c, d, e, f);
            } while (n < 0 && errno.get(JAVA_INT, 0) == Errnos.EINTR);
            return n < 0 ? -errno.get(JAVA_INT, 0) : n;
        } catch (Throwable thrown) {
            throw new AssertionError("a native call does not throw", thrown);
        }
    }

    /** As {@link #call}, without errno: what is below zero means no more than that it failed. */
    private static long attempt(int number, long a, long b, long c, long d, long e, long f) {
        try {
            return (long) PLAIN.invokeExact((long) number, a, b, c, d, e, f);
        } catch (Throwable thrown) {
            throw new AssertionError("a native call does not throw", thrown);
        }
    }

    /** For a call that may be repeated when it has failed. */
    private static long repeatable(int number, long a, long b, long c, long d, long e, long f) {
        long n = attempt(number, a, b, c, d, e, f);
        return n >= 0 ? n : call(number, a, b, c, d, e, f);
    }

    static long read(int fd, long address, long length) {
        return repeatable(READ, fd, address, length, 0, 0, 0);
    }

    static long write(int fd, long address, long length) {
        return repeatable(WRITE, fd, address, length, 0, 0, 0);
    }

    static long writev(int fd, long iovecs, int count) {
        return call(WRITEV, fd, iovecs, count, 0, 0, 0);
    }

    static long pread(int fd, long address, long length, long position) {
        return repeatable(PREAD, fd, address, length, position, 0, 0);
    }

    static long pwrite(int fd, long address, long length, long position) {
        return repeatable(PWRITE, fd, address, length, position, 0, 0);
    }

    static long preadv2(int fd, long iovecs, int count, long position, int flags) {
        return flags == 0
                ? repeatable(PREADV2, fd, iovecs, count, position, 0, 0)
                : call(PREADV2, fd, iovecs, count, position, 0, flags);
    }

    static long pwritev2(int fd, long iovecs, int count, long position, int flags) {
        return flags == 0
                ? repeatable(PWRITEV2, fd, iovecs, count, position, 0, 0)
                : call(PWRITEV2, fd, iovecs, count, position, 0, flags);
    }

    /** For who does not want to know why: below zero if there is any reason not to. */
    static long tryPreadv2(int fd, long iovecs, int count, long position, int flags) {
        return attempt(PREADV2, fd, iovecs, count, position, 0, flags);
    }

    static long lseek(int fd, long position, int whence) {
        return call(LSEEK, fd, position, whence, 0, 0, 0);
    }

    static long recv(int fd, long address, long length, int flags) {
        return call(RECVFROM, fd, address, length, flags, 0, 0);
    }

    static long send(int fd, long address, long length, int flags) {
        return call(SENDTO, fd, address, length, flags, 0, 0);
    }

    static long recvmsg(int fd, long message, int flags) {
        return call(RECVMSG, fd, message, flags, 0, 0, 0);
    }

    static long sendmsg(int fd, long message, int flags) {
        return call(SENDMSG, fd, message, flags, 0, 0, 0);
    }

    static long sendfile(int out, int in, long position, long length) {
        return call(SENDFILE, out, in, position, length, 0, 0);
    }

    /**
     * @param timeout address of a {@code struct timespec}, which becomes what was left of it; 0 to
     *     wait for ever
     */
    static int ppoll(long entries, long count, long timeout) {
        return (int) repeatable(PPOLL, entries, count, timeout, 0, 0, 0);
    }

    static int epollWait(int fd, long events, int capacity, int timeoutMillis) {
        return (int) repeatable(EPOLL_PWAIT, fd, events, capacity, timeoutMillis, 0, 0);
    }

    static long ioUringEnter(int ring, int submit, int wait, int flags) {
        return repeatable(IO_URING_ENTER, ring, submit, wait, flags, 0, 0);
    }
}

package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;
import java.lang.invoke.MethodHandles;
import java.lang.invoke.MethodType;

/**
 * The system calls that are made once per request, bound with the JDK's foreign function API, which
 * costs two thirds of a JNA call (README.md). As in the kernel, a result below zero is a negated
 * error number. A call that a signal interrupted is made again. Nothing is allocated.
 *
 * <p>The linker slices the segment that takes errno in every call that captures it, and whether the
 * compiler makes do without that object changes from one compilation to the next (seen: 40 bytes
 * for each wait). So a call that may be repeated when it has failed is made without; if it fails it
 * is made once more to learn why. Calls on sockets may not: an error is reported once, and a second
 * call would find the end of the stream. Nor may a read that would have to wait, which starts to
 * fetch what it did not find, nor a durable write, whose error is reported once, too.
 *
 * <p>All are bound with one shape, six {@code long}s in and one out, as the kernel itself sees
 * them: the linker makes code per shape, which takes tens of milliseconds of a start. A function
 * that takes fewer or narrower arguments ignores the rest of the registers (System V and AAPCS64
 * calling conventions); of a narrower result the upper half is not defined ({@link #narrow}).
 */
@SuppressWarnings("restricted")
final class HotCalls {
    private static final Linker LINKER = Linker.nativeLinker();
    private static final FunctionDescriptor SHAPE =
            FunctionDescriptor.of(
                    JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG);

    private static final MethodHandle READ = plain("read");
    private static final MethodHandle WRITE = plain("write");
    private static final MethodHandle WRITEV = capturing("writev");
    private static final MethodHandle PREAD = plain("pread");
    private static final MethodHandle PWRITE = plain("pwrite");
    private static final MethodHandle PREADV2 = capturing("preadv2");
    private static final MethodHandle PWRITEV2 = capturing("pwritev2");
    private static final MethodHandle TRY_PREADV2 = plain("preadv2");
    private static final MethodHandle TRY_PWRITEV2 = plain("pwritev2");
    private static final MethodHandle LSEEK = capturing("lseek");
    private static final MethodHandle RECV = capturing("recv");
    private static final MethodHandle SEND = capturing("send");
    private static final MethodHandle RECVMSG = capturing("recvmsg");
    private static final MethodHandle SENDMSG = capturing("sendmsg");
    private static final MethodHandle SENDFILE = capturing("sendfile");
    private static final MethodHandle POLL = narrow(plain("poll"));
    private static final MethodHandle EPOLL_WAIT = narrow(plain("epoll_wait"));
    private static final MethodHandle IO_URING_ENTER = plain("syscall");

    /**
     * io_uring_enter(2); the number is the same on every architecture. Its sixth argument, the size
     * of a signal mask, is left to chance: no mask is given.
     */
    private static final long SYS_IO_URING_ENTER = 426;

    private HotCalls() {}

    /** For a call that has failed. Bound when the first one fails, not at the start. */
    private static final class Again {
        static final MethodHandle READ = capturing("read");
        static final MethodHandle WRITE = capturing("write");
        static final MethodHandle PREAD = capturing("pread");
        static final MethodHandle PWRITE = capturing("pwrite");
        static final MethodHandle POLL = narrow(capturing("poll"));
        static final MethodHandle EPOLL_WAIT = narrow(capturing("epoll_wait"));
        static final MethodHandle IO_URING_ENTER = capturing("syscall");
    }

    private static MethodHandle plain(String name) {
        return LINKER.downcallHandle(LINKER.defaultLookup().findOrThrow(name), SHAPE);
    }

    private static MethodHandle capturing(String name) {
        return LINKER.downcallHandle(
                LINKER.defaultLookup().findOrThrow(name),
                SHAPE,
                Linker.Option.captureCallState("errno"));
    }

    /** For a result that is an {@code int}: the upper half of the register is not defined. */
    private static MethodHandle narrow(MethodHandle function) {
        MethodType type = function.type();
        return MethodHandles.explicitCastArguments(
                MethodHandles.explicitCastArguments(function, type.changeReturnType(int.class)),
                type);
    }

    /**
     * Inlined into each of the methods below, so that the compiler sees a constant function; the
     * arguments that a function does not have are 0.
     */
    private static long call(
            MethodHandle function, long a, long b, long c, long d, long e, long f) {
        MemorySegment errno = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) function.invokeExact(errno, a, b, c, d, e, f);
            } while (n < 0 && errno.get(JAVA_INT, 0) == Errnos.EINTR);
            return n < 0 ? -errno.get(JAVA_INT, 0) : n;
        } catch (Throwable thrown) {
            throw new AssertionError("a native call does not throw", thrown);
        }
    }

    /** As {@link #call}, without errno: what is below zero means no more than that it failed. */
    private static long attempt(
            MethodHandle function, long a, long b, long c, long d, long e, long f) {
        try {
            return (long) function.invokeExact(a, b, c, d, e, f);
        } catch (Throwable thrown) {
            throw new AssertionError("a native call does not throw", thrown);
        }
    }

    static long read(int fd, long address, long length) {
        long n = attempt(READ, fd, address, length, 0, 0, 0);
        return n >= 0 ? n : call(Again.READ, fd, address, length, 0, 0, 0);
    }

    static long write(int fd, long address, long length) {
        long n = attempt(WRITE, fd, address, length, 0, 0, 0);
        return n >= 0 ? n : call(Again.WRITE, fd, address, length, 0, 0, 0);
    }

    static long writev(int fd, long iovecs, int count) {
        return call(WRITEV, fd, iovecs, count, 0, 0, 0);
    }

    static long pread(int fd, long address, long length, long position) {
        long n = attempt(PREAD, fd, address, length, position, 0, 0);
        return n >= 0 ? n : call(Again.PREAD, fd, address, length, position, 0, 0);
    }

    static long pwrite(int fd, long address, long length, long position) {
        long n = attempt(PWRITE, fd, address, length, position, 0, 0);
        return n >= 0 ? n : call(Again.PWRITE, fd, address, length, position, 0, 0);
    }

    static long preadv2(int fd, long iovecs, int count, long position, int flags) {
        long n = flags == 0 ? attempt(TRY_PREADV2, fd, iovecs, count, position, 0, 0) : -1;
        return n >= 0 ? n : call(PREADV2, fd, iovecs, count, position, flags, 0);
    }

    static long pwritev2(int fd, long iovecs, int count, long position, int flags) {
        long n = flags == 0 ? attempt(TRY_PWRITEV2, fd, iovecs, count, position, 0, 0) : -1;
        return n >= 0 ? n : call(PWRITEV2, fd, iovecs, count, position, flags, 0);
    }

    /** For who does not want to know why: below zero if there is any reason not to. */
    static long tryPreadv2(int fd, long iovecs, int count, long position, int flags) {
        return attempt(TRY_PREADV2, fd, iovecs, count, position, flags, 0);
    }

    static long lseek(int fd, long position, int whence) {
        return call(LSEEK, fd, position, whence, 0, 0, 0);
    }

    static long recv(int fd, long address, long length, int flags) {
        return call(RECV, fd, address, length, flags, 0, 0);
    }

    static long send(int fd, long address, long length, int flags) {
        return call(SEND, fd, address, length, flags, 0, 0);
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

    static int poll(long entries, long count, int timeoutMillis) {
        long n = attempt(POLL, entries, count, timeoutMillis, 0, 0, 0);
        return (int) (n >= 0 ? n : call(Again.POLL, entries, count, timeoutMillis, 0, 0, 0));
    }

    static int epollWait(int fd, long events, int capacity, int timeoutMillis) {
        long n = attempt(EPOLL_WAIT, fd, events, capacity, timeoutMillis, 0, 0);
        return (int)
                (n >= 0 ? n : call(Again.EPOLL_WAIT, fd, events, capacity, timeoutMillis, 0, 0));
    }

    static long ioUringEnter(int ring, int submit, int wait, int flags) {
        long n = attempt(IO_URING_ENTER, SYS_IO_URING_ENTER, ring, submit, wait, flags, 0);
        return n >= 0
                ? n
                : call(Again.IO_URING_ENTER, SYS_IO_URING_ENTER, ring, submit, wait, flags, 0);
    }
}

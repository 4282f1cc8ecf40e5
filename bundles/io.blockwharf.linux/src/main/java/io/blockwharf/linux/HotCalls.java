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

    private static final MethodHandle READ = bind("read");
    private static final MethodHandle WRITE = bind("write");
    private static final MethodHandle WRITEV = bind("writev");
    private static final MethodHandle PREAD = bind("pread");
    private static final MethodHandle PWRITE = bind("pwrite");
    private static final MethodHandle PREADV2 = bind("preadv2");
    private static final MethodHandle PWRITEV2 = bind("pwritev2");
    private static final MethodHandle LSEEK = bind("lseek");
    private static final MethodHandle RECV = bind("recv");
    private static final MethodHandle SEND = bind("send");
    private static final MethodHandle RECVMSG = bind("recvmsg");
    private static final MethodHandle SENDMSG = bind("sendmsg");
    private static final MethodHandle SENDFILE = bind("sendfile");
    private static final MethodHandle POLL = narrow(bind("poll"));
    private static final MethodHandle EPOLL_WAIT = narrow(bind("epoll_wait"));
    private static final MethodHandle IO_URING_ENTER = bind("syscall");

    /**
     * io_uring_enter(2); the number is the same on every architecture. Its sixth argument, the size
     * of a signal mask, is left to chance: no mask is given.
     */
    private static final long SYS_IO_URING_ENTER = 426;

    private HotCalls() {}

    private static MethodHandle bind(String name) {
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

    static long read(int fd, long address, long length) {
        return call(READ, fd, address, length, 0, 0, 0);
    }

    static long write(int fd, long address, long length) {
        return call(WRITE, fd, address, length, 0, 0, 0);
    }

    static long writev(int fd, long iovecs, int count) {
        return call(WRITEV, fd, iovecs, count, 0, 0, 0);
    }

    static long pread(int fd, long address, long length, long position) {
        return call(PREAD, fd, address, length, position, 0, 0);
    }

    static long pwrite(int fd, long address, long length, long position) {
        return call(PWRITE, fd, address, length, position, 0, 0);
    }

    static long preadv2(int fd, long iovecs, int count, long position, int flags) {
        return call(PREADV2, fd, iovecs, count, position, flags, 0);
    }

    static long pwritev2(int fd, long iovecs, int count, long position, int flags) {
        return call(PWRITEV2, fd, iovecs, count, position, flags, 0);
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
        return (int) call(POLL, entries, count, timeoutMillis, 0, 0, 0);
    }

    static int epollWait(int fd, long events, int capacity, int timeoutMillis) {
        return (int) call(EPOLL_WAIT, fd, events, capacity, timeoutMillis, 0, 0);
    }

    static long ioUringEnter(int ring, int submit, int wait, int flags) {
        return call(IO_URING_ENTER, SYS_IO_URING_ENTER, ring, submit, wait, flags, 0);
    }
}

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
 * <p>All are bound with one shape, six {@code long}s in and one out, as the kernel itself sees
 * them: the linker makes code per shape, which takes tens of milliseconds of a start. A function
 * that takes fewer or narrower arguments ignores the rest of the registers (System V and AAPCS64
 * calling conventions); of a narrower result the upper half is not defined and has to be cut off.
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
    private static final MethodHandle POLL = bind("poll");
    private static final MethodHandle EPOLL_WAIT = bind("epoll_wait");
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

    private static AssertionError impossible(Throwable thrown) {
        return new AssertionError("a native call does not throw", thrown);
    }

    private static int errno(MemorySegment state) {
        return state.get(JAVA_INT, 0);
    }

    static long read(int fd, long address, long length) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) READ.invokeExact(state, (long) fd, address, length, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long write(int fd, long address, long length) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) WRITE.invokeExact(state, (long) fd, address, length, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long writev(int fd, long iovecs, int count) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) WRITEV.invokeExact(state, (long) fd, iovecs, (long) count, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long pread(int fd, long address, long length, long position) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) PREAD.invokeExact(state, (long) fd, address, length, position, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long pwrite(int fd, long address, long length, long position) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) PWRITE.invokeExact(state, (long) fd, address, length, position, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long preadv2(int fd, long iovecs, int count, long position, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                PREADV2.invokeExact(
                                        state,
                                        (long) fd,
                                        iovecs,
                                        (long) count,
                                        position,
                                        (long) flags,
                                        0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long pwritev2(int fd, long iovecs, int count, long position, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                PWRITEV2.invokeExact(
                                        state,
                                        (long) fd,
                                        iovecs,
                                        (long) count,
                                        position,
                                        (long) flags,
                                        0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long lseek(int fd, long position, int whence) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) LSEEK.invokeExact(state, (long) fd, position, (long) whence, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long recv(int fd, long address, long length, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                RECV.invokeExact(
                                        state, (long) fd, address, length, (long) flags, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long send(int fd, long address, long length, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                SEND.invokeExact(
                                        state, (long) fd, address, length, (long) flags, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long recvmsg(int fd, long message, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) RECVMSG.invokeExact(state, (long) fd, message, (long) flags, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long sendmsg(int fd, long message, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n = (long) SENDMSG.invokeExact(state, (long) fd, message, (long) flags, 0L, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long sendfile(int out, int in, long position, long length) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                SENDFILE.invokeExact(
                                        state, (long) out, (long) in, position, length, 0L, 0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static int poll(long entries, long count, int timeoutMillis) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            int n;
            do {
                n =
                        (int)
                                (long)
                                        POLL.invokeExact(
                                                state,
                                                entries,
                                                count,
                                                (long) timeoutMillis,
                                                0L,
                                                0L,
                                                0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static int epollWait(int fd, long events, int capacity, int timeoutMillis) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            int n;
            do {
                n =
                        (int)
                                (long)
                                        EPOLL_WAIT.invokeExact(
                                                state,
                                                (long) fd,
                                                events,
                                                (long) capacity,
                                                (long) timeoutMillis,
                                                0L,
                                                0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long ioUringEnter(int ring, int submit, int wait, int flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                IO_URING_ENTER.invokeExact(
                                        state,
                                        SYS_IO_URING_ENTER,
                                        (long) ring,
                                        (long) submit,
                                        (long) wait,
                                        (long) flags,
                                        0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }
}

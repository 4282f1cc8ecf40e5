package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.FunctionDescriptor;
import java.lang.foreign.Linker;
import java.lang.foreign.MemoryLayout;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.MethodHandle;

/**
 * The system calls that are made once per request, bound with the JDK's foreign function API, which
 * costs two thirds of a JNA call (README.md). Addresses are {@code long}. As in the kernel, a
 * result below zero is a negated error number. A call that a signal interrupted is made again.
 * Nothing is allocated.
 */
@SuppressWarnings("restricted")
final class HotCalls {
    private static final Linker LINKER = Linker.nativeLinker();

    private static final MethodHandle READ = bind("read", JAVA_INT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle WRITE = bind("write", JAVA_INT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle WRITEV = bind("writev", JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle PREAD =
            bind("pread", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle PWRITE =
            bind("pwrite", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle PREADV2 =
            bind("preadv2", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle PWRITEV2 =
            bind("pwritev2", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle LSEEK = bind("lseek", JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle RECV = bind("recv", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle SEND = bind("send", JAVA_INT, JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle RECVMSG = bind("recvmsg", JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle SENDMSG = bind("sendmsg", JAVA_INT, JAVA_LONG, JAVA_INT);
    private static final MethodHandle SENDFILE =
            bind("sendfile", JAVA_INT, JAVA_INT, JAVA_LONG, JAVA_LONG);
    private static final MethodHandle POLL = bindInt("poll", JAVA_LONG, JAVA_LONG, JAVA_INT);
    private static final MethodHandle EPOLL_WAIT =
            bindInt("epoll_wait", JAVA_INT, JAVA_LONG, JAVA_INT, JAVA_INT);
    private static final MethodHandle SYSCALL =
            LINKER.downcallHandle(
                    LINKER.defaultLookup().findOrThrow("syscall"),
                    FunctionDescriptor.of(
                            JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG, JAVA_LONG,
                            JAVA_LONG, JAVA_LONG),
                    Linker.Option.firstVariadicArg(1),
                    Linker.Option.captureCallState("errno"));

    /** io_uring_enter(2); the number is the same on every architecture. */
    private static final long SYS_IO_URING_ENTER = 426;

    private HotCalls() {}

    private static MethodHandle bind(String name, MemoryLayout... arguments) {
        return bind(name, FunctionDescriptor.of(JAVA_LONG, arguments));
    }

    private static MethodHandle bindInt(String name, MemoryLayout... arguments) {
        return bind(name, FunctionDescriptor.of(JAVA_INT, arguments));
    }

    private static MethodHandle bind(String name, FunctionDescriptor function) {
        return LINKER.downcallHandle(
                LINKER.defaultLookup().findOrThrow(name),
                function,
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
                n = (long) READ.invokeExact(state, fd, address, length);
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
                n = (long) WRITE.invokeExact(state, fd, address, length);
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
                n = (long) WRITEV.invokeExact(state, fd, iovecs, count);
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
                n = (long) PREAD.invokeExact(state, fd, address, length, position);
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
                n = (long) PWRITE.invokeExact(state, fd, address, length, position);
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
                n = (long) PREADV2.invokeExact(state, fd, iovecs, count, position, flags);
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
                n = (long) PWRITEV2.invokeExact(state, fd, iovecs, count, position, flags);
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
                n = (long) LSEEK.invokeExact(state, fd, position, whence);
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
                n = (long) RECV.invokeExact(state, fd, address, length, flags);
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
                n = (long) SEND.invokeExact(state, fd, address, length, flags);
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
                n = (long) RECVMSG.invokeExact(state, fd, message, flags);
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
                n = (long) SENDMSG.invokeExact(state, fd, message, flags);
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
                n = (long) SENDFILE.invokeExact(state, out, in, position, length);
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
                n = (int) POLL.invokeExact(state, entries, count, timeoutMillis);
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
                n = (int) EPOLL_WAIT.invokeExact(state, fd, events, capacity, timeoutMillis);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }

    static long ioUringEnter(long ring, long submit, long wait, long flags) {
        MemorySegment state = Scratch.ofThread().errno;
        try {
            long n;
            do {
                n =
                        (long)
                                SYSCALL.invokeExact(
                                        state,
                                        SYS_IO_URING_ENTER,
                                        ring,
                                        submit,
                                        wait,
                                        flags,
                                        0L,
                                        0L);
            } while (n < 0 && errno(state) == Errnos.EINTR);
            return n < 0 ? -errno(state) : n;
        } catch (Throwable thrown) {
            throw impossible(thrown);
        }
    }
}

package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** A monotonic clock's alarm that can be waited for like any descriptor (timerfd_create(2)). */
public final class TimerFd implements AutoCloseable {
    private static final int CLOCK_MONOTONIC = 1;
    private static final long SECOND = 1_000_000_000;

    private final Descriptor descriptor;

    /** An alarm that is not set. */
    public TimerFd() throws LinuxException {
        descriptor =
                new Descriptor(
                        LinuxException.check(
                                Libc.timerfd_create(
                                        CLOCK_MONOTONIC, Libc.O_NONBLOCK | Libc.O_CLOEXEC),
                                "timerfd_create"));
    }

    /** The descriptor's number, readable when the alarm has gone off; -1 if closed. */
    public int fd() {
        return descriptor.fd();
    }

    /** Sets the alarm to {@code nanos} from now, once; 0 switches it off. */
    public void set(long nanos) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            // struct itimerspec: interval at 0, value at 16
            MemorySegment value = RawMemory.argument(arena, 32);
            value.set(JAVA_LONG, 16, nanos / SECOND);
            value.set(JAVA_LONG, 24, nanos % SECOND);
            LinuxException.check(
                    Libc.timerfd_settime(fd(), 0, value.address(), 0), "timerfd_settime");
        }
    }

    /** Whether the alarm has gone off since it was asked last. */
    public boolean clear() throws LinuxException {
        long n = HotCalls.read(fd(), Scratch.ofThread().number, 8);
        if (n == -Errnos.EAGAIN) {
            return false;
        }
        return LinuxException.checkHot(n, "timerfd read") == 8;
    }

    /** Closes it. Idempotent. */
    @Override
    public void close() {
        descriptor.close();
    }
}

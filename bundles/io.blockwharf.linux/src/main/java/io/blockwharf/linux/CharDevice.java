package io.blockwharf.linux;

import com.sun.jna.Native;

import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;

/**
 * A descriptor that is read and written as a stream and controlled by ioctls: {@code /dev/fuse},
 * {@code /dev/vduse/...}, a terminal, a pipe. Reads and writes allocate nothing. One thread may
 * read while others write; {@link #close()} when no call is under way.
 */
public final class CharDevice implements AutoCloseable {
    /** Result of a transfer that would have had to wait on a non-blocking descriptor. */
    public static final long WOULD_BLOCK = -1;

    private final Descriptor descriptor;

    private CharDevice(int fd) {
        descriptor = new Descriptor(fd);
    }

    /**
     * Opens a device for reading and writing. A terminal does not become the process's own.
     *
     * @throws LinuxException {@code "Failed to open P: ..."}
     */
    public static CharDevice open(String path) throws LinuxException {
        int fd = Descriptor.open(path, Libc.O_RDWR | Libc.O_NOCTTY, 0);
        if (fd < 0) {
            throw new LinuxException("Failed to open " + path, -fd);
        }
        return new CharDevice(fd);
    }

    /** Takes over a descriptor; it is closed with this object. */
    public static CharDevice of(int fd) throws LinuxException {
        Descriptor.closeOnExec(fd);
        return new CharDevice(fd);
    }

    /** The descriptor's number; -1 if closed. */
    public int fd() {
        return descriptor.fd();
    }

    /** Whether calls wait (the default), for every owner of the open file. */
    public void blocking(boolean on) throws LinuxException {
        Descriptor.nonBlocking(fd(), !on);
    }

    /**
     * Reads once.
     *
     * @return bytes read, 0 at the end, {@link #WOULD_BLOCK}
     * @throws LinuxException ENODEV, for example, when a FUSE file system has been unmounted
     */
    public long read(MemorySegment segment, long offset, long length) throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long n = HotCalls.read(fd(), address, length);
        Reference.reachabilityFence(segment);
        return n < 0 ? stalled(n, "read") : n;
    }

    /**
     * Writes once.
     *
     * @return bytes written, {@link #WOULD_BLOCK}
     */
    public long write(MemorySegment segment, long offset, long length) throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long n = HotCalls.write(fd(), address, length);
        Reference.reachabilityFence(segment);
        return n < 0 ? stalled(n, "write") : n;
    }

    /**
     * Writes once from the ranges of {@code list}, which loses what was written from its front.
     *
     * @return bytes written, {@link #WOULD_BLOCK}
     */
    public long write(IoVec list) throws LinuxException {
        long n = HotCalls.writev(fd(), list.address(), list.countPerCall());
        Reference.reachabilityFence(list);
        if (n < 0) {
            return stalled(n, "writev");
        }
        list.advance(n);
        return n;
    }

    private static long stalled(long negated, String call) throws LinuxException {
        if (negated == -Errnos.EAGAIN) {
            return WOULD_BLOCK;
        }
        throw new LinuxException(call, (int) -negated);
    }

    /**
     * An ioctl whose argument is a number, or none (0).
     *
     * @return what the device answers, not negative
     */
    public int ioctl(long request, long argument, String what) throws LinuxException {
        int result;
        do {
            result = Libc.ioctl(fd(), request, argument);
        } while (result < 0 && Native.getLastError() == Errnos.EINTR);
        return LinuxException.check(result, what);
    }

    /**
     * An ioctl whose argument is a structure, all of {@code argument}.
     *
     * @return what the device answers, not negative
     */
    public int ioctl(long request, MemorySegment argument, String what) throws LinuxException {
        long address = RawMemory.address(argument, 0, argument.byteSize());
        int result = ioctl(request, address, what);
        Reference.reachabilityFence(argument);
        return result;
    }

    /** Gives the descriptor away: the caller closes it. */
    public int release() {
        return descriptor.release();
    }

    /** Closes it. Idempotent. */
    @Override
    public void close() {
        descriptor.close();
    }
}

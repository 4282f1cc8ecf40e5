package io.blockwharf.linux;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * A range of a file, memory file or device in this process's memory (mmap(2)), of any size. Java
 * code that touches the segment after {@link #close()} gets an {@code IllegalStateException};
 * system calls that hold its address at that moment are the owner's to prevent.
 *
 * <p>If another process makes the file shorter, Java code that touches the missing pages gets an
 * {@code InternalError}, and system calls EFAULT: seal a {@link MemFd} against it where it matters.
 */
public final class MappedRegion implements AutoCloseable {
    private static final long PAGE = 4096;
    private static final int MAP_ANONYMOUS = 0x20;
    private static final long MAP_FAILED = -1;

    /** What may be done with the mapped memory. */
    public enum Access {
        READ(Libc.PROT_READ),
        READ_WRITE(Libc.PROT_READ | Libc.PROT_WRITE);

        final int protection;

        Access(int protection) {
            this.protection = protection;
        }
    }

    private final Arena arena = Arena.ofShared();
    private final MemorySegment segment;

    private MappedRegion(long address, long mapped, long skip, long length) {
        MemorySegment all =
                MemorySegment.ofAddress(address)
                        .reinterpret(mapped, arena, _ -> Libc.munmap(address, mapped));
        segment = all.asSlice(skip, length);
    }

    /**
     * Maps {@code length} bytes of {@code fd} from {@code offset} on, shared with whoever else maps
     * or reads it. The descriptor can be closed afterwards.
     *
     * @param offset any number of bytes; it need not be the start of a page
     */
    public static MappedRegion map(int fd, long offset, long length, Access access)
            throws LinuxException {
        if (offset < 0 || length <= 0 || offset > Long.MAX_VALUE - PAGE - length) {
            throw new LinuxException("mmap", Errnos.EINVAL);
        }
        long skip = offset % PAGE;
        return map(access, Libc.MAP_SHARED, fd, offset - skip, length + skip, skip);
    }

    /**
     * As {@link #map}, for a descriptor of a peer. Refuses what FUSE brings, which is another
     * process: Java code that touches a page which never comes stops in the middle, and with it the
     * virtual machine as soon as that wants all threads to pause.
     *
     * @throws LinuxException EOPNOTSUPP for a file in a FUSE file system
     */
    public static MappedRegion mapReceived(int fd, long offset, long length, Access access)
            throws LinuxException {
        if (FileSystemType.of(fd) == FileSystemType.FUSE) {
            throw LinuxException.sentence(
                    "Memory of a FUSE file system cannot be shared", Errnos.EOPNOTSUPP);
        }
        return map(fd, offset, length, access);
    }

    /** Zeroed memory that child processes and devices can be given, not backed by a file. */
    public static MappedRegion anonymous(long length) throws LinuxException {
        return map(Access.READ_WRITE, Libc.MAP_SHARED | MAP_ANONYMOUS, -1, 0, length, 0);
    }

    private static MappedRegion map(
            Access access, int flags, int fd, long offset, long bytes, long skip)
            throws LinuxException {
        long address = Libc.mmap(0, bytes, access.protection, flags, fd, offset);
        if (address == MAP_FAILED) {
            throw new LinuxException("mmap", Native.getLastError());
        }
        return new MappedRegion(address, bytes, skip, bytes - skip);
    }

    /** The mapped bytes, alive until {@link #close()}; may be used by any thread. */
    public MemorySegment segment() {
        return segment;
    }

    /** Unmaps it. Idempotent. */
    @Override
    public void close() {
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}

package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * What statx(2) says about a file; unlike {@code struct stat} it is the same on every architecture.
 *
 * @param mode type and permissions, {@code S_IF*}
 * @param size length in bytes, 0 for a device
 * @param allocated bytes that are allocated to it
 * @param directMemory alignment of buffers for O_DIRECT; 0 if unknown
 * @param directOffset alignment of offsets and lengths for O_DIRECT; 0 if unknown
 */
record FileStatus(
        FileIdentity identity,
        int mode,
        long size,
        long allocated,
        int directMemory,
        int directOffset) {
    private static final int S_IFMT = 0170000;
    private static final int S_IFSOCK = 0140000;
    static final int S_IFREG = 0100000;
    static final int S_IFBLK = 0060000;
    static final int S_IFCHR = 0020000;

    private static final int AT_FDCWD = -100;
    private static final int AT_EMPTY_PATH = 0x1000;
    private static final int STATX_BASIC_STATS = 0x7ff;
    private static final int STATX_DIOALIGN = 0x2000;
    private static final int BYTES = 256;

    static FileStatus of(int fd) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            return query(arena, fd, "", AT_EMPTY_PATH);
        }
    }

    /**
     * Of a path, symbolic links followed.
     *
     * @throws LinuxException with the bare errno; the caller says what it wanted
     */
    static FileStatus of(String path) throws LinuxException {
        if (path.indexOf('\0') >= 0) {
            throw new LinuxException("statx", Errnos.EINVAL);
        }
        try (Arena arena = Arena.ofConfined()) {
            return query(arena, AT_FDCWD, path, 0);
        }
    }

    private static FileStatus query(Arena arena, int directory, String path, int flags)
            throws LinuxException {
        MemorySegment statx = RawMemory.argument(arena, BYTES);
        int result =
                Libc.statx(
                        directory,
                        arena.allocateFrom(path).address(),
                        flags,
                        STATX_BASIC_STATS | STATX_DIOALIGN,
                        statx.address());
        if (result < 0) {
            throw new LinuxException("statx", Native.getLastError());
        }
        boolean direct = (statx.get(JAVA_INT, 0) & STATX_DIOALIGN) != 0;
        long device =
                Integer.toUnsignedLong(statx.get(JAVA_INT, 136)) << 32
                        | Integer.toUnsignedLong(statx.get(JAVA_INT, 140));
        return new FileStatus(
                new FileIdentity(device, statx.get(JAVA_LONG, 32)),
                Short.toUnsignedInt(statx.get(JAVA_SHORT, 28)),
                statx.get(JAVA_LONG, 40),
                statx.get(JAVA_LONG, 48) * 512,
                direct ? statx.get(JAVA_INT, 152) : 0,
                direct ? statx.get(JAVA_INT, 156) : 0);
    }

    int type() {
        return mode & S_IFMT;
    }

    boolean isSocket() {
        return type() == S_IFSOCK;
    }
}

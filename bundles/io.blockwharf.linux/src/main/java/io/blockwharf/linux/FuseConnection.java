package io.blockwharf.linux;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.nio.file.Path;

/**
 * The kernel's switch that ends a FUSE connection, wherever its file system is mounted or whether
 * it is at all (fusectl, filesystems/fuse/fuse.rst). Needs CAP_SYS_ADMIN. The control file system
 * is mounted for nobody else to see (fsmount(2), Linux 5.2).
 */
public final class FuseConnection implements AutoCloseable {
    private static final long SYS_FSOPEN = 430;
    private static final long SYS_FSCONFIG = 431;
    private static final long SYS_FSMOUNT = 432;
    private static final long FSCONFIG_CMD_CREATE = 6;
    private static final long CLOSE_ON_EXEC = 1;

    /** As the kernel's dev_t. */
    private static final int MINOR_BITS = 20;

    private final CharDevice abort;

    private FuseConnection(CharDevice abort) {
        this.abort = abort;
    }

    /**
     * Finds a connection. What is found stays that connection, and {@link #abort} does nothing if
     * it has ended; whether it is the one that is meant, numbers of ended ones being used again,
     * only the caller knows, who has its device.
     *
     * @param major of the device number of its file system
     * @param minor of the device number of its file system
     * @throws LinuxException ENOENT if there is none; EPERM
     */
    public static FuseConnection find(int major, int minor) throws LinuxException {
        long number = (long) major << MINOR_BITS | minor;
        try (Arena arena = Arena.ofConfined();
                Descriptor context =
                        opened(
                                Libc.syscall(
                                        SYS_FSOPEN,
                                        arena.allocateFrom("fusectl").address(),
                                        CLOSE_ON_EXEC,
                                        0,
                                        0,
                                        0),
                                "fsopen fusectl")) {
            if (Libc.syscall(SYS_FSCONFIG, context.fd(), FSCONFIG_CMD_CREATE, 0, 0, 0) < 0) {
                throw new LinuxException("fsconfig fusectl", Native.getLastError());
            }
            try (Descriptor control =
                    opened(
                            Libc.syscall(SYS_FSMOUNT, context.fd(), CLOSE_ON_EXEC, 0, 0, 0),
                            "fsmount fusectl")) {
                Path file = Path.of("/proc/self/fd", control.fd() + "/" + number + "/abort");
                int fd = Descriptor.open(file.toString(), Libc.O_WRONLY, 0);
                if (fd < 0) {
                    throw new LinuxException("Failed to open " + file, -fd);
                }
                return new FuseConnection(CharDevice.of(fd));
            }
        }
    }

    private static Descriptor opened(long fd, String what) throws LinuxException {
        if (fd < 0) {
            throw new LinuxException(what, Native.getLastError());
        }
        return new Descriptor((int) fd);
    }

    /** Whoever reads its device gets ECONNABORTED or ENODEV, whoever uses its files ENOTCONN. */
    public void abort() throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            abort.write(arena.allocateFrom("1"), 0, 1);
        }
    }

    /** Closes the switch, not the connection. Idempotent. */
    @Override
    public void close() {
        abort.close();
    }
}

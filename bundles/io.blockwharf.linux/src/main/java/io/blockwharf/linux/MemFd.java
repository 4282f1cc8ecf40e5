package io.blockwharf.linux;

import java.lang.foreign.Arena;

/** A file that lives in memory and has no name (memfd_create(2)): memory to share by descriptor. */
public final class MemFd implements AutoCloseable {
    private static final int MFD_CLOEXEC = 1;
    private static final int MFD_ALLOW_SEALING = 2;
    private static final int F_SEAL_SEAL = 1;
    private static final int F_SEAL_SHRINK = 2;
    private static final int F_SEAL_GROW = 4;

    private final Descriptor descriptor;

    private MemFd(int fd) {
        descriptor = new Descriptor(fd);
    }

    /**
     * A memory file of {@code length} zero bytes.
     *
     * @param name what /proc shows; need not be unique
     */
    public static MemFd create(String name, long length) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            int fd =
                    LinuxException.check(
                            Libc.memfd_create(
                                    arena.allocateFrom(name).address(),
                                    MFD_CLOEXEC | MFD_ALLOW_SEALING),
                            "memfd_create");
            MemFd file = new MemFd(fd);
            try {
                file.resize(length);
                return file;
            } catch (LinuxException e) {
                file.close();
                throw e;
            }
        }
    }

    /** The descriptor's number; -1 if closed. */
    public int fd() {
        return descriptor.fd();
    }

    /** Makes it longer or shorter; new bytes are zero. */
    public void resize(long length) throws LinuxException {
        LinuxException.check(Libc.ftruncate(fd(), length), "ftruncate");
    }

    /** Fixes the length for ever, for every process that has it. */
    public void seal() throws LinuxException {
        LinuxException.check(
                Libc.fcntl(fd(), Libc.F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL),
                "fcntl F_ADD_SEALS");
    }

    /** Maps all of {@code length} bytes for reading and writing. */
    public MappedRegion map(long length) throws LinuxException {
        return MappedRegion.map(fd(), 0, length, MappedRegion.Access.READ_WRITE);
    }

    /** Closes the descriptor; the memory lives on where it is mapped or open. Idempotent. */
    @Override
    public void close() {
        descriptor.close();
    }
}

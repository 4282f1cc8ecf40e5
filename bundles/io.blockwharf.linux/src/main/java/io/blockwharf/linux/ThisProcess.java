package io.blockwharf.linux;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Optional;

/** What this process tells its surroundings. Thread-safe. */
public final class ThisProcess {
    private ThisProcess() {}

    /**
     * Tells the service manager, if one wants to know: sd_notify(3). What it does not take is lost;
     * the daemon's life does not depend on it.
     *
     * @param state lines as in {@code READY=1}
     * @return whether there was somebody to tell, and he took it
     */
    public static boolean notifyManager(String state) {
        String address = System.getenv("NOTIFY_SOCKET");
        return address != null && !address.isEmpty() && send(address, state);
    }

    /** Sends to a datagram socket: a path, or with {@code @} in front an abstract name. */
    static boolean send(String address, String text) {
        boolean isAbstract = address.startsWith("@");
        var peer =
                isAbstract
                        ? new SocketAddress.Unix(
                                address.substring(1), Optional.of(true), Optional.empty())
                        : new SocketAddress.Unix(address);
        int fd = Libc.socket(Libc.AF_UNIX, Libc.SOCK_DGRAM | Libc.SOCK_CLOEXEC, 0);
        if (fd < 0) {
            return false;
        }
        try (FdSocket socket = new FdSocket(fd);
                Arena arena = Arena.ofConfined()) {
            byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
            MemorySegment copy = arena.allocate(bytes.length);
            MemorySegment.copy(MemorySegment.ofArray(bytes), 0, copy, 0, bytes.length);
            int result = SocketName.of(peer).with((at, length) -> Libc.connect(fd, at, length));
            return result == 0 && socket.send(copy, 0, bytes.length, 0) == bytes.length;
        } catch (LinuxException e) {
            return false;
        }
    }

    /**
     * Changes the folder that relative paths begin at, for the whole process, and only for those
     * that the kernel resolves: Java's own absolute paths still begin where the process did.
     *
     * @throws LinuxException ENOENT, EACCES, ...
     */
    public static void changeDirectory(String path) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            LinuxException.check(Libc.chdir(arena.allocateFrom(path).address()), "chdir " + path);
        }
    }
}

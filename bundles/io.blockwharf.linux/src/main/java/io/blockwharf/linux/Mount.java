package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.ADDRESS;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;
import java.util.Set;

/**
 * A mounted file system, unmounted when it is closed: by mount(2), or by {@code fusermount3} for
 * users who may not call that.
 */
public final class Mount implements AutoCloseable {

    /** Mount options that the kernel knows for every file system. */
    public enum Flag {
        READ_ONLY(0x1),
        NO_SET_UID(0x2),
        NO_DEVICES(0x4),
        NO_EXECUTION(0x8),
        NO_ACCESS_TIME(0x400);

        final long bit;

        Flag(long bit) {
            this.bit = bit;
        }
    }

    /** A FUSE file system that {@code fusermount3} has mounted, and the device that serves it. */
    public record Fuse(Mount mount, CharDevice device) {}

    private static final int MNT_FORCE = 1;
    private static final int MNT_DETACH = 2;
    private static final int UMOUNT_NOFOLLOW = 8;
    private static final int COMMUNICATION_FD = 3;

    private volatile String target;
    private final boolean byHelper;
    private boolean mounted = true;

    private Mount(String target, boolean byHelper) {
        this.target = target;
        this.byHelper = byHelper;
    }

    /**
     * Mounts (mount(2)); needs CAP_SYS_ADMIN.
     *
     * @param source what {@code /proc/mounts} shows first
     * @param target an existing directory, or file for a file system whose root is one
     * @param data options of the file system, separated by commas
     */
    public static Mount mount(
            String source, String target, String type, Set<Flag> flags, String data)
            throws LinuxException {
        long bits = 0;
        for (Flag flag : flags) {
            bits |= flag.bit;
        }
        try (Arena arena = Arena.ofConfined()) {
            LinuxException.check(
                    Libc.mount(
                            arena.allocateFrom(source).address(),
                            arena.allocateFrom(target).address(),
                            arena.allocateFrom(type).address(),
                            bits,
                            arena.allocateFrom(data).address()),
                    "mount " + target);
        }
        return new Mount(target, false);
    }

    /**
     * Lets {@code fusermount3} mount a FUSE file system and takes the device that it opens (the
     * protocol of libfuse's mount_util: the descriptor comes over the socket that the environment
     * variable {@code _FUSE_COMMFD} names).
     *
     * @param options as for {@code fusermount3 -o}
     * @throws LinuxException ENOENT if the program is missing; EPERM if it refused (it has told why
     *     on the error output)
     */
    public static Fuse fusermount(String target, String options) throws LinuxException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket ours = pair[0];
                ReceivedDescriptors received = new ReceivedDescriptors();
                Arena arena = Arena.ofConfined()) {
            int pid;
            try (FdSocket theirs = pair[1]) { // closed here, so that its death ends the wait
                pid = spawn(List.of("fusermount3", "-o", options, "--", target), theirs.fd());
            }
            MemorySegment message = RawMemory.argument(arena, 8);
            long n = ours.receiveWithDescriptors(message, 0, 8, 0, received);
            reap(pid);
            if (n <= 0 || received.count() != 1) {
                throw new LinuxException("fusermount3 " + target, Errnos.EPERM);
            }
            return new Fuse(new Mount(target, true), CharDevice.of(received.take(0)));
        }
    }

    /** Starts a program with a socket as its descriptor 3 and no other but the standard ones. */
    private static int spawn(List<String> command, int socket) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment actions = RawMemory.argument(arena, 256);
            failed(Libc.posix_spawn_file_actions_init(actions.address()), "posix_spawn");
            try {
                failed(
                        Libc.posix_spawn_file_actions_adddup2(
                                actions.address(), socket, COMMUNICATION_FD),
                        "posix_spawn");
                failed(
                        Libc.posix_spawn_file_actions_addclosefrom_np(
                                actions.address(), COMMUNICATION_FD + 1),
                        "posix_spawn");
                List<String> environment =
                        System.getenv("PATH") == null
                                ? List.of("_FUSE_COMMFD=" + COMMUNICATION_FD)
                                : List.of(
                                        "_FUSE_COMMFD=" + COMMUNICATION_FD,
                                        "PATH=" + System.getenv("PATH"));
                MemorySegment pid = RawMemory.argument(arena, 4);
                failed(
                        Libc.posix_spawnp(
                                pid.address(),
                                arena.allocateFrom(command.getFirst()).address(),
                                actions.address(),
                                0,
                                strings(arena, command),
                                strings(arena, environment)),
                        command.getFirst());
                return pid.get(JAVA_INT, 0);
            } finally {
                Libc.posix_spawn_file_actions_destroy(actions.address());
            }
        }
    }

    private static void failed(int errno, String what) throws LinuxException {
        if (errno != 0) { // these functions return the error number
            throw new LinuxException(what, errno);
        }
    }

    /** A NULL-terminated array of strings. */
    private static long strings(Arena arena, List<String> strings) {
        MemorySegment array = arena.allocate(ADDRESS, strings.size() + 1L);
        for (int i = 0; i < strings.size(); i++) {
            array.setAtIndex(JAVA_LONG, i, arena.allocateFrom(strings.get(i)).address());
        }
        return array.address();
    }

    /** Waits for a child; its exit status is 0 if all went well. */
    private static int reap(int pid) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment status = RawMemory.argument(arena, 4);
            int result;
            do {
                result = Libc.waitpid(pid, status.address(), 0);
            } while (result < 0 && Native.getLastError() == Errnos.EINTR);
            return status.get(JAVA_INT, 0);
        }
    }

    /** Where it is mounted. */
    public String target() {
        return target;
    }

    /** It is to be found there now: a directory above it was renamed, for example. */
    public void moved(String target) {
        this.target = target;
    }

    /**
     * Unmounts at once, even if it is in use: whoever still has files of it open keeps them, nobody
     * finds it any more (MNT_DETACH). Fine if it is not mounted any more. Idempotent.
     */
    public synchronized void unmount() throws LinuxException {
        unmount(0);
    }

    /**
     * Unmounts like {@link #unmount} after ending every request under way with an error
     * (MNT_FORCE). A FUSE connection is over then: whoever reads its device gets ENODEV or
     * ECONNABORTED, even in a read that sleeps. What {@code fusermount3} has mounted ends like that
     * only when its last user is gone or its device is closed.
     */
    public synchronized void abort() throws LinuxException {
        unmount(MNT_FORCE);
    }

    private void unmount(int flags) throws LinuxException {
        if (!mounted) {
            return;
        }
        if (byHelper) {
            int status = reap(spawn(List.of("fusermount3", "-u", "-q", "-z", "--", target), 2));
            if (status != 0) {
                throw new LinuxException("fusermount3 -u " + target, Errnos.EPERM);
            }
        } else {
            detach(target, flags);
        }
        mounted = false;
    }

    /** Unmounts what is mounted on {@code target}, whoever did it; needs CAP_SYS_ADMIN. */
    public static void detach(String target) throws LinuxException {
        detach(target, 0);
    }

    private static void detach(String target, int flags) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            int result =
                    Libc.umount2(
                            arena.allocateFrom(target).address(),
                            MNT_DETACH | UMOUNT_NOFOLLOW | flags);
            if (result < 0 && Native.getLastError() != Errnos.EINVAL) { // EINVAL: not a mount
                throw LinuxException.last("umount " + target);
            }
        }
    }

    /** Unmounts; failures are swallowed: {@link #unmount} tells them. */
    @Override
    public void close() {
        try {
            unmount();
        } catch (LinuxException e) {
            mounted = false;
        }
    }
}

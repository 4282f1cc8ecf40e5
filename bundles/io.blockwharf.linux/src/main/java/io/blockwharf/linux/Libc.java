package io.blockwharf.linux;

import com.sun.jna.Native;

/**
 * The C library's functions that are called rarely, by JNA direct mapping. Addresses are {@code
 * long}: JNA's {@code Pointer} and {@code NativeLong} allocate on every call. A failed call leaves
 * its error number in {@link Native#getLastError()}, which is per thread and holds until the
 * thread's next JNA call.
 */
final class Libc {
    static final int O_WRONLY = 1;
    static final int O_RDWR = 2;
    static final int O_CREAT = 0x40;
    static final int O_EXCL = 0x80;
    static final int O_NOCTTY = 0x100;
    static final int O_TRUNC = 0x200;
    static final int O_NONBLOCK = 0x800;
    static final int O_CLOEXEC = 0x80000;

    static final int F_GETFD = 1;
    static final int F_SETFD = 2;
    static final int F_GETFL = 3;
    static final int F_SETFL = 4;
    static final int F_OFD_GETLK = 36;
    static final int F_OFD_SETLK = 37;
    static final int F_DUPFD_CLOEXEC = 1030;
    static final int F_ADD_SEALS = 1033;
    static final int FD_CLOEXEC = 1;

    static final int AF_UNIX = 1;
    static final int AF_INET = 2;
    static final int AF_INET6 = 10;
    static final int AF_VSOCK = 40;
    static final int SOCK_STREAM = 1;
    static final int SOCK_DGRAM = 2;
    static final int SOCK_NONBLOCK = 0x800;
    static final int SOCK_CLOEXEC = 0x80000;
    static final int SOL_SOCKET = 1;
    static final int SO_REUSEADDR = 2;
    static final int SO_TYPE = 3;
    static final int SO_ERROR = 4;
    static final int SO_SNDBUF = 7;
    static final int SO_RCVBUF = 8;
    static final int SO_KEEPALIVE = 9;
    static final int SO_PEERCRED = 17;
    static final int SO_ACCEPTCONN = 30;
    static final int IPPROTO_TCP = 6;
    static final int IPPROTO_IPV6 = 41;
    static final int IPPROTO_MPTCP = 262;
    static final int IPV6_V6ONLY = 26;
    static final int TCP_NODELAY = 1;
    static final int TCP_CORK = 3;
    static final int TCP_KEEPIDLE = 4;
    static final int TCP_KEEPINTVL = 5;
    static final int TCP_KEEPCNT = 6;

    static final int PROT_READ = 1;
    static final int PROT_WRITE = 2;
    static final int MAP_SHARED = 1;
    static final int MAP_PRIVATE = 2;
    static final int MAP_NORESERVE = 0x4000;
    static final int MAP_POPULATE = 0x8000;

    static {
        Native.register(Libc.class, "c");
    }

    private Libc() {}

    // Files
    static native int open(long path, int flags, int mode);

    static native int close(int fd);

    static native int dup2(int from, int to);

    static native int dup3(int from, int to, int flags);

    static native int fcntl(int fd, int command, long argument);

    static native int ioctl(int fd, long request, long argument);

    static native int statx(int directory, long path, int flags, int mask, long result);

    static native int fstatfs(int fd, long result);

    static native int getrusage(int who, long usage);

    static native int ftruncate(int fd, long length);

    static native int fsync(int fd);

    static native int fdatasync(int fd);

    static native int fallocate(int fd, int mode, long offset, long length);

    static native int posix_fadvise(int fd, long offset, long length, int advice);

    static native int unlink(long path);

    static native int fchmodat(int directory, long path, int mode, int flags);

    static native int isatty(int fd);

    static native int memfd_create(long name, int flags);

    static native long mmap(
            long address, long length, int protection, int flags, int fd, long offset);

    static native int munmap(long address, long length);

    static native long calloc(long count, long bytes);

    static native void free(long address);

    // Sockets
    static native int socket(int domain, int type, int protocol);

    static native int socketpair(int domain, int type, int protocol, long descriptors);

    static native int bind(int fd, long address, int length);

    static native int listen(int fd, int backlog);

    static native int accept4(int fd, long address, long length, int flags);

    static native int connect(int fd, long address, int length);

    static native int shutdown(int fd, int how);

    static native int getsockopt(int fd, int level, int option, long value, long length);

    static native int setsockopt(int fd, int level, int option, long value, int length);

    static native int getsockname(int fd, long address, long length);

    static native int getpeername(int fd, long address, long length);

    static native int getaddrinfo(long host, long service, long hints, long result);

    static native void freeaddrinfo(long list);

    static native long gai_strerror(int code);

    static native int getnameinfo(
            long address,
            int length,
            long host,
            int hostBytes,
            long service,
            int serviceBytes,
            int flags);

    // Waiting
    static native int eventfd(int initial, int flags);

    static native int epoll_create1(int flags);

    static native int epoll_ctl(int epoll, int operation, int fd, long event);

    static native int timerfd_create(int clock, int flags);

    static native int timerfd_settime(int fd, int flags, long value, long old);

    static native long syscall(
            long number, long first, long second, long third, long fourth, long fifth);

    // Mounting, processes
    static native int mount(long source, long target, long type, long flags, long data);

    static native int umount2(long target, int flags);

    static native int posix_spawnp(
            long pid, long file, long actions, long attributes, long argv, long environment);

    static native int posix_spawn_file_actions_init(long actions);

    static native int posix_spawn_file_actions_destroy(long actions);

    static native int posix_spawn_file_actions_adddup2(long actions, int from, int to);

    static native int posix_spawn_file_actions_addclosefrom_np(long actions, int from);

    static native int waitpid(int pid, long status, int options);

    static native int getpid();

    static native int chdir(long path);

    static native int geteuid();

    static native int getegid();

    static native int sched_setaffinity(int pid, long bytes, long mask);

    static native int sched_getaffinity(int pid, long bytes, long mask);

    static native int sched_getscheduler(int pid);

    static native int sched_setscheduler(int pid, int policy, long parameters);

    // Words for errors; unlike strerror, thread-safe and never translated
    static native long strerrorname_np(int errno);

    static native long strerrordesc_np(int errno);

    /** The string at an address that one of these functions returned, empty for NULL. */
    static String string(long address) {
        return RawMemory.string(address);
    }
}

package io.blockwharf.linux;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A place where clients connect: TCP, local, vsock, or an inherited listening socket. A host name
 * that stands for several addresses ({@code localhost}) is served on all of them.
 *
 * <p>One thread accepts. {@link #shutdown()} may be called from any thread and ends a blocked
 * {@link #accept}; {@link #close()} when nobody is in it any more.
 */
public final class ListeningSocket implements AutoCloseable {
    private static final long WAKE = -1;

    private final List<Descriptor> sockets;
    private final Epoll epoll;
    private final EventFd wake;
    private final Optional<SocketFile> file;
    private volatile boolean shutDown;

    /** The file that bind(2) made for a local socket; another program may put its own there. */
    private record SocketFile(String path, FileIdentity identity) {}

    private ListeningSocket(List<Descriptor> sockets, Optional<SocketFile> file)
            throws LinuxException {
        this.sockets = sockets;
        this.file = file;
        epoll = new Epoll(1);
        try {
            wake = EventFd.open();
            epoll.add(wake.fd(), Epoll.IN, WAKE);
            for (Descriptor socket : sockets) {
                Descriptor.nonBlocking(socket.fd(), true);
                epoll.add(socket.fd(), Epoll.IN, 0);
            }
        } catch (LinuxException e) {
            epoll.close();
            throw e;
        }
    }

    /**
     * Binds and listens as QEMU's socket_listen does, with its error texts. An existing file of a
     * local socket is replaced; unlike in QEMU, a file that is no socket stays and is an error. An
     * empty host listens on every address, IPv4 and IPv6, with one socket.
     *
     * @param backlog connections that the kernel holds before they are accepted
     */
    public static ListeningSocket open(SocketAddress address, int backlog) throws LinuxException {
        List<Descriptor> sockets = new ArrayList<>();
        try {
            Optional<SocketFile> file = Optional.empty();
            switch (address) {
                case SocketAddress.Inet inet -> bindInet(inet, backlog, sockets);
                case SocketAddress.Unix unix -> file = bindUnix(unix, backlog, sockets);
                case SocketAddress.Vsock vsock -> {
                    SocketName name = SocketName.of(vsock);
                    int fd = socket(name, 0, sockets, "Failed to create socket");
                    LinuxException.check(
                            name.with((at, length) -> Libc.bind(fd, at, length)),
                            "Failed to bind socket");
                    LinuxException.check(Libc.listen(fd, backlog), "Failed to listen on socket");
                }
                case SocketAddress.Fd inherited -> {
                    for (int fd : SocketName.descriptors(inherited)) {
                        sockets.add(new Descriptor(fd));
                    }
                    for (Descriptor socket : sockets) {
                        // Also what tells a connected or unbound socket from a listening one
                        LinuxException.check(
                                Libc.listen(socket.fd(), backlog), "Failed to listen on fd socket");
                    }
                }
            }
            return new ListeningSocket(List.copyOf(sockets), file);
        } catch (LinuxException e) {
            sockets.forEach(Descriptor::close);
            throw e;
        }
    }

    private static int socket(SocketName name, int protocol, List<Descriptor> sockets, String what)
            throws LinuxException {
        int type = Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC;
        int fd = LinuxException.check(Libc.socket(name.family(), type, protocol), what);
        sockets.add(new Descriptor(fd));
        return fd;
    }

    private static Optional<SocketFile> bindUnix(
            SocketAddress.Unix address, int backlog, List<Descriptor> sockets)
            throws LinuxException {
        SocketName name = SocketName.of(address);
        int fd = socket(name, 0, sockets, "Failed to create Unix socket");
        boolean isFile = !address.abstract_().orElse(false);
        if (isFile) {
            unlinkSocket(address.path());
        }
        LinuxException.check(
                name.with((at, length) -> Libc.bind(fd, at, length)),
                "Failed to bind socket to " + address.path());
        try {
            // Nobody can connect before listen: there is no moment with other permissions
            SocketPermissions.apply(address);
            LinuxException.check(Libc.listen(fd, backlog), "Failed to listen on socket");
        } catch (LinuxException e) {
            if (isFile) {
                unlinkSocket(address.path());
            }
            throw e;
        }
        return isFile
                ? Optional.of(
                        new SocketFile(address.path(), FileStatus.of(address.path()).identity()))
                : Optional.empty();
    }

    private static void unlinkSocket(String path) throws LinuxException {
        try {
            if (!FileStatus.of(path).isSocket()) {
                return;
            }
        } catch (LinuxException e) {
            return; // what is wrong with the path is for bind to say
        }
        try (Arena arena = Arena.ofConfined()) {
            int result = Libc.unlink(arena.allocateFrom(path).address());
            if (result < 0 && Native.getLastError() != Errnos.ENOENT) {
                throw LinuxException.last("Failed to unlink socket " + path);
            }
        }
    }

    private static void bindInet(SocketAddress.Inet address, int backlog, List<Descriptor> sockets)
            throws LinuxException {
        List<SocketName> names = SocketName.resolve(address, true);
        if (address.host().isEmpty() && names.stream().anyMatch(ListeningSocket::isIpv6)) {
            // The wildcard of IPv6 covers IPv4; if there is no IPv6, the other one is next
            names = new ArrayList<>(names);
            names.sort((a, b) -> Boolean.compare(isIpv6(b), isIpv6(a)));
        }
        LinuxException first = null;
        int port = 0;
        for (SocketName name : names) {
            try {
                // All addresses get the port that the first one got
                int from = sockets.isEmpty() ? name.port() : port;
                int to = sockets.isEmpty() ? address.to().orElse(from) : from;
                port = bindInet(address, name, from, to, backlog, sockets);
                if (address.host().isEmpty()) {
                    break;
                }
            } catch (LinuxException e) {
                first = first == null ? e : first;
            }
        }
        if (sockets.isEmpty()) {
            throw first == null
                    ? new LinuxException("Failed to create a socket", Errnos.EADDRNOTAVAIL)
                    : first;
        }
    }

    private static boolean isIpv6(SocketName name) {
        return name.family() == Libc.AF_INET6;
    }

    /** Tries the ports of the range one after the other; the port that it got. */
    private static int bindInet(
            SocketAddress.Inet address,
            SocketName name,
            int from,
            int to,
            int backlog,
            List<Descriptor> sockets)
            throws LinuxException {
        int error = Errnos.EADDRINUSE;
        for (int port = from; port <= to; port++) {
            List<Descriptor> tried = new ArrayList<>(1);
            int protocol = address.mptcp().orElse(false) ? Libc.IPPROTO_MPTCP : 0;
            int fd = socket(name, protocol, tried, "Failed to create a socket");
            try {
                SocketName.option(
                        fd, Libc.SOL_SOCKET, Libc.SO_REUSEADDR, 1, "setsockopt SO_REUSEADDR");
                error = bindAndListen(address, name.withPort(port), fd, backlog);
                if (error == 0) {
                    SocketName.keepAlive(fd, address);
                    int bound = nameOf(fd).port();
                    sockets.addAll(tried);
                    return bound;
                }
            } finally {
                if (!sockets.containsAll(tried)) {
                    tried.forEach(Descriptor::close);
                }
            }
        }
        throw new LinuxException("Failed to find an available port", error);
    }

    /** 0, or EADDRINUSE: the next port of the range may do. */
    private static int bindAndListen(
            SocketAddress.Inet address, SocketName name, int fd, int backlog)
            throws LinuxException {
        boolean unspecified = address.ipv4().isEmpty() && address.ipv6().isEmpty();
        boolean both = address.ipv4().orElse(false) && address.ipv6().orElse(false);
        boolean dual = isIpv6(name) && (unspecified || both);
        if (isIpv6(name)) {
            onlyIpv6(fd, !dual);
        }
        int result = name.with((at, length) -> Libc.bind(fd, at, length));
        if (result < 0 && dual && Native.getLastError() == Errnos.EADDRINUSE) {
            // The port may be taken for IPv4 alone
            onlyIpv6(fd, true);
            result = name.with((at, length) -> Libc.bind(fd, at, length));
        }
        String failed = "Failed to bind socket";
        if (result == 0) {
            result = Libc.listen(fd, backlog);
            failed = "Failed to listen on socket";
        }
        if (result == 0 || Native.getLastError() == Errnos.EADDRINUSE) {
            return result == 0 ? 0 : Errnos.EADDRINUSE;
        }
        throw LinuxException.last(failed);
    }

    private static void onlyIpv6(int fd, boolean on) throws LinuxException {
        SocketName.option(
                fd, Libc.IPPROTO_IPV6, Libc.IPV6_V6ONLY, on ? 1 : 0, "setsockopt IPV6_V6ONLY");
    }

    private static SocketName nameOf(int fd) throws LinuxException {
        return SocketName.query(
                (at, length) -> Libc.getsockname(fd, at, length),
                "Unable to query local socket address");
    }

    /**
     * A descriptor that is readable when {@link #tryAccept} has something to do: a client waits, or
     * {@link #shutdown()} was called. To be waited for, not to be read or closed.
     */
    public int fd() {
        return epoll.fd();
    }

    /** The first listening socket itself. */
    int socketFd() {
        return sockets.getFirst().fd();
    }

    /**
     * Where clients connect, with the port that was bound; the first address if there are several.
     */
    public SocketAddress address() throws LinuxException {
        return nameOf(sockets.getFirst().fd()).address();
    }

    /** Every address that is listened on, with the bound port. */
    public List<SocketAddress> addresses() throws LinuxException {
        List<SocketAddress> addresses = new ArrayList<>();
        for (Descriptor socket : sockets) {
            addresses.add(nameOf(socket.fd()).address());
        }
        return List.copyOf(addresses);
    }

    /**
     * Waits for the next client. Occupies a platform thread.
     *
     * @return the connection, or empty after {@link #shutdown()}
     * @throws LinuxException EMFILE and ENFILE among others; the client still waits then
     */
    public Optional<FdSocket> accept() throws LinuxException {
        while (!shutDown) {
            Optional<FdSocket> client = tryAccept();
            if (client.isPresent()) {
                return client;
            }
            epoll.await(-1);
        }
        return Optional.empty();
    }

    /**
     * Takes a client that waits already.
     *
     * @return the connection, or empty if nobody waits or after {@link #shutdown()}
     * @throws LinuxException EMFILE and ENFILE among others; the client still waits then
     */
    public Optional<FdSocket> tryAccept() throws LinuxException {
        for (Descriptor socket : sockets) {
            if (shutDown) {
                break;
            }
            int fd;
            do {
                fd = Libc.accept4(socket.fd(), 0, 0, Libc.SOCK_CLOEXEC);
            } while (fd < 0 && isTransient(Native.getLastError()));
            if (fd >= 0) {
                return Optional.of(new FdSocket(fd));
            }
            if (Native.getLastError() != Errnos.EAGAIN) {
                throw LinuxException.last("accept");
            }
        }
        return Optional.empty();
    }

    /** accept(2), "Error handling": these concern a client that has gone, not this socket. */
    private static boolean isTransient(int errno) {
        return errno == Errnos.EINTR || errno == Errnos.ECONNABORTED || errno == Errnos.EPROTO;
    }

    /** Accepts nobody from now on; a blocked {@link #accept} returns empty. Idempotent. */
    public void shutdown() {
        shutDown = true;
        try {
            wake.signal();
        } catch (LinuxException e) {
            // closed already: nobody is in accept
        }
    }

    /** Removes the file of a local socket, unless another program has put its own there. */
    public void unlink() throws LinuxException {
        if (file.isEmpty()) {
            return;
        }
        String path = file.get().path();
        try {
            if (!FileStatus.of(path).identity().equals(file.get().identity())) {
                return;
            }
        } catch (LinuxException e) {
            return; // gone
        }
        unlinkSocket(path);
    }

    /** Stops listening. Leaves the file of a local socket, see {@link #unlink()}. Idempotent. */
    @Override
    public void close() {
        shutDown = true;
        sockets.forEach(Descriptor::close);
        epoll.close();
        wake.close();
    }
}

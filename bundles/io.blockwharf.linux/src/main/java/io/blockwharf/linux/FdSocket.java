package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.List;
import java.util.Optional;

/**
 * A connected stream socket: TCP, local or vsock.
 *
 * <p>Calls block unless {@link #DONT_WAIT} is given or the socket was made non-blocking; a blocked
 * call occupies a platform thread and pins a virtual one. Nothing is allocated per transfer. One
 * thread may receive while another sends. {@link #shutdown()} may be called from any thread and
 * ends calls that are blocked; {@link #close()} only when no other thread is inside a call.
 *
 * <p>Segments must be native and stay alive until the call returns.
 */
public final class FdSocket implements AutoCloseable {
    /** Flag: return {@link #WOULD_BLOCK} instead of waiting. */
    public static final int DONT_WAIT = 0x40;

    /** Flag for sending: more follows at once, do not send a small packet yet. */
    public static final int MORE = 0x8000;

    /** Flag for receiving: leave the bytes in the socket. */
    public static final int PEEK = 0x2;

    /** Flag for receiving: wait until all of {@code length} is there, or the end. */
    public static final int WAIT_ALL = 0x100;

    /** Result of a transfer that would have had to wait. */
    public static final long WOULD_BLOCK = -1;

    private static final int MSG_NOSIGNAL = 0x4000;
    private static final int MSG_CMSG_CLOEXEC = 0x40000000;
    private static final int MSG_CTRUNC = 0x8;
    private static final int SCM_RIGHTS = 1;

    private final Descriptor descriptor;

    FdSocket(int fd) {
        descriptor = new Descriptor(fd);
    }

    /**
     * Connects and waits for it.
     *
     * @throws LinuxException with QEMU's sentence ({@code "Failed to connect to '/x': ..."})
     */
    public static FdSocket connect(SocketAddress address) throws LinuxException {
        return switch (address) {
            case SocketAddress.Inet inet -> connectInet(inet);
            case SocketAddress.Unix unix ->
                    connect(
                            SocketName.of(unix),
                            0,
                            "Failed to connect to '%s'".formatted(unix.path()));
            case SocketAddress.Vsock vsock ->
                    connect(
                            SocketName.of(vsock),
                            0,
                            "Failed to connect to '%s:%s'".formatted(vsock.cid(), vsock.port()));
            case SocketAddress.Fd fd -> ofInherited(fd);
        };
    }

    private static FdSocket connectInet(SocketAddress.Inet address) throws LinuxException {
        String what = "Failed to connect to '%s:%s'".formatted(address.host(), address.port());
        List<SocketName> names = SocketName.resolve(address, false);
        LinuxException last = null;
        for (SocketName name : names) {
            try {
                int protocol = address.mptcp().orElse(false) ? Libc.IPPROTO_MPTCP : 0;
                FdSocket socket = connect(name, protocol, what);
                try {
                    SocketName.keepAlive(socket.fd(), address);
                    return socket;
                } catch (LinuxException e) {
                    socket.close();
                    throw e;
                }
            } catch (LinuxException e) {
                last = e;
            }
        }
        throw last == null ? new LinuxException(what, Errnos.EADDRNOTAVAIL) : last;
    }

    private static FdSocket connect(SocketName name, int protocol, String what)
            throws LinuxException {
        int fd =
                LinuxException.check(
                        Libc.socket(name.family(), Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC, protocol),
                        "Failed to create socket");
        FdSocket socket = new FdSocket(fd);
        try {
            int result = name.with((address, length) -> Libc.connect(fd, address, length));
            if (result < 0) {
                LinuxException failure = LinuxException.last(what);
                // connect(2): an interrupted connect goes on by itself; wait for its outcome
                if (!failure.is(Errnos.EINTR)) {
                    throw failure;
                }
                socket.awaitConnected(what);
            }
            return socket;
        } catch (LinuxException e) {
            socket.close();
            throw e;
        }
    }

    private void awaitConnected(String what) throws LinuxException {
        Poll poll = new Poll(1);
        poll.set(0, fd(), Poll.OUT);
        poll.await(-1);
        int error = SocketName.option(fd(), Libc.SOL_SOCKET, Libc.SO_ERROR);
        if (error != 0) {
            throw new LinuxException(what, error);
        }
    }

    /**
     * Takes over a connected socket that this process inherited or received; it is closed with this
     * object, and not passed on to child processes.
     *
     * @throws LinuxException if it is no open socket
     */
    public static FdSocket of(int fd) throws LinuxException {
        return new FdSocket(SocketName.socket(fd, Integer.toString(fd)));
    }

    private static FdSocket ofInherited(SocketAddress.Fd address) throws LinuxException {
        List<Integer> fds = SocketName.descriptors(address);
        fds.subList(1, fds.size()).forEach(Libc::close); // a connection is one
        return new FdSocket(fds.getFirst());
    }

    /** Two local sockets that are connected with each other. */
    public static FdSocket[] pair() throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment fds = RawMemory.argument(arena, 8);
            LinuxException.check(
                    Libc.socketpair(
                            Libc.AF_UNIX, Libc.SOCK_STREAM | Libc.SOCK_CLOEXEC, 0, fds.address()),
                    "socketpair");
            return new FdSocket[] {
                new FdSocket(fds.get(JAVA_INT, 0)), new FdSocket(fds.get(JAVA_INT, 4))
            };
        }
    }

    /**
     * The descriptor's number, for {@link Epoll}, {@link Poll} and {@link IoUring}; -1 if closed.
     */
    public int fd() {
        return descriptor.fd();
    }

    /**
     * Receives at most {@code length} bytes into {@code segment} from {@code offset} on.
     *
     * @param flags {@link #DONT_WAIT}, {@link #PEEK}, {@link #WAIT_ALL} or 0
     * @return bytes received, 0 when the peer has sent its last (or {@code length} is 0), {@link
     *     #WOULD_BLOCK}
     */
    public long receive(MemorySegment segment, long offset, long length, int flags)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long n = HotCalls.recv(fd(), address, length, flags);
        Reference.reachabilityFence(segment);
        return n < 0 ? stalled(n, "recv") : n;
    }

    /**
     * Sends at most {@code length} bytes.
     *
     * @param flags {@link #DONT_WAIT}, {@link #MORE} or 0
     * @return bytes that the socket took (fewer than {@code length} if it would have to wait for
     *     the rest), {@link #WOULD_BLOCK}
     */
    public long send(MemorySegment segment, long offset, long length, int flags)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long n = HotCalls.send(fd(), address, length, flags | MSG_NOSIGNAL);
        Reference.reachabilityFence(segment);
        return n < 0 ? stalled(n, "send") : n;
    }

    /**
     * Sends all of {@code length} bytes, waiting as often as it must.
     *
     * @param flags {@link #MORE} or 0
     */
    public void sendAll(MemorySegment segment, long offset, long length, int flags)
            throws LinuxException {
        long done = 0;
        while (done < length) {
            long n = send(segment, offset + done, length - done, flags & ~DONT_WAIT);
            if (n == WOULD_BLOCK) {
                awaitWritable();
            } else {
                done += n;
            }
        }
    }

    /**
     * Sends from the ranges of {@code list} and takes what the socket took from its front; at most
     * 1024 ranges in one call.
     *
     * @param flags {@link #DONT_WAIT}, {@link #MORE} or 0
     * @return bytes that the socket took, {@link #WOULD_BLOCK}
     */
    public long send(IoVec list, int flags) throws LinuxException {
        if (list.isEmpty()) {
            return 0;
        }
        long n;
        if (list.count() == 1) { // the kernel has no list to fetch and check: 3 % of a request
            n = HotCalls.send(fd(), list.firstRange(), list.bytes(), flags | MSG_NOSIGNAL);
        } else {
            long message = Scratch.ofThread().message(list.address(), list.countPerCall());
            n = HotCalls.sendmsg(fd(), message, flags | MSG_NOSIGNAL);
        }
        Reference.reachabilityFence(list);
        if (n < 0) {
            return stalled(n, "send");
        }
        list.advance(n);
        return n;
    }

    /**
     * Sends all ranges of {@code list}, which is empty afterwards.
     *
     * @param flags {@link #MORE} or 0
     */
    public void sendAll(IoVec list, int flags) throws LinuxException {
        while (!list.isEmpty()) {
            if (send(list, flags & ~DONT_WAIT) == WOULD_BLOCK) {
                awaitWritable();
            }
        }
    }

    /**
     * Sends bytes of a file without copying them through this process (sendfile(2)).
     *
     * @param file descriptor of a regular file or block device
     * @param position of the first byte in the file
     * @return bytes that the socket took; 0 at the end of the file; {@link #WOULD_BLOCK} if the
     *     socket is non-blocking and full
     */
    public long sendFile(int file, long position, long length) throws LinuxException {
        Scratch scratch = Scratch.ofThread();
        long n = HotCalls.sendfile(fd(), file, scratch.number(position), length);
        return n < 0 ? stalled(n, "sendfile") : n;
    }

    /**
     * The same for files that sendfile(2) refuses: reads what fits into memory, and sends of it
     * what the socket takes. May wait for the disk.
     *
     * @param alignment what reads of the file are aligned to, a power of two
     * @param through at least twice as long, and aligned the same
     */
    public long copyFile(int file, long position, long length, int alignment, MemorySegment through)
            throws LinuxException {
        long start = position & -(long) alignment;
        long skipped = position - start;
        long address = RawMemory.address(through, 0, through.byteSize());
        long n =
                LinuxException.checkHot(
                        HotCalls.pread(file, address, through.byteSize(), start), "pread");
        return n <= skipped ? 0 : send(through, skipped, Math.min(n - skipped, length), 0);
    }

    /**
     * Sends all of {@code length} bytes together with file descriptors, of which the peer gets
     * duplicates (SCM_RIGHTS). For local sockets.
     *
     * @param descriptors at most {@link ReceivedDescriptors#MAX}; they stay the caller's
     * @param length at least 1: descriptors travel with a byte
     */
    public void sendWithDescriptors(
            MemorySegment segment, long offset, long length, int... descriptors)
            throws LinuxException {
        if (descriptors.length > ReceivedDescriptors.MAX || length < 1) {
            throw new IllegalArgumentException("too many descriptors, or no byte to carry them");
        }
        long address = RawMemory.address(segment, offset, length);
        if (descriptors.length == 0) {
            sendAll(segment, offset, length, 0);
            return;
        }
        Scratch scratch = Scratch.ofThread();
        MemorySegment all = RawMemory.ALL;
        // cmsg(3): cmsg_len at 0, cmsg_level at 8, cmsg_type at 12, data at 16
        all.set(JAVA_LONG, scratch.control, 16 + 4L * descriptors.length);
        all.set(JAVA_INT, scratch.control + 8, Libc.SOL_SOCKET);
        all.set(JAVA_INT, scratch.control + 12, SCM_RIGHTS);
        for (int i = 0; i < descriptors.length; i++) {
            all.set(JAVA_INT, scratch.control + 16 + 4L * i, descriptors[i]);
        }
        long controlBytes = 16 + (4L * descriptors.length + 7 & ~7L);
        long n;
        do {
            long message = scratch.messageWithControl(scratch.iovec(address, length), controlBytes);
            try {
                n = HotCalls.sendmsg(fd(), message, MSG_NOSIGNAL);
            } finally {
                scratch.clearControl();
            }
            Reference.reachabilityFence(segment);
            if (n == -Errnos.EAGAIN) {
                awaitWritable();
            }
        } while (n == -Errnos.EAGAIN);
        LinuxException.checkHot(n, "sendmsg");
        sendAll(segment, offset + n, length - n, 0);
    }

    /**
     * Receives at most {@code length} bytes and the descriptors that travel with them, which are
     * not passed on to child processes. What {@code descriptors} held before is closed.
     *
     * @param flags {@link #DONT_WAIT}, {@link #WAIT_ALL} or 0
     * @return as {@link #receive}
     */
    public long receiveWithDescriptors(
            MemorySegment segment,
            long offset,
            long length,
            int flags,
            ReceivedDescriptors descriptors)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        descriptors.close();
        Scratch scratch = Scratch.ofThread();
        long message =
                scratch.messageWithControl(scratch.iovec(address, length), Scratch.CONTROL_BYTES);
        try {
            long n = HotCalls.recvmsg(fd(), message, flags | MSG_CMSG_CLOEXEC);
            Reference.reachabilityFence(segment);
            if (n < 0) {
                return stalled(n, "recvmsg");
            }
            collect(scratch, descriptors);
            return n;
        } finally {
            scratch.clearControl();
        }
    }

    /** Walks the control messages: msg_controllen at 40 of the msghdr, msg_flags at 48. */
    private static void collect(Scratch scratch, ReceivedDescriptors descriptors) {
        MemorySegment all = RawMemory.ALL;
        long end = scratch.control + all.get(JAVA_LONG, scratch.msghdr + 40);
        long header = scratch.control;
        while (header + 16 <= end) {
            long length = all.get(JAVA_LONG, header);
            if (all.get(JAVA_INT, header + 8) == Libc.SOL_SOCKET
                    && all.get(JAVA_INT, header + 12) == SCM_RIGHTS) {
                for (long at = header + 16; at + 4 <= header + length; at += 4) {
                    descriptors.add(all.get(JAVA_INT, at));
                }
            }
            header += Math.max(16, length + 7 & ~7L);
        }
        if ((all.get(JAVA_INT, scratch.msghdr + 48) & MSG_CTRUNC) != 0) {
            descriptors.markTruncated();
        }
    }

    private static long stalled(long negated, String call) throws LinuxException {
        if (negated == -Errnos.EAGAIN) {
            return WOULD_BLOCK;
        }
        throw new LinuxException(call, (int) -negated);
    }

    private void awaitWritable() throws LinuxException {
        Poll poll = new Poll(1);
        poll.set(0, fd(), Poll.OUT);
        poll.await(-1);
    }

    /** Whether calls wait (the default), for the whole open file, so for every owner of it. */
    public void blocking(boolean on) throws LinuxException {
        Descriptor.nonBlocking(fd(), !on);
    }

    /**
     * Ends both directions; calls that are blocked return. Nothing happens if it is not connected.
     */
    public void shutdown() {
        Libc.shutdown(fd(), 2);
    }

    /** Ends receiving: a blocked or later {@link #receive} returns 0. */
    public void shutdownInput() {
        Libc.shutdown(fd(), 0);
    }

    /** Ends sending: the peer reads the end after what was sent. */
    public void shutdownOutput() {
        Libc.shutdown(fd(), 1);
    }

    /** Who connected, for a local socket; empty for others. */
    public Optional<Credentials> peerCredentials() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment ucred = RawMemory.argument(arena, 12);
            MemorySegment length = RawMemory.argument(arena, 4);
            length.set(JAVA_INT, 0, 12);
            int result =
                    Libc.getsockopt(
                            fd(),
                            Libc.SOL_SOCKET,
                            Libc.SO_PEERCRED,
                            ucred.address(),
                            length.address());
            if (result < 0 || !(localAddress() instanceof SocketAddress.Unix)) {
                return Optional.empty();
            }
            return Optional.of(
                    new Credentials(
                            ucred.get(JAVA_INT, 0),
                            ucred.get(JAVA_INT, 4),
                            ucred.get(JAVA_INT, 8)));
        } catch (LinuxException e) {
            return Optional.empty();
        }
    }

    /** The other end; a local client that has no name is a {@code Unix} with an empty path. */
    public SocketAddress peerAddress() throws LinuxException {
        return SocketName.query(
                        (address, length) -> Libc.getpeername(fd(), address, length),
                        "Unable to query remote socket address")
                .address();
    }

    /** This end. */
    public SocketAddress localAddress() throws LinuxException {
        return SocketName.query(
                        (address, length) -> Libc.getsockname(fd(), address, length),
                        "Unable to query local socket address")
                .address();
    }

    /** The kernel's probing of an idle connection, as {@code address} asks for. */
    public void keepAlive(SocketAddress.Inet address) throws LinuxException {
        SocketName.keepAlive(fd(), address);
    }

    /** Sends small packets at once (TCP_NODELAY). Nothing happens on a socket that is not TCP. */
    public void noDelay(boolean on) throws LinuxException {
        tcpOption(Libc.TCP_NODELAY, on, "setsockopt TCP_NODELAY");
    }

    /** Holds incomplete packets back until it is off again. Nothing happens without TCP. */
    public void cork(boolean on) throws LinuxException {
        tcpOption(Libc.TCP_CORK, on, "setsockopt TCP_CORK");
    }

    private void tcpOption(int option, boolean on, String what) throws LinuxException {
        try {
            SocketName.option(fd(), Libc.IPPROTO_TCP, option, on ? 1 : 0, what);
        } catch (LinuxException e) {
            // Local sockets say the first or the second, those of a virtual machine the third
            if (!e.is(Errnos.EOPNOTSUPP)
                    && !e.is(Errnos.EPROTONOSUPPORT)
                    && !e.is(Errnos.ENOPROTOOPT)) {
                throw e;
            }
        }
    }

    /** Wishes for a send buffer of {@code bytes}; the kernel bounds and doubles it (socket(7)). */
    public void sendBuffer(int bytes) throws LinuxException {
        SocketName.option(fd(), Libc.SOL_SOCKET, Libc.SO_SNDBUF, bytes, "setsockopt SO_SNDBUF");
    }

    /** Wishes for a receive buffer of {@code bytes}; the kernel bounds and doubles it. */
    public void receiveBuffer(int bytes) throws LinuxException {
        SocketName.option(fd(), Libc.SOL_SOCKET, Libc.SO_RCVBUF, bytes, "setsockopt SO_RCVBUF");
    }

    /** Gives the descriptor away: the caller closes it, this object is closed without it. */
    public int release() {
        return descriptor.release();
    }

    /** Closes the socket. Idempotent. */
    @Override
    public void close() {
        descriptor.close();
    }
}

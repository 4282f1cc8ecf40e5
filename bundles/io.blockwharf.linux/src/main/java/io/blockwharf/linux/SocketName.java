package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A {@code struct sockaddr} as bytes, and the ways from and to {@link SocketAddress}. Error texts
 * are those of QEMU's util/qemu-sockets.c, because scripts match them.
 *
 * @param family address family, {@code AF_*}
 * @param bytes the whole structure, as long as it is passed to the kernel
 */
record SocketName(int family, byte[] bytes) {
    /** sizeof(struct sockaddr_storage). */
    private static final int STORAGE = 128;

    private static final int SUN_PATH = 2;
    private static final int SUN_PATH_BYTES = 108;
    private static final ValueLayout.OfShort PORT =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.BIG_ENDIAN);

    private static final int AI_PASSIVE = 1;
    private static final int AI_NUMERICHOST = 4;
    private static final int AI_V4MAPPED = 8;
    private static final int AI_ADDRCONFIG = 32;
    private static final int AI_NUMERICSERV = 1024;
    private static final int EAI_SERVICE = -8;
    private static final int NI_MAXHOST = 1025;
    private static final int NI_NUMERICHOST = 1;

    /** A call that takes address and length of a {@code struct sockaddr}. */
    interface Call {
        int on(long address, int length);
    }

    /** A call that fills a {@code struct sockaddr} and its length. */
    interface Query {
        int on(long address, long length);
    }

    /** The addresses that a host name stands for, in the resolver's order. */
    static List<SocketName> resolve(SocketAddress.Inet address, boolean passive)
            throws LinuxException {
        int flags = passive ? AI_PASSIVE : AI_ADDRCONFIG | AI_V4MAPPED;
        if (address.numeric().orElse(false)) {
            flags |= AI_NUMERICHOST | AI_NUMERICSERV;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment hints = RawMemory.argument(arena, 48);
            hints.set(JAVA_INT, 0, flags);
            hints.set(JAVA_INT, 4, familyOf(address));
            hints.set(JAVA_INT, 8, Libc.SOCK_STREAM);
            MemorySegment list = RawMemory.argument(arena, 8);
            int code =
                    isBeyondPorts(address.port())
                            ? EAI_SERVICE
                            : Libc.getaddrinfo(
                                    stringOrNull(arena, address.host()),
                                    stringOrNull(arena, address.port()),
                                    hints.address(),
                                    list.address());
            if (code != 0) {
                throw LinuxException.sentence(
                        "address resolution failed for %s:%s: %s"
                                .formatted(
                                        address.host(),
                                        address.port(),
                                        Libc.string(Libc.gai_strerror(code))),
                        Errnos.EADDRNOTAVAIL);
            }
            long first = list.get(JAVA_LONG, 0);
            try {
                return names(first);
            } finally {
                Libc.freeaddrinfo(first);
            }
        }
    }

    /** glibc takes the low 16 bits of a number that is too large, and so does QEMU. */
    private static boolean isBeyondPorts(String port) {
        String digits = port.strip().replaceFirst("^0+", "");
        return digits.matches("[0-9]+")
                && (digits.length() > 5 || Integer.parseInt(digits) > 0xFFFF);
    }

    private static long stringOrNull(Arena arena, String text) {
        return text.isEmpty() ? 0 : arena.allocateFrom(text).address();
    }

    /** struct addrinfo: ai_family at 4, ai_addrlen at 16, ai_addr at 24, ai_next at 40. */
    private static List<SocketName> names(long first) {
        List<SocketName> names = new ArrayList<>();
        for (long info = first; info != 0; info = RawMemory.ALL.get(JAVA_LONG, info + 40)) {
            byte[] bytes = new byte[RawMemory.ALL.get(JAVA_INT, info + 16)];
            long address = RawMemory.ALL.get(JAVA_LONG, info + 24);
            MemorySegment.copy(RawMemory.ALL, JAVA_BYTE, address, bytes, 0, bytes.length);
            names.add(new SocketName(RawMemory.ALL.get(JAVA_INT, info + 4), bytes));
        }
        return names;
    }

    /** The matrix in front of inet_ai_family_from_address. */
    private static int familyOf(SocketAddress.Inet address) throws LinuxException {
        Optional<Boolean> ipv4 = address.ipv4();
        Optional<Boolean> ipv6 = address.ipv6();
        boolean no4 = ipv4.isPresent() && !ipv4.get();
        boolean no6 = ipv6.isPresent() && !ipv6.get();
        if (no4 && no6) {
            throw LinuxException.sentence(
                    "Cannot disable IPv4 and IPv6 at same time", Errnos.EINVAL);
        }
        boolean yes4 = ipv4.orElse(false);
        boolean yes6 = ipv6.orElse(false);
        if (yes4 && yes6) {
            return address.host().isEmpty() ? Libc.AF_INET6 : 0;
        }
        if (yes6 || no4) {
            return Libc.AF_INET6;
        }
        return yes4 || no6 ? Libc.AF_INET : 0;
    }

    /** The name of a local socket, unix_listen_saddr and unix_connect_saddr. */
    static SocketName of(SocketAddress.Unix address) throws LinuxException {
        boolean inAbstract = address.abstract_().orElse(false);
        byte[] path = address.path().getBytes(StandardCharsets.UTF_8);
        if (!inAbstract && (path.length == 0 || address.path().indexOf('\0') >= 0)) {
            // An empty sun_path would mean the abstract namespace, unix(7)
            throw LinuxException.sentence(
                    "UNIX socket path '%s' is invalid".formatted(address.path()), Errnos.EINVAL);
        }
        if (path.length > (inAbstract ? SUN_PATH_BYTES - 1 : SUN_PATH_BYTES)) {
            throw LinuxException.sentence(
                    "UNIX socket path '%s' is too long".formatted(address.path()),
                    Errnos.ENAMETOOLONG);
        }
        boolean tight = inAbstract && address.tight().orElse(true);
        byte[] bytes = new byte[tight ? SUN_PATH + 1 + path.length : SUN_PATH + SUN_PATH_BYTES];
        MemorySegment.ofArray(bytes).set(ValueLayout.JAVA_SHORT_UNALIGNED, 0, (short) Libc.AF_UNIX);
        System.arraycopy(path, 0, bytes, inAbstract ? SUN_PATH + 1 : SUN_PATH, path.length);
        return new SocketName(Libc.AF_UNIX, bytes);
    }

    /** struct sockaddr_vm: svm_port at 4, svm_cid at 8. */
    static SocketName of(SocketAddress.Vsock address) throws LinuxException {
        byte[] bytes = new byte[16];
        MemorySegment name = MemorySegment.ofArray(bytes);
        name.set(ValueLayout.JAVA_SHORT_UNALIGNED, 0, (short) Libc.AF_VSOCK);
        name.set(
                ValueLayout.JAVA_INT_UNALIGNED,
                4,
                number(address.port(), "Failed to parse port '%s'"));
        name.set(
                ValueLayout.JAVA_INT_UNALIGNED,
                8,
                number(address.cid(), "Failed to parse cid '%s'"));
        return new SocketName(Libc.AF_VSOCK, bytes);
    }

    private static int number(String text, String complaint) throws LinuxException {
        try {
            return Integer.parseUnsignedInt(text);
        } catch (NumberFormatException e) {
            throw LinuxException.sentence(complaint.formatted(text), Errnos.EINVAL);
        }
    }

    /**
     * Inherited descriptors that have to be sockets, socket_get_fd. The caller closes them: a
     * number is handed over, of a name there are duplicates.
     */
    static List<Integer> descriptors(SocketAddress.Fd address) throws LinuxException {
        List<Integer> activated = ActivatedSockets.named(address.str());
        if (activated.isEmpty()) {
            Optional<NamedDescriptors> passed = NamedDescriptors.current();
            return List.of(passed.isPresent() ? named(passed.get(), address) : number(address));
        }
        List<Integer> duplicates = new ArrayList<>();
        for (int fd : activated) {
            int duplicate = Libc.fcntl(fd, Libc.F_DUPFD_CLOEXEC, 0);
            if (duplicate < 0 || option(duplicate, Libc.SOL_SOCKET, Libc.SO_TYPE) < 0) {
                duplicates.forEach(Libc::close);
                if (duplicate >= 0) {
                    Libc.close(duplicate);
                }
                throw noSocket(address.str());
            }
            duplicates.add(duplicate);
        }
        return duplicates;
    }

    private static int named(NamedDescriptors passed, SocketAddress.Fd address)
            throws LinuxException {
        Optional<Descriptor> found = passed.take(address.str());
        if (found.isEmpty()) {
            throw LinuxException.sentence(
                    "File descriptor named '%s' has not been found".formatted(address.str()),
                    Errnos.ENOENT);
        }
        try {
            return socket(found.get().fd(), address.str());
        } catch (LinuxException e) {
            found.get().close();
            throw e;
        }
    }

    private static int number(SocketAddress.Fd address) throws LinuxException {
        int fd;
        try {
            fd = Integer.parseInt(address.str());
        } catch (NumberFormatException e) {
            throw LinuxException.sentence(
                    "Unable to parse FD number " + address.str(), Errnos.EINVAL);
        }
        return socket(fd, address.str());
    }

    /**
     * Makes sure that a descriptor is a socket, and keeps it from child processes.
     *
     * @param shown what the user called it
     */
    static int socket(int fd, String shown) throws LinuxException {
        if (fd < 0 || option(fd, Libc.SOL_SOCKET, Libc.SO_TYPE) < 0) {
            throw noSocket(shown);
        }
        Descriptor.closeOnExec(fd);
        return fd;
    }

    private static LinuxException noSocket(String shown) {
        return LinuxException.sentence(
                "File descriptor '%s' is not a socket".formatted(shown), Errnos.ENOTSOCK);
    }

    /** The name that getsockname(2), getpeername(2) or accept4(2) tells. */
    static SocketName query(Query query, String what) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment storage = RawMemory.argument(arena, STORAGE);
            MemorySegment length = RawMemory.argument(arena, 4);
            length.set(JAVA_INT, 0, STORAGE);
            LinuxException.check(query.on(storage.address(), length.address()), what);
            int bytes = Math.min(length.get(JAVA_INT, 0), STORAGE);
            int family = Short.toUnsignedInt(storage.get(JAVA_SHORT, 0));
            return new SocketName(family, storage.asSlice(0, bytes).toArray(JAVA_BYTE));
        }
    }

    /** Makes a call that takes this name. */
    int with(Call call) {
        try (Arena arena = Arena.ofConfined()) {
            return call.on(arena.allocateFrom(JAVA_BYTE, bytes).address(), bytes.length);
        }
    }

    /** The port of an internet address, 0 for others. Both structures have it at 2. */
    int port() {
        return isInet() ? Short.toUnsignedInt(MemorySegment.ofArray(bytes).get(PORT, 2)) : 0;
    }

    SocketName withPort(int port) {
        byte[] changed = bytes.clone();
        MemorySegment.ofArray(changed).set(PORT, 2, (short) port);
        return new SocketName(family, changed);
    }

    boolean isInet() {
        return family == Libc.AF_INET || family == Libc.AF_INET6;
    }

    SocketAddress address() {
        return switch (family) {
            case Libc.AF_INET, Libc.AF_INET6 ->
                    new SocketAddress.Inet(host(), Integer.toString(port()));
            case Libc.AF_VSOCK -> {
                MemorySegment name = MemorySegment.ofArray(bytes);
                yield new SocketAddress.Vsock(
                        Integer.toUnsignedString(name.get(ValueLayout.JAVA_INT_UNALIGNED, 8)),
                        Integer.toUnsignedString(name.get(ValueLayout.JAVA_INT_UNALIGNED, 4)));
            }
            default -> unixAddress();
        };
    }

    private SocketAddress unixAddress() {
        if (bytes.length <= SUN_PATH) {
            return new SocketAddress.Unix("");
        }
        boolean inAbstract = bytes[SUN_PATH] == 0;
        int start = inAbstract ? SUN_PATH + 1 : SUN_PATH;
        int end = start;
        while (end < bytes.length && bytes[end] != 0) {
            end++;
        }
        String path = new String(bytes, start, end - start, StandardCharsets.UTF_8);
        return inAbstract && !path.isEmpty()
                ? new SocketAddress.Unix(path, Optional.of(true), Optional.of(end == bytes.length))
                : new SocketAddress.Unix(path);
    }

    private String host() {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment text = RawMemory.argument(arena, NI_MAXHOST);
            int code =
                    with(
                            (address, length) ->
                                    Libc.getnameinfo(
                                            address,
                                            length,
                                            text.address(),
                                            NI_MAXHOST,
                                            0,
                                            0,
                                            NI_NUMERICHOST));
            return code == 0 ? text.getString(0) : "";
        }
    }

    /** An integer option of a socket; negative with the error in JNA's last error if it fails. */
    static int option(int fd, int level, int option) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment value = RawMemory.argument(arena, 4);
            MemorySegment length = RawMemory.argument(arena, 4);
            length.set(JAVA_INT, 0, 4);
            int result = Libc.getsockopt(fd, level, option, value.address(), length.address());
            return result < 0 ? result : value.get(JAVA_INT, 0);
        }
    }

    static void option(int fd, int level, int option, int value, String what)
            throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment number = RawMemory.argument(arena, 4);
            number.set(JAVA_INT, 0, value);
            LinuxException.check(Libc.setsockopt(fd, level, option, number.address(), 4), what);
        }
    }

    /** inet_set_sockopts. The options of a listening socket are inherited by what it accepts. */
    static void keepAlive(int fd, SocketAddress.Inet address) throws LinuxException {
        if (!address.keepAlive().orElse(false)) {
            return;
        }
        option(
                fd,
                Libc.SOL_SOCKET,
                Libc.SO_KEEPALIVE,
                1,
                "Unable to set keep-alive option on socket");
        keepAlive(fd, Libc.TCP_KEEPCNT, address.keepAliveCount(), "count");
        keepAlive(fd, Libc.TCP_KEEPIDLE, address.keepAliveIdle(), "idle");
        keepAlive(fd, Libc.TCP_KEEPINTVL, address.keepAliveInterval(), "interval");
    }

    private static void keepAlive(int fd, int option, Optional<Long> value, String word)
            throws LinuxException {
        if (value.isPresent() && value.get() != 0) {
            option(
                    fd,
                    Libc.IPPROTO_TCP,
                    option,
                    value.get().intValue(),
                    "Unable to set TCP keep-alive " + word + " option on socket");
        }
    }
}

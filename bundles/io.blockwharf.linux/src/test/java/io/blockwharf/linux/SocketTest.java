package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.nio.charset.StandardCharsets.UTF_8;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/** Sockets against the real kernel. Error texts: QEMU's util/qemu-sockets.c. */
@Timeout(120)
class SocketTest {
    private final Arena arena = Arena.ofAuto();

    @TempDir Path directory;

    private MemorySegment bytes(String text) {
        return arena.allocateFrom(text, UTF_8).asSlice(0, text.length());
    }

    private static SocketAddress.Inet inet(
            String host, Optional<Boolean> ipv4, Optional<Boolean> ipv6) {
        return inet(host, "0", Optional.empty(), ipv4, ipv6);
    }

    private static SocketAddress.Inet inet(
            String host,
            String port,
            Optional<Integer> to,
            Optional<Boolean> ipv4,
            Optional<Boolean> ipv6) {
        return new SocketAddress.Inet(
                host,
                port,
                Optional.empty(),
                to,
                ipv4,
                ipv6,
                Optional.of(true),
                Optional.of(3L),
                Optional.of(60L),
                Optional.of(10L),
                Optional.empty());
    }

    private static void talk(ListeningSocket listener, SocketAddress address) throws IOException {
        try (FdSocket client = FdSocket.connect(address);
                FdSocket server = listener.accept().orElseThrow();
                Arena confined = Arena.ofConfined()) {
            MemorySegment memory = confined.allocate(8);
            memory.setString(0, "ping");
            client.sendAll(memory, 0, 4, 0);
            memory.fill((byte) 0);
            assertEquals(4, server.receive(memory, 0, 8, 0));
            assertEquals("ping", memory.getString(0));
            client.shutdownOutput();
            assertEquals(0, server.receive(memory, 0, 8, 0));
        }
    }

    static Stream<Arguments> places() {
        return Stream.of(
                Arguments.of(new SocketAddress.Inet("127.0.0.1", "0"), "127.0.0.1"),
                Arguments.of(new SocketAddress.Inet("::1", "0"), "::1"),
                Arguments.of(inet("", Optional.of(true), Optional.empty()), "0.0.0.0"),
                Arguments.of(inet("", Optional.of(false), Optional.empty()), "::"),
                Arguments.of(inet("", Optional.of(true), Optional.of(true)), "::"),
                Arguments.of(inet("", Optional.empty(), Optional.of(false)), "0.0.0.0"),
                Arguments.of(new SocketAddress.Inet("", "0"), "::"));
    }

    @ParameterizedTest(name = "{0} is bound to {1}")
    @MethodSource("places")
    void bindsTheFamilyOfTheMatrix(SocketAddress.Inet address, String bound) throws IOException {
        try (ListeningSocket listener = ListeningSocket.open(address, 4)) {
            SocketAddress.Inet actual = (SocketAddress.Inet) listener.address();
            assertEquals(bound, actual.host());
            assertNotEquals("0", actual.port());
            talk(listener, new SocketAddress.Inet(bound, actual.port()));
        }
    }

    @Test
    void anEmptyHostIsServedOnBothStacks() throws IOException {
        try (ListeningSocket listener = ListeningSocket.open(new SocketAddress.Inet("", "0"), 4)) {
            String port = ((SocketAddress.Inet) listener.address()).port();
            talk(listener, new SocketAddress.Inet("127.0.0.1", port));
            talk(listener, new SocketAddress.Inet("::1", port));
        }
    }

    @Test
    void aNameIsServedOnAllItsAddressesWithOnePort() throws IOException {
        try (ListeningSocket listener =
                ListeningSocket.open(new SocketAddress.Inet("localhost", "0"), 4)) {
            for (SocketAddress address : listener.addresses()) {
                assertEquals(
                        ((SocketAddress.Inet) listener.address()).port(),
                        ((SocketAddress.Inet) address).port());
                talk(listener, address);
            }
        }
    }

    @Test
    void theNextPortOfTheRangeIsTaken() throws IOException {
        try (ListeningSocket first =
                ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1)) {
            String port = ((SocketAddress.Inet) first.address()).port();
            int to = Math.min(65535, Integer.parseInt(port) + 50);
            try (ListeningSocket second =
                    ListeningSocket.open(
                            inet(
                                    "127.0.0.1",
                                    port,
                                    Optional.of(to),
                                    Optional.empty(),
                                    Optional.empty()),
                            1)) {
                int bound = Integer.parseInt(((SocketAddress.Inet) second.address()).port());
                assertTrue(bound > Integer.parseInt(port) && bound <= to, "bound " + bound);
            }
        }
    }

    @Test
    void aTakenPortIsRefused() throws IOException {
        try (ListeningSocket first =
                ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1)) {
            SocketAddress taken = first.address();
            LinuxException e =
                    assertThrows(LinuxException.class, () -> ListeningSocket.open(taken, 1));
            assertEquals(
                    "Failed to find an available port: Address already in use", e.getMessage());
            assertTrue(e.is(Errnos.EADDRINUSE));
            assertEquals("EADDRINUSE", e.errnoName());
        }
    }

    static Stream<Arguments> refusals() {
        String longPath = "/" + "x".repeat(108);
        Optional<Boolean> no = Optional.of(false);
        return Stream.of(
                Arguments.of(
                        new SocketAddress.Unix("/nonexistent/s"),
                        "Failed to bind socket to /nonexistent/s: No such file or directory"),
                Arguments.of(
                        new SocketAddress.Unix(longPath),
                        "UNIX socket path '" + longPath + "' is too long"),
                Arguments.of(
                        new SocketAddress.Unix("x".repeat(108), Optional.of(true), no),
                        "UNIX socket path '" + "x".repeat(108) + "' is too long"),
                Arguments.of(new SocketAddress.Unix(""), "UNIX socket path '' is invalid"),
                Arguments.of(
                        new SocketAddress.Inet("localhost", "nosuchservice"),
                        "address resolution failed for localhost:nosuchservice: "
                                + "Servname not supported for ai_socktype"),
                Arguments.of(
                        new SocketAddress.Inet("localhost", "65536"),
                        "address resolution failed for localhost:65536: "
                                + "Servname not supported for ai_socktype"),
                Arguments.of(inet("", no, no), "Cannot disable IPv4 and IPv6 at same time"),
                Arguments.of(
                        new SocketAddress.Inet("192.0.2.1", "0"),
                        "Failed to bind socket: Cannot assign requested address"),
                Arguments.of(new SocketAddress.Vsock("x", "1"), "Failed to parse cid 'x'"),
                Arguments.of(
                        new SocketAddress.Vsock("1", "4294967296"),
                        "Failed to parse port '4294967296'"),
                Arguments.of(new SocketAddress.Fd("four"), "Unable to parse FD number four"),
                Arguments.of(
                        new SocketAddress.Fd("9999"), "File descriptor '9999' is not a socket"));
    }

    @ParameterizedTest(name = "{1}")
    @MethodSource("refusals")
    void refusalsHaveQemusTexts(SocketAddress address, String message) {
        LinuxException e =
                assertThrows(LinuxException.class, () -> ListeningSocket.open(address, 1));
        assertEquals(message, e.getMessage());
    }

    @Test
    void aConnectedSocketIsNoListeningOne() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            SocketAddress.Fd address = new SocketAddress.Fd(Integer.toString(a.fd()));
            LinuxException e =
                    assertThrows(LinuxException.class, () -> ListeningSocket.open(address, 1));
            assertEquals("Failed to listen on fd socket: Invalid argument", e.getMessage());
            assertTrue(b.fd() >= 0);
        }
    }

    @Test
    void aSocketFileIsReplacedAndLeftBehind() throws IOException {
        String path = directory.resolve("s").toString();
        try (ListeningSocket first = ListeningSocket.open(new SocketAddress.Unix(path), 1);
                ListeningSocket second = ListeningSocket.open(new SocketAddress.Unix(path), 1)) {
            talk(second, new SocketAddress.Unix(path));
            first.unlink(); // its file is gone; this one is the second's
            talk(second, second.address());
            assertEquals(new SocketAddress.Unix(path), second.address());
        }
        assertTrue(Files.exists(Path.of(path)));
    }

    private SocketAddress.Unix permitted(String mode, String owner, String group) {
        return new SocketAddress.Unix(
                directory.resolve("s").toString(),
                Optional.empty(),
                Optional.empty(),
                Optional.ofNullable(mode),
                Optional.ofNullable(owner),
                Optional.ofNullable(group));
    }

    @ParameterizedTest
    @CsvSource({"600, rw-------", "0666, rw-rw-rw-", "0, ---------"})
    void theSocketFileGetsTheModeWhateverTheUmask(String mode, String permissions)
            throws IOException {
        SocketAddress.Unix address = permitted(mode, null, null);
        try (ListeningSocket listener = ListeningSocket.open(address, 1)) {
            Path file = Path.of(address.path());
            assertEquals(
                    permissions,
                    PosixFilePermissions.toString(Files.getPosixFilePermissions(file)));
            listener.unlink();
        }
    }

    /** Every process may give its own files to itself, by name and by number. */
    @Test
    void theSocketFileGetsOwnerAndGroup() throws IOException {
        Credentials self = Credentials.ofThisProcess();
        String user = Files.getOwner(directory).getName();
        for (String owner : List.of(user, Integer.toString(self.uid()))) {
            SocketAddress.Unix address = permitted(null, owner, Integer.toString(self.gid()));
            try (ListeningSocket listener = ListeningSocket.open(address, 1)) {
                Path file = Path.of(address.path());
                assertEquals(self.uid(), Files.getAttribute(file, "unix:uid"));
                assertEquals(self.gid(), Files.getAttribute(file, "unix:gid"));
                talk(listener, address);
            }
        }
    }

    @Test
    void nobodyIsServedIfThePermissionsCannotBeHad() {
        SocketAddress.Unix address = permitted("600", "no such user", null);
        LinuxException e =
                assertThrows(LinuxException.class, () -> ListeningSocket.open(address, 1));
        assertEquals("There is no user 'no such user'", e.getMessage());
        assertFalse(Files.exists(Path.of(address.path())));
    }

    @ParameterizedTest
    @ValueSource(strings = {"888", "rw", "", "01777777"})
    void modesAreOctal(String mode) {
        assertThrows(IllegalArgumentException.class, () -> permitted(mode, null, null));
    }

    @Test
    void abstractNamesHaveNoPermissions() {
        assertThrows(
                IllegalArgumentException.class,
                () ->
                        new SocketAddress.Unix(
                                "x",
                                Optional.of(true),
                                Optional.empty(),
                                Optional.of("600"),
                                Optional.empty(),
                                Optional.empty()));
    }

    @Test
    void unlinkRemovesTheSocketFile() throws IOException {
        Path path = directory.resolve("s");
        try (ListeningSocket listener =
                ListeningSocket.open(new SocketAddress.Unix(path.toString()), 1)) {
            listener.unlink();
            assertFalse(Files.exists(path));
        }
    }

    @Test
    void aFileThatIsNoSocketIsNotReplaced() throws IOException {
        Path path = Files.writeString(directory.resolve("precious"), "content");
        SocketAddress address = new SocketAddress.Unix(path.toString());
        LinuxException e =
                assertThrows(LinuxException.class, () -> ListeningSocket.open(address, 1));
        assertEquals(
                "Failed to bind socket to " + path + ": Address already in use", e.getMessage());
        assertEquals("content", Files.readString(path));
    }

    static Stream<Arguments> abstractNames() {
        String name = "blockwharf-test-" + ProcessHandle.current().pid();
        return Stream.of(
                Arguments.of(name + "-default", Optional.empty()),
                Arguments.of(name + "-tight", Optional.of(true)),
                Arguments.of(name + "-padded", Optional.of(false)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("abstractNames")
    void abstractNames(String name, Optional<Boolean> tight) throws IOException {
        SocketAddress address = new SocketAddress.Unix(name, Optional.of(true), tight);
        try (ListeningSocket listener = ListeningSocket.open(address, 1)) {
            talk(listener, address);
            assertEquals(
                    new SocketAddress.Unix(
                            name, Optional.of(true), Optional.of(tight.orElse(true))),
                    listener.address());
            Optional<Boolean> other = Optional.of(!tight.orElse(true));
            assertThrows(
                    LinuxException.class,
                    () -> FdSocket.connect(new SocketAddress.Unix(name, Optional.of(true), other)));
        }
    }

    @Test
    void anInheritedListeningSocketIsServed() throws IOException {
        String path = directory.resolve("s").toString();
        try (ListeningSocket parent = ListeningSocket.open(new SocketAddress.Unix(path), 1)) {
            // The parent's descriptor, duplicated as a fork would
            int inherited = Libc.fcntl(parent.socketFd(), 0, 0);
            assertTrue(new InheritedFd(inherited).isListening());
            try (ListeningSocket child =
                    ListeningSocket.open(new SocketAddress.Fd(Integer.toString(inherited)), 5)) {
                talk(child, new SocketAddress.Unix(path));
            }
        }
    }

    @Test
    void shutdownEndsABlockedAccept() throws Exception {
        try (ListeningSocket listener =
                ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1)) {
            CompletableFuture<Optional<FdSocket>> accepted = onThread(listener::accept);
            listener.shutdown();
            assertEquals(Optional.empty(), accepted.get(20, TimeUnit.SECONDS));
            assertEquals(Optional.empty(), listener.tryAccept());
        }
    }

    @Test
    void tryAcceptDoesNotWait() throws IOException {
        try (ListeningSocket listener =
                ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1)) {
            assertEquals(Optional.empty(), listener.tryAccept());
            Poll poll = new Poll(1);
            poll.set(0, listener.fd(), Poll.IN);
            assertEquals(0, poll.await(0));
            try (FdSocket client = FdSocket.connect(listener.address())) {
                assertEquals(1, poll.await(-1));
                FdSocket server = listener.tryAccept().orElseThrow();
                assertEquals(client.localAddress(), server.peerAddress());
                server.close();
            }
        }
    }

    @Test
    void shutdownEndsABlockedReceive() throws Exception {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            MemorySegment memory = arena.allocate(8);
            CompletableFuture<Long> received = onThread(() -> a.receive(memory, 0, 8, 0));
            a.shutdown();
            assertEquals(0L, received.get(20, TimeUnit.SECONDS));
            assertTrue(b.fd() >= 0);
        }
    }

    private interface Job<T> {
        T run() throws IOException;
    }

    private static <T> CompletableFuture<T> onThread(Job<T> job) {
        CompletableFuture<T> future = new CompletableFuture<>();
        Thread.ofPlatform()
                .daemon()
                .start(
                        () -> {
                            try {
                                future.complete(job.run());
                            } catch (IOException | RuntimeException e) {
                                future.completeExceptionally(e);
                            }
                        });
        return future;
    }

    @Test
    void wouldBlockIsAValue() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            MemorySegment memory = arena.allocate(1 << 16);
            assertEquals(FdSocket.WOULD_BLOCK, a.receive(memory, 0, 8, FdSocket.DONT_WAIT));
            a.blocking(false);
            assertEquals(FdSocket.WOULD_BLOCK, a.receive(memory, 0, 8, 0));
            long sent = 0;
            long n;
            while ((n = a.send(memory, 0, memory.byteSize(), 0)) != FdSocket.WOULD_BLOCK) {
                sent += n;
            }
            IoVec list = new IoVec(1);
            list.add(memory, 0, 8);
            assertEquals(FdSocket.WOULD_BLOCK, a.send(list, FdSocket.DONT_WAIT));
            assertEquals(8, list.bytes());
            while (sent > 0) {
                sent -= b.receive(memory, 0, memory.byteSize(), 0);
            }
        }
    }

    @Test
    void aBigListArrivesInOrderThroughASmallBuffer() throws Exception {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            a.sendBuffer(4096);
            int pieces = 3000; // more than the kernel takes in one call
            long size = pieces * 1001L;
            MemorySegment data = arena.allocate(size + pieces);
            IoVec list = new IoVec(pieces);
            for (int i = 0; i < pieces; i++) {
                data.asSlice(i * 1002L, 1001).fill((byte) i);
                list.add(data, i * 1002L, 1001); // a gap between pieces: none are merged
            }
            assertEquals(pieces, list.count());
            assertEquals(size, list.bytes());
            CompletableFuture<Boolean> sent =
                    onThread(
                            () -> {
                                a.sendAll(list, FdSocket.MORE);
                                return list.isEmpty();
                            });
            MemorySegment received = arena.allocate(size);
            assertEquals(size, b.receive(received, 0, size, FdSocket.WAIT_ALL));
            assertTrue(sent.get(20, TimeUnit.SECONDS));
            for (int i = 0; i < pieces; i++) {
                assertEquals(
                        -1,
                        received.asSlice(i * 1001L, 1001).mismatch(data.asSlice(i * 1002L, 1001)));
            }
        }
    }

    @Test
    void neighboursInAListAreMerged() {
        MemorySegment memory = arena.allocate(100);
        IoVec list = new IoVec(2);
        list.add(memory, 0, 10);
        list.add(memory, 10, 10);
        list.add(memory, 20, 0);
        assertEquals(1, list.count());
        list.add(memory, 50, 10);
        assertTrue(list.isFull());
        list.add(memory, 60, 10); // still fits: continues the last
        assertEquals(40, list.bytes());
        assertThrows(IllegalStateException.class, () -> list.add(memory, 0, 1));
        assertThrows(IndexOutOfBoundsException.class, () -> list.add(memory, 99, 2));
        assertThrows(
                IllegalArgumentException.class,
                () -> list.add(MemorySegment.ofArray(new byte[8]), 0, 8));
    }

    @Test
    void aClosedArenaIsRefused() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            MemorySegment gone;
            try (Arena confined = Arena.ofConfined()) {
                gone = confined.allocate(8);
            }
            assertThrows(IllegalStateException.class, () -> a.send(gone, 0, 8, 0));
            assertThrows(IllegalStateException.class, () -> b.receive(gone, 0, 8, 0));
        }
    }

    @Test
    void aFileIsSentWithoutReadingIt() throws IOException {
        Path path = Files.writeString(directory.resolve("f"), "0123456789");
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1];
                HostFile file = HostFile.open(path.toString())) {
            assertEquals(4, a.sendFile(file.fd(), 3, 4));
            assertEquals(0, a.sendFile(file.fd(), 10, 4));
            MemorySegment memory = arena.allocate(8);
            assertEquals(4, b.receive(memory, 0, 8, 0));
            assertEquals("3456", memory.getString(0));
        }
    }

    @Test
    void descriptorsTravelAndUnwantedOnesAreClosed() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1];
                EventFd event = EventFd.open()) {
            ReceivedDescriptors received = new ReceivedDescriptors();
            int[] fds = new int[ReceivedDescriptors.MAX];
            java.util.Arrays.fill(fds, event.fd());
            MemorySegment memory = arena.allocate(8);
            a.sendWithDescriptors(bytes("ab"), 0, 2, fds);
            assertEquals(2, b.receiveWithDescriptors(memory, 0, 8, 0, received));
            assertEquals(ReceivedDescriptors.MAX, received.count());
            assertFalse(received.truncated());
            event.signal();
            int unwanted;
            try (EventFd copy = EventFd.of(received.take(0))) {
                assertEquals(Libc.FD_CLOEXEC, Libc.fcntl(copy.fd(), Libc.F_GETFD, 0));
                assertEquals(1, copy.clear());
                assertThrows(IllegalStateException.class, () -> received.take(0));
                unwanted = received.take(1);
            }
            received.close();
            assertEquals(0, received.count());
            try (EventFd taken = EventFd.of(unwanted)) {
                assertEquals(0, taken.clear());
            }
            // A message without descriptors after one with them
            a.sendAll(bytes("c"), 0, 1, 0);
            assertEquals(1, b.receiveWithDescriptors(memory, 0, 8, 0, received));
            assertEquals(0, received.count());
        }
    }

    @Test
    void aLocalPeerIsKnown() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (FdSocket a = pair[0];
                FdSocket b = pair[1]) {
            assertEquals(Optional.of(Credentials.ofThisProcess()), a.peerCredentials());
            assertInstanceOf(SocketAddress.Unix.class, b.peerAddress());
            a.noDelay(true); // has no meaning here, and does no harm
            a.cork(true);
        }
        try (ListeningSocket listener =
                        ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1);
                FdSocket client = FdSocket.connect(listener.address())) {
            assertEquals(Optional.empty(), client.peerCredentials());
            client.noDelay(true);
            client.cork(true);
            client.cork(false);
        }
    }

    @Test
    void keepAliveIsInheritedFromTheListeningSocket() throws IOException {
        SocketAddress.Inet address = inet("127.0.0.1", Optional.empty(), Optional.empty());
        try (ListeningSocket listener = ListeningSocket.open(address, 1);
                FdSocket client = FdSocket.connect(listener.address());
                FdSocket server = listener.accept().orElseThrow()) {
            int fd = server.fd();
            assertEquals(1, SocketName.option(fd, Libc.SOL_SOCKET, Libc.SO_KEEPALIVE));
            assertEquals(3, SocketName.option(fd, Libc.IPPROTO_TCP, Libc.TCP_KEEPCNT));
            assertEquals(60, SocketName.option(fd, Libc.IPPROTO_TCP, Libc.TCP_KEEPIDLE));
            assertEquals(10, SocketName.option(fd, Libc.IPPROTO_TCP, Libc.TCP_KEEPINTVL));
            assertEquals(0, SocketName.option(client.fd(), Libc.SOL_SOCKET, Libc.SO_KEEPALIVE));
        }
    }

    @Test
    void aRefusedConnectionHasQemusText() {
        SocketAddress address = new SocketAddress.Unix("/nonexistent/s");
        LinuxException e = assertThrows(LinuxException.class, () -> FdSocket.connect(address));
        assertEquals(
                "Failed to connect to '/nonexistent/s': No such file or directory", e.getMessage());
    }

    @Test
    void aClosedSocketIsNoOthersDescriptor() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        pair[0].close();
        pair[0].close();
        try (FdSocket b = pair[1]) {
            MemorySegment memory = arena.allocate(8);
            LinuxException e =
                    assertThrows(LinuxException.class, () -> pair[0].send(memory, 0, 8, 0));
            assertTrue(e.is(Errnos.EBADF));
            e = assertThrows(LinuxException.class, () -> b.send(memory, 0, 8, 0));
            assertTrue(e.is(Errnos.EPIPE)); // and no SIGPIPE
        }
    }
}

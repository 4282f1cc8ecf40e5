package io.blockwharf.qmp.chardev;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.testing.RecordingLog;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/** The backends, with peers on real sockets; texts are qemu-storage-daemon's. */
@Timeout(120)
class ChardevsTest {
    private static final Optional<Boolean> UNSET = Optional.empty();
    private static final Optional<Long> NEVER = Optional.empty();

    @TempDir Path directory;

    private final RecordingLog log = new RecordingLog();
    private final Chardevs chardevs = new Chardevs(log.logger);

    @AfterEach
    void close() {
        chardevs.close();
    }

    private SocketAddress address() {
        return new SocketAddress.Unix(directory.resolve("s").toString());
    }

    private static ChardevBackend listening(SocketAddress address) {
        return new ChardevBackend.Socket(address, UNSET, UNSET, UNSET, NEVER, NEVER);
    }

    private static ChardevBackend connecting(SocketAddress address, Optional<Long> reconnectMs) {
        return new ChardevBackend.Socket(
                address, Optional.of(false), UNSET, UNSET, NEVER, reconnectMs);
    }

    private String error(Runnable action) {
        return assertThrows(QmpException.class, action::run).getMessage();
    }

    private static void say(Peer peer, String text) throws IOException {
        peer.write(text.getBytes(StandardCharsets.UTF_8));
    }

    private static String hear(Peer peer) throws IOException {
        byte[] bytes = new byte[100];
        int n = peer.read(bytes);
        return n < 0 ? "(end)" : new String(bytes, 0, n, StandardCharsets.UTF_8);
    }

    private static Peer client(SocketAddress address) throws LinuxException {
        return new SocketPeer(FdSocket.connect(address), () -> {});
    }

    @Test
    void aListeningSocketServesOneAfterTheOther() throws IOException {
        chardevs.add("c", listening(address()));
        Chardev chardev = chardevs.attach("c");
        Peer first = client(address());
        Peer second = client(address());
        for (Peer client : List.of(first, second)) {
            say(client, "hello");
            try (Peer peer = chardev.nextPeer().orElseThrow()) {
                assertEquals("hello", hear(peer));
                say(peer, "who is it?");
                assertEquals("who is it?", hear(client));
                client.shutdown();
                assertEquals("(end)", hear(peer));
            }
            client.close();
        }
    }

    @Test
    void filenamesTellWhetherSomebodyIsConnected() throws IOException {
        chardevs.add("c", listening(address()));
        Chardev chardev = chardevs.attach("c");
        String where = "unix:" + directory.resolve("s") + ",server=on";
        assertEquals("disconnected:" + where, chardevs.list().getFirst().filename());
        try (Peer _ = client(address())) {
            Peer peer = chardev.nextPeer().orElseThrow();
            assertEquals(where, chardevs.list().getFirst().filename());
            peer.close();
        }
        assertEquals("disconnected:" + where, chardevs.list().getFirst().filename());
    }

    @Test
    void closingWakesWhoWaitsForAPeerAndRemovesTheFile() throws InterruptedException {
        chardevs.add("c", listening(address()));
        Chardev chardev = chardevs.attach("c");
        Thread waiting = Thread.ofPlatform().start(chardev::nextPeer);
        chardev.close();
        waiting.join();
        assertTrue(chardev.nextPeer().isEmpty());
        assertTrue(Files.notExists(directory.resolve("s")));
    }

    @Test
    void waitingForTheFirstClientKeepsIt() throws IOException, InterruptedException {
        chardevs.add(
                "c",
                new ChardevBackend.Socket(
                        address(), Optional.of(true), Optional.of(true), UNSET, NEVER, NEVER));
        Thread waiting = Thread.ofPlatform().start(chardevs::awaitClients);
        try (Peer client = client(address())) {
            waiting.join();
            try (Peer peer = chardevs.attach("c").nextPeer().orElseThrow()) {
                say(client, "x");
                assertEquals("x", hear(peer));
            }
        }
    }

    @Test
    void aConnectingSocketHasOnePeer() throws IOException {
        try (ListeningSocket listener = ListeningSocket.open(address(), 1)) {
            chardevs.add("c", connecting(address(), NEVER));
            FdSocket other = listener.accept().orElseThrow();
            Chardev chardev = chardevs.attach("c");
            try (Peer peer = chardev.nextPeer().orElseThrow()) {
                other.close();
                assertEquals("(end)", hear(peer));
            }
            assertTrue(chardev.nextPeer().isEmpty());
        }
    }

    @Test
    void aConnectingSocketTriesAgainIfItShall() throws IOException {
        chardevs.add("c", connecting(address(), Optional.of(1L)));
        Chardev chardev = chardevs.attach("c");
        try (ListeningSocket listener = ListeningSocket.open(address(), 1)) {
            for (int i = 0; i < 2; i++) {
                try (Peer peer = chardev.nextPeer().orElseThrow()) {
                    listener.accept().orElseThrow().close();
                    assertEquals("(end)", hear(peer));
                }
            }
        }
    }

    @Test
    void aFileGetsWhatIsWritten() throws IOException {
        Path file = directory.resolve("f");
        Files.writeString(file, "old ");
        chardevs.add(
                "a", new ChardevBackend.File(Optional.empty(), file.toString(), Optional.of(true)));
        try (Peer peer = chardevs.attach("a").nextPeer().orElseThrow()) {
            say(peer, "new");
        }
        assertEquals("old new", Files.readString(file));
        chardevs.add("b", new ChardevBackend.File(Optional.empty(), file.toString(), UNSET));
        assertEquals("", Files.readString(file));
    }

    @Test
    void aFileCanBeInputToo() throws IOException {
        Path in = Files.writeString(directory.resolve("in"), "said");
        Path out = directory.resolve("out");
        chardevs.add(
                "f", new ChardevBackend.File(Optional.of(in.toString()), out.toString(), UNSET));
        try (Peer peer = chardevs.attach("f").nextPeer().orElseThrow()) {
            assertEquals("said", hear(peer));
            say(peer, "heard");
            peer.shutdown();
            assertEquals("(end)", hear(peer));
        }
        assertEquals("heard", Files.readString(out));
    }

    @Test
    void aPipeIsAFifoInEachDirection() throws Exception {
        String path = directory.resolve("p").toString();
        assertEquals(
                "Could not open '" + path + "': No such file or directory",
                error(() -> chardevs.add("p", new ChardevBackend.Pipe(path))));
        assertEquals(
                0, new ProcessBuilder("mkfifo", path + ".in", path + ".out").start().waitFor());
        chardevs.add("p", new ChardevBackend.Pipe(path));
        assertEquals("pipe", chardevs.list().getFirst().filename());
        try (Peer peer = chardevs.attach("p").nextPeer().orElseThrow();
                OutputStream to = Files.newOutputStream(Path.of(path + ".in"));
                InputStream from = Files.newInputStream(Path.of(path + ".out"))) {
            to.write("to".getBytes(StandardCharsets.UTF_8));
            assertEquals("to", hear(peer));
            say(peer, "from");
            assertEquals("from", new String(from.readNBytes(4), StandardCharsets.UTF_8));
        }
    }

    @Test
    void whoOpensAPseudoTerminalIsItsPeerUntilItCloses() throws IOException {
        chardevs.add("t", new ChardevBackend.Pty());
        Path terminal = Path.of(chardevs.terminal("t").orElseThrow());
        assertEquals("pty:" + terminal, chardevs.list().getFirst().filename());
        Chardev chardev = chardevs.attach("t");
        for (int i = 0; i < 2; i++) {
            OutputStream to = Files.newOutputStream(terminal);
            InputStream from = Files.newInputStream(terminal);
            try (Peer peer = chardev.nextPeer().orElseThrow()) {
                to.write("raw\r\u0003\n".getBytes(StandardCharsets.UTF_8));
                assertEquals("raw\r\u0003\n", hear(peer));
                say(peer, "not\nechoed");
                assertEquals(
                        "not\nechoed", new String(from.readNBytes(10), StandardCharsets.UTF_8));
                to.close();
                from.close();
                assertEquals("(end)", hear(peer));
            }
        }
        chardevs.close();
        assertTrue(chardev.nextPeer().isEmpty());
        assertFalse(Files.exists(terminal));
    }

    @Test
    void whatNobodyUsesIsReplaced() {
        chardevs.add("a", new ChardevBackend.Null());
        chardevs.change("a", new ChardevBackend.Ringbuf(Optional.of(4L)));
        chardevs.ringBuffer("a");
        chardevs.attach("a");
        assertEquals(
                "Chardev user does not support chardev hotswap",
                error(() -> chardevs.change("a", new ChardevBackend.Null())));
        assertEquals(
                "Chardev 'x' does not exist",
                error(() -> chardevs.change("x", new ChardevBackend.Null())));
    }

    @Test
    void aRingBufferKeepsTheLastBytes() {
        chardevs.add("r", new ChardevBackend.Ringbuf(Optional.of(4L)));
        RingBuffer buffer = chardevs.ringBuffer("r");
        buffer.write("abcdef".getBytes(StandardCharsets.UTF_8), 0, 6);
        assertArrayEquals("cd".getBytes(StandardCharsets.UTF_8), buffer.read(2));
        buffer.write("gh".getBytes(StandardCharsets.UTF_8), 0, 2);
        assertArrayEquals("efgh".getBytes(StandardCharsets.UTF_8), buffer.read(100));
        assertArrayEquals(new byte[0], buffer.read(1));
    }

    @Test
    void refusals() {
        chardevs.add("n", new ChardevBackend.Null());
        chardevs.attach("n");
        String path = directory.resolve("no/s").toString();
        SocketAddress nowhere = new SocketAddress.Unix(path);
        assertEquals(
                "Chardev with id 'n' already exists",
                error(() -> chardevs.add("n", new ChardevBackend.Null())));
        assertEquals("Device 'n' is in use", error(() -> chardevs.attach("n")));
        assertEquals("chardev \"x\" not found", error(() -> chardevs.attach("x")));
        assertEquals("Chardev 'n' is busy", error(() -> chardevs.remove("n")));
        assertEquals("Chardev 'x' not found", error(() -> chardevs.remove("x")));
        assertEquals(
                "Failed to bind socket to " + path + ": No such file or directory",
                error(() -> chardevs.add("s", listening(nowhere))));
        assertEquals(
                "Failed to connect to '" + path + "': No such file or directory",
                error(() -> chardevs.add("s", connecting(nowhere, NEVER))));
        assertEquals(
                "Could not open '" + path + "': No such file or directory",
                error(
                        () ->
                                chardevs.add(
                                        "s",
                                        new ChardevBackend.File(Optional.empty(), path, UNSET))));
        assertEquals(
                "size of ringbuf chardev must be power of two",
                error(() -> chardevs.add("s", new ChardevBackend.Ringbuf(Optional.of(3L)))));
        assertEquals(
                "size of ringbuf chardev must be at most 16777216",
                error(() -> chardevs.add("s", new ChardevBackend.Ringbuf(Optional.of(1L << 40)))));
        assertEquals("n is not a ringbuf device", error(() -> chardevs.ringBuffer("n")));
        assertEquals(List.of("n"), chardevs.list().stream().map(Chardevs.Info::label).toList());
    }
}

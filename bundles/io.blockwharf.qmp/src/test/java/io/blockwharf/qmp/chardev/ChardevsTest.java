package io.blockwharf.qmp.chardev;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.qmp.RecordingLog;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
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
        chardevs.add("a", new ChardevBackend.File(file.toString(), Optional.of(true)));
        try (Peer peer = chardevs.attach("a").nextPeer().orElseThrow()) {
            say(peer, "new");
        }
        assertEquals("old new", Files.readString(file));
        chardevs.add("b", new ChardevBackend.File(file.toString(), UNSET));
        assertEquals("", Files.readString(file));
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
                error(() -> chardevs.add("s", new ChardevBackend.File(path, UNSET))));
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

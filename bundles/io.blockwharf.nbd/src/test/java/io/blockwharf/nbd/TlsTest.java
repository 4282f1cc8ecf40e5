package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.link.PlainLink;
import io.blockwharf.nbd.link.TlsLink;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.Optional;
import java.util.Random;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;
import javax.net.ssl.TrustManagerFactory;

/** proto.md, "TLS support": a server in FORCEDTLS mode. */
@Timeout(120)
class TlsTest {
    private static final byte[] NOTHING = {};
    private static final int SIZE = 8 << 20;

    @TempDir Path directory;
    private TestServer server;
    private FakeNode node;
    private volatile boolean letIn = true;

    /** Both ends have the same certificate, and trust it. */
    private static SSLContext context() throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        char[] password = "secret".toCharArray();
        try (InputStream in = TlsTest.class.getResourceAsStream("tls.p12")) {
            store.load(in, password);
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(store, password);
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", store.getCertificate("own"));
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        return context;
    }

    private record Credentials(SSLContext context) implements TlsCredentials {
        @Override
        public boolean forServer() {
            return true;
        }

        @Override
        public SSLEngine newServerEngine() {
            SSLEngine engine = context.createSSLEngine();
            engine.setUseClientMode(false);
            engine.setNeedClientAuth(true);
            return engine;
        }

        @Override
        public SSLEngine newClientEngine(String host) {
            throw new IllegalStateException("for the server");
        }

        @Override
        public Optional<String> identity(SSLSession session) {
            return Optional.of("somebody");
        }
    }

    @BeforeEach
    void start() throws Exception {
        server = new TestServer(directory);
        server.server.require(
                new TlsPolicy(
                        new Credentials(context()),
                        identity -> letIn && identity.equals(Optional.of("somebody"))));
        node = new FakeNode(SIZE);
        server.export("disk", node);
        server.export("loop", "", node, true, true);
    }

    @AfterEach
    void stop() {
        server.close();
    }

    /** The client's end of an encrypted connection. */
    private final class Secure implements AutoCloseable {
        private final Arena arena = Arena.ofShared();
        private final Link link;
        private final FdSocket socket;
        private final SSLEngine engine;

        Secure(String... versions) throws Exception {
            socket = FdSocket.connect(new SocketAddress.Unix(server.socket.toString()));
            Link plain = new PlainLink(socket);
            receive(plain, 18);
            send(plain, ByteBuffer.allocate(4).putInt(3));
            send(plain, option(5, NOTHING));
            ByteBuffer answer = receive(plain, 20);
            assertEquals(1, answer.getInt(12));
            engine = context().createSSLEngine();
            engine.setUseClientMode(true);
            if (versions.length > 0) {
                engine.setEnabledProtocols(versions);
            }
            link = TlsLink.open(socket, engine);
        }

        private void send(Link to, ByteBuffer bytes) throws IOException {
            MemorySegment copy =
                    arena.allocateFrom(
                            ValueLayout.JAVA_BYTE,
                            java.util.Arrays.copyOf(bytes.array(), bytes.position()));
            to.add(copy, 0, copy.byteSize());
            assertTrue(to.flush(false));
        }

        private ByteBuffer receive(Link from, int bytes) throws IOException {
            MemorySegment in = arena.allocate(bytes);
            for (long done = 0; done < bytes; ) {
                long n = from.receive(in, done, bytes - done);
                if (n <= 0) {
                    throw new EOFException();
                }
                done += n;
            }
            return ByteBuffer.wrap(in.toArray(ValueLayout.JAVA_BYTE));
        }

        private ByteBuffer option(int option, byte[] data) {
            return ByteBuffer.allocate(16 + data.length)
                    .putLong(0x49484156454F5054L)
                    .putInt(option)
                    .putInt(data.length)
                    .put(data);
        }

        /** The type of the final answer. */
        int ask(int option, byte[] data) throws IOException {
            send(link, option(option, data));
            int type;
            do {
                ByteBuffer header = receive(link, 20);
                type = header.getInt(12);
                receive(link, header.getInt(16));
            } while (type > 1);
            return type;
        }

        ByteBuffer request(int type, long cookie, long offset, int length, byte[] data) {
            return ByteBuffer.allocate(28 + data.length)
                    .putInt(0x25609513)
                    .putInt(type)
                    .putLong(cookie)
                    .putLong(offset)
                    .putInt(length)
                    .put(data);
        }

        void write(long offset, byte[] data) throws IOException {
            send(link, request(1, 1, offset, data.length, data));
            assertEquals(0, receive(link, 16).getInt(4));
        }

        byte[] read(long offset, int length) throws IOException {
            send(link, request(0, 2, offset, length, NOTHING));
            assertEquals(0, receive(link, 16).getInt(4));
            return receive(link, length).array();
        }

        /** TLS 1.3: updates the keys, and demands the same. TLS 1.2: a new handshake. */
        void newKeys() throws IOException {
            engine.beginHandshake();
            ByteBuffer message = ByteBuffer.allocate(engine.getSession().getPacketBufferSize());
            engine.wrap(ByteBuffer.wrap(NOTHING), message);
            send(new PlainLink(socket), message);
        }

        @Override
        public void close() {
            link.close();
            arena.close();
        }
    }

    @ParameterizedTest
    @CsvSource({"disk, TLSv1.2", "disk, TLSv1.3", "loop, TLSv1.2", "loop, TLSv1.3"})
    void readsAndWritesOfAllSizes(String export, String version) throws Exception {
        try (Secure client = new Secure(version)) {
            assertEquals(1, client.ask(7, Client.infoData(export)));
            for (int length : new int[] {1, 512, 16384, 16385, 100_000, 1 << 20, 3_000_001}) {
                byte[] data = new byte[length];
                new Random(length).nextBytes(data);
                client.write(length, data);
                assertArrayEquals(data, client.read(length, length));
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"disk", "loop"})
    void pipelinedRequestsAreAllAnswered(String export) throws Exception {
        node.cold = true;
        node.fill(0, SIZE, 3);
        try (Secure client = new Secure()) {
            client.ask(7, Client.infoData(export));
            ByteBuffer all = ByteBuffer.allocate(100 * 28);
            for (int i = 0; i < 100; i++) {
                ByteBuffer one = client.request(0, i, i * 4096L, 4096, NOTHING);
                all.put(one.flip());
            }
            client.send(client.link, all);
            for (int i = 0; i < 100; i++) {
                long cookie = client.receive(client.link, 16).getLong(8);
                assertArrayEquals(
                        node.memory.asSlice(cookie * 4096, 4096).toArray(ValueLayout.JAVA_BYTE),
                        client.receive(client.link, 4096).array());
            }
        }
    }

    @Test
    void clientsAreShownWithTheirIdentity() throws Exception {
        try (Secure client = new Secure()) {
            client.ask(7, Client.infoData("disk"));
            NbdClientInfo info = server.server.clients().getFirst().describe();
            assertTrue(info.tls());
            assertEquals(Optional.of("somebody"), info.tlsIdentity());
        }
    }

    /** "If the server receives any other option ... it MUST reply with NBD_REP_ERR_TLS_REQD". */
    @ParameterizedTest
    @CsvSource({"3, 0", "6, 0", "7, 70000", "8, 0", "10, 3", "99, 0", "99, 70000"})
    void nothingIsAnsweredBeforeTls(int option, int bytes) throws Exception {
        try (Client client = new Client(server.socket).greet(3)) {
            Client.OptionAnswer answer = client.ask(option, new byte[bytes]).getLast();
            assertEquals(0x80000005, answer.type());
            assertEquals("Option 0x%x not permitted before TLS".formatted(option), answer.text());
        }
    }

    @Test
    void exportNameBeforeTlsEndsTheConnection() throws Exception {
        try (Client client = new Client(server.socket).greet(3)) {
            client.option(1, new byte[] {'d', 'i', 's', 'k'});
            assertThrows(EOFException.class, () -> client.receive(1));
        }
    }

    /** What a man in the middle says before TLS must not be heard after it. */
    @Test
    void bytesBehindStartTlsEndTheConnection() throws Exception {
        try (Client client = new Client(server.socket).greet(3)) {
            ByteBuffer both = ByteBuffer.allocate(32);
            both.putLong(0x49484156454F5054L).putInt(5).putInt(0);
            both.putLong(0x49484156454F5054L).putInt(8).putInt(0);
            client.send(both);
            assertThrows(EOFException.class, () -> client.receive(1));
        }
    }

    @Test
    void secondStartTlsIsInvalid() throws Exception {
        try (Secure client = new Secure()) {
            assertEquals(0x80000003, client.ask(5, NOTHING));
            assertEquals(1, client.ask(3, NOTHING));
        }
    }

    @Test
    void whoIsNotAuthorizedIsSentAway() throws Exception {
        letIn = false;
        try (Secure client = new Secure()) {
            assertThrows(IOException.class, () -> client.ask(3, NOTHING));
        }
    }

    /** RFC 8446, 4.6.3. */
    @ParameterizedTest
    @ValueSource(strings = {"disk", "loop"})
    void keysAreUpdatedAsOftenAsDataIsSent(String export) throws Exception {
        try (Secure client = new Secure("TLSv1.3")) {
            client.ask(7, Client.infoData(export));
            for (int i = 0; i < 20; i++) {
                client.newKeys();
                client.newKeys();
                client.write(i, new byte[] {(byte) i});
                client.newKeys();
                assertArrayEquals(new byte[] {(byte) i}, client.read(i, 1));
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "disk, TLSv1.3, 1000",
        "loop, TLSv1.3, 1000",
        "disk, TLSv1.2, 1",
        "loop, TLSv1.2, 1"
    })
    void keyUpdatesWithoutEndAndNewHandshakesEndTheConnection(
            String export, String version, int times) throws Exception {
        try (Secure client = new Secure(version)) {
            client.ask(7, Client.infoData(export));
            assertThrows(
                    IOException.class,
                    () -> {
                        for (int i = 0; i < times; i++) {
                            client.newKeys();
                        }
                        client.receive(client.link, 1);
                    });
            awaitNoClients();
        }
        try (Secure client = new Secure(version)) {
            assertEquals(1, client.ask(3, NOTHING));
        }
    }

    private void awaitNoClients() {
        while (!server.server.clients().isEmpty()) {
            Thread.onSpinWait();
        }
    }

    @Test
    void garbageInsteadOfAHandshakeEndsTheConnection() throws Exception {
        try (Client client = new Client(server.socket).greet(3)) {
            client.ask(5, NOTHING);
            client.send(ByteBuffer.wrap(new byte[500]).position(500));
            assertTrue(client.isClosed());
        }
    }
}

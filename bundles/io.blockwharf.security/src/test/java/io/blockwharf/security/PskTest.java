package io.blockwharf.security;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Random;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;

/** The object type tls-creds-psk, and the engine behind it. */
class PskTest {
    private static final String ALICE = "00112233445566778899aabbccddeeff";

    @TempDir Path directory;

    @BeforeEach
    void writeKeys() throws IOException {
        keys("other:ffffffff", "alice:" + ALICE, "#c3bc:0badcafe");
    }

    private void keys(String... lines) throws IOException {
        Files.write(directory.resolve("keys.psk"), List.of(lines));
    }

    private TlsCredentials credentials(Endpoint endpoint, String user, String priority) {
        return (TlsCredentials)
                new TlsCredsPsk()
                        .create(
                                "t",
                                new TlsCredsPsk.Properties(
                                        Optional.empty(),
                                        Optional.of(directory.toString()),
                                        Optional.of(endpoint),
                                        Optional.ofNullable(priority),
                                        Optional.ofNullable(user)));
    }

    private TlsCredentials server() {
        return credentials(Endpoint.SERVER, null, null);
    }

    private SSLEngine client(String user, String priority) {
        return credentials(Endpoint.CLIENT, user, priority).newClientEngine("host");
    }

    @ParameterizedTest
    @CsvSource({
        "alice, NORMAL, TLSv1.3, TLS_AES_128_GCM_SHA256",
        "ü, NORMAL, TLSv1.3, TLS_AES_128_GCM_SHA256",
        "alice, NORMAL:-VERS-TLS1.3, TLSv1.2, TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",
        "alice, NORMAL:-VERS-TLS1.3:-CIPHER-ALL:+AES-128-CBC, TLSv1.2,"
                + " TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256",
    })
    void whoHasTheKeyIsKnownByName(String user, String priority, String version, String suite)
            throws Exception {
        TlsCredentials server = server();
        SSLEngine engine = server.newServerEngine();
        assertEquals(Optional.empty(), server.identity(engine.getSession()));
        Engines both = new Engines(engine, client(user, priority)).shake();
        assertEquals(Optional.of(user), server.identity(engine.getSession()));
        assertEquals(version, engine.getSession().getProtocol());
        assertEquals(suite, engine.getSession().getCipherSuite());
        byte[] data = new byte[100_000];
        new Random(1).nextBytes(data);
        assertArrayEquals(data, both.toServer(data));
        assertArrayEquals(data, both.toClient(data));
        both.closeClient();
        assertTrue(engine.isInboundDone());
    }

    @ParameterizedTest
    @CsvSource({"alice, TLS1.3", "alice, TLS1.2", "mallory, TLS1.3", "mallory, TLS1.2"})
    void othersAreNotLetIn(String user, String version) throws Exception {
        keys(user + ":01020304");
        SSLEngine client = client(user, "NORMAL:-VERS-ALL:+VERS-" + version);
        writeKeys();
        SSLEngine server = server().newServerEngine();
        assertThrows(SSLException.class, () -> new Engines(server, client).shake());
    }

    /** Adding and removing users needs no new object. */
    @Test
    void serverReadsTheFileForEachClient() throws Exception {
        SSLEngine client = client("alice", null);
        SSLEngine late = client("alice", null);
        keys("other:ffffffff");
        TlsCredentials server = server();
        assertThrows(
                SSLException.class, () -> new Engines(server.newServerEngine(), client).shake());
        writeKeys();
        new Engines(server.newServerEngine(), late).shake();
    }

    @Test
    void recordsAreOnlyTakenWhole() throws Exception {
        SSLEngine server = server().newServerEngine();
        SSLEngine client = client("alice", null);
        new Engines(server, client).shake();
        ByteBuffer record = ByteBuffer.allocate(1 << 15);
        client.wrap(ByteBuffer.wrap(new byte[100]), record);
        record.flip();
        ByteBuffer part = record.slice(0, record.limit() - 1);
        ByteBuffer target = ByteBuffer.allocate(1 << 14);
        assertEquals(Status.BUFFER_UNDERFLOW, server.unwrap(part, target).getStatus());
        assertEquals(0, part.position());
        assertEquals(
                Status.BUFFER_OVERFLOW,
                server.unwrap(record, ByteBuffer.allocate(100)).getStatus());
        assertEquals(100, server.unwrap(record, target).bytesProduced());
        record.clear().put(new byte[] {23, 3, 3, (byte) 0xff, (byte) 0xff}).flip();
        assertThrows(SSLException.class, () -> server.unwrap(record, target.clear()));
    }

    @Test
    void garbageEndsIt() {
        SSLEngine server = server().newServerEngine();
        ByteBuffer garbage = ByteBuffer.allocate(100).put(0, (byte) 22).put(4, (byte) 95);
        ByteBuffer target = ByteBuffer.allocate(1 << 14);
        assertThrows(SSLException.class, () -> server.unwrap(garbage, target));
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource({
        "SERVER, alice, username should not be set when endpoint=server",
        "CLIENT, , Username qemu not found in PSK file DIR/keys.psk",
        "CLIENT, bob, Username bob not found in PSK file DIR/keys.psk",
        "CLIENT, broken, Username broken not found in PSK file DIR/keys.psk",
    })
    void refusals(Endpoint endpoint, String user, String expected) throws Exception {
        keys("no colon", "broken:zz", ":00", "alice:" + ALICE);
        QmpException e = assertThrows(QmpException.class, () -> credentials(endpoint, user, null));
        assertEquals(expected.replace("DIR", directory.toString()), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"SERVER", "CLIENT"})
    void missingFile(Endpoint endpoint) throws Exception {
        Files.delete(directory.resolve("keys.psk"));
        QmpException e = assertThrows(QmpException.class, () -> credentials(endpoint, null, null));
        assertEquals(
                "Unable to access credentials %s/keys.psk: No such file or directory"
                        .formatted(directory),
                e.getMessage());
    }

    @Test
    void credentialsAreForOneEnd() {
        assertTrue(server().forServer());
        assertThrows(IllegalStateException.class, () -> server().newClientEngine("host"));
        TlsCredentials client = credentials(Endpoint.CLIENT, "alice", null);
        assertFalse(client.forServer());
        assertThrows(IllegalStateException.class, client::newServerEngine);
    }
}

package io.blockwharf.core.security;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.Optional;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManagerFactory;

/** The object type tls-creds-x509: who is let in, and which files are of no use. */
class X509CredentialsTest {
    @TempDir Path dir;

    private static byte[] resource(String name) throws IOException {
        try (InputStream in = X509CredentialsTest.class.getResourceAsStream(name)) {
            return in.readAllBytes();
        }
    }

    private void put(String name, String resource) throws IOException {
        Files.write(dir.resolve(name), resource(resource));
    }

    private void server(String certificate, String key) throws IOException {
        put("ca-cert.pem", "ca-cert.pem");
        put("server-cert.pem", certificate);
        put("server-key.pem", key);
    }

    private TlsCredentials load(boolean verifyPeer, String... priority) {
        return (TlsCredentials)
                new TlsCredsX509()
                        .create(
                                "t",
                                new TlsCredsX509.Properties(
                                        Optional.of(verifyPeer),
                                        Optional.of(dir.toString()),
                                        Optional.of(TlsCredsX509.Endpoint.SERVER),
                                        priority.length == 0
                                                ? Optional.empty()
                                                : Optional.of(priority[0]),
                                        Optional.empty(),
                                        Optional.empty()));
    }

    /** A client with a certificate of ours, or without ("none"). */
    private static SSLEngine client(String who, String... versions)
            throws GeneralSecurityException, IOException {
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        trusted.setCertificateEntry("ca", Pem.certificates(resource("ca-cert.pem")).getFirst());
        TrustManagerFactory trust = TrustManagerFactory.getInstance("PKIX");
        trust.init(trusted);
        KeyStore own = KeyStore.getInstance("PKCS12");
        own.load(null, null);
        if (!who.equals("none")) {
            own.setKeyEntry(
                    "own",
                    Pem.privateKey(new String(resource(who + "-key.pem"))),
                    new char[0],
                    Pem.certificates(resource(who + "-cert.pem"))
                            .toArray(java.security.cert.X509Certificate[]::new));
        }
        KeyManagerFactory keys = KeyManagerFactory.getInstance("PKIX");
        keys.init(own, new char[0]);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
        SSLEngine engine = context.createSSLEngine();
        engine.setUseClientMode(true);
        if (versions.length > 0) {
            engine.setEnabledProtocols(versions);
        }
        return engine;
    }

    /** Lets two engines talk until both are content. */
    private static void shake(SSLEngine server, SSLEngine client) throws SSLException {
        ByteBuffer toServer = ByteBuffer.allocate(1 << 16);
        ByteBuffer toClient = ByteBuffer.allocate(1 << 16);
        server.beginHandshake();
        client.beginHandshake();
        for (int i = 0; i < 100; i++) {
            step(client, toClient, toServer);
            step(server, toServer, toClient);
        }
        assertEquals(HandshakeStatus.NOT_HANDSHAKING, server.getHandshakeStatus());
    }

    private static void step(SSLEngine engine, ByteBuffer in, ByteBuffer out) throws SSLException {
        Runnable task;
        while ((task = engine.getDelegatedTask()) != null) {
            task.run();
        }
        switch (engine.getHandshakeStatus()) {
            case NEED_WRAP -> engine.wrap(ByteBuffer.allocate(0), out);
            case NEED_UNWRAP, NEED_UNWRAP_AGAIN, NOT_HANDSHAKING -> {
                in.flip();
                engine.unwrap(in, ByteBuffer.allocate(1 << 15));
                in.compact();
            }
            default -> {}
        }
    }

    @ParameterizedTest
    @CsvSource({"TLSv1.2, false", "TLSv1.3, false", "TLSv1.2, true", "TLSv1.3, true"})
    void clientsOfOurCaAreKnownByName(String version, boolean revocations) throws Exception {
        server("server-cert.pem", "server-key.pem");
        if (revocations) {
            put("ca-crl.pem", "ca-crl.pem");
        }
        TlsCredentials credentials = load(true);
        SSLEngine server = credentials.newServerEngine();
        shake(server, client("client", version));
        assertEquals(version, server.getSession().getProtocol());
        assertEquals(
                Optional.of("CN=laptop,O=Blockwharf,C=DE"),
                credentials.identity(server.getSession()));
    }

    @ParameterizedTest
    @CsvSource({
        "none, TLSv1.3",
        "none, TLSv1.2",
        "stranger, TLSv1.3",
        "revoked, TLSv1.3",
        "revoked, TLSv1.2"
    })
    void othersAreNotLetIn(String who, String version) throws Exception {
        server("server-cert.pem", "server-key.pem");
        put("ca-crl.pem", "ca-crl.pem");
        SSLEngine server = load(true).newServerEngine();
        SSLEngine client = client(who, version);
        assertThrows(SSLException.class, () -> shake(server, client));
    }

    @Test
    void anybodyIsLetInWithoutVerification() throws Exception {
        server("server-cert.pem", "server-key.pem");
        TlsCredentials credentials = load(false);
        SSLEngine server = credentials.newServerEngine();
        shake(server, client("none"));
        assertEquals(Optional.empty(), credentials.identity(server.getSession()));
    }

    @ParameterizedTest
    @CsvSource({
        "NORMAL:-VERS-TLS1.3, TLSv1.2",
        "NORMAL:-VERS-ALL:+VERS-TLS1.3, TLSv1.3",
        "SECURE256, 'TLSv1.2 TLSv1.3'",
    })
    void priorityChoosesVersions(String priority, String versions) throws Exception {
        server("server-cert.pem", "server-key.pem");
        String[] enabled = load(true, priority).newServerEngine().getEnabledProtocols();
        java.util.Arrays.sort(enabled);
        assertEquals(versions, String.join(" ", enabled));
    }

    @ParameterizedTest
    @ValueSource(strings = {"NONE", "NORMAL:+ANON-ECDH", "NORMAL:-VERS-ALL", ""})
    void priorityThatTheJdkCannotHonourIsRefused(String priority) throws Exception {
        server("server-cert.pem", "server-key.pem");
        assertThrows(QmpException.class, () -> load(true, priority));
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource({
        "expired-cert.pem, expired-key.pem, The server certificate DIR/server-cert.pem has expired",
        "ca-cert.pem, server-key.pem, 'The certificate DIR/server-cert.pem basic constraints show a"
                + " CA, but we need one for a server'",
        "client-cert.pem, client-key.pem, Certificate DIR/server-cert.pem purpose does not allow"
                + " use with a TLS server",
        "server-cert.pem, encrypted-key.pem, Cannot load TLS credentials from 'DIR': the private"
                + " key is encrypted",
        "server-cert.pem, server-cert.pem, Cannot load TLS credentials from 'DIR': no private key",
    })
    void uselessFiles(String certificate, String key, String message) throws Exception {
        server(certificate, key);
        QmpException e = assertThrows(QmpException.class, () -> load(true));
        assertEquals(message.replace("DIR", dir.toString()), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(strings = {"ca-cert.pem", "server-cert.pem", "server-key.pem"})
    void missingFiles(String file) throws Exception {
        server("server-cert.pem", "server-key.pem");
        Files.delete(dir.resolve(file));
        QmpException e = assertThrows(QmpException.class, () -> load(true));
        assertEquals(
                "Unable to access credentials %s/%s: No such file or directory"
                        .formatted(dir, file),
                e.getMessage());
    }

    @Test
    void certificateOfAnotherCaFailsTheSanityCheck() throws Exception {
        server("stranger-cert.pem", "stranger-key.pem");
        put("ca-cert.pem", "other-cert.pem");
        put("server-cert.pem", "server-cert.pem");
        put("server-key.pem", "server-key.pem");
        QmpException e = assertThrows(QmpException.class, () -> load(true));
        assertEquals(
                ("Our own certificate DIR/server-cert.pem failed validation against"
                                + " DIR/ca-cert.pem: The certificate hasn't got a known issuer")
                        .replace("DIR", dir.toString()),
                e.getMessage());
    }

    @Test
    void endpointIsClientByDefault() throws Exception {
        put("ca-cert.pem", "ca-cert.pem");
        TlsCredentials credentials =
                (TlsCredentials)
                        new TlsCredsX509()
                                .create(
                                        "t",
                                        new TlsCredsX509.Properties(
                                                Optional.empty(),
                                                Optional.of(dir.toString()),
                                                Optional.empty(),
                                                Optional.empty(),
                                                Optional.empty(),
                                                Optional.empty()));
        assertFalse(credentials.forServer());
    }

    @ParameterizedTest
    @ValueSource(strings = {"server-key.pem", "server-key-pkcs1.pem", "ec-key.pem"})
    void keysInAllForms(String key) throws Exception {
        assertNotNull(Pem.privateKey(new String(resource(key))));
    }
}

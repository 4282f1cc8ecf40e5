package io.blockwharf.security;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.Secret;
import io.blockwharf.testing.FakeObjects;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.util.Optional;

import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;
import javax.net.ssl.TrustManagerFactory;

/** The object type tls-creds-x509: who is let in, and which files are of no use. */
class X509CredentialsTest {
    @TempDir Path dir;

    private final FakeObjects objects =
            new FakeObjects()
                    .with("good", (Secret) () -> "geheim".getBytes(StandardCharsets.UTF_8))
                    .with("bad", (Secret) () -> "falsch".getBytes(StandardCharsets.UTF_8));

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
        return load(verifyPeer, Endpoint.SERVER, true, Optional.empty(), priority);
    }

    private TlsCredentials load(
            boolean verifyPeer,
            Endpoint endpoint,
            boolean sanityCheck,
            Optional<String> passwordid,
            String... priority) {
        return (TlsCredentials)
                new TlsCredsX509(objects)
                        .create(
                                "t",
                                new TlsCredsX509.Properties(
                                        Optional.of(verifyPeer),
                                        Optional.of(dir.toString()),
                                        Optional.of(endpoint),
                                        priority.length == 0
                                                ? Optional.empty()
                                                : Optional.of(priority[0]),
                                        Optional.of(sanityCheck),
                                        passwordid));
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
                    Pem.privateKey(new String(resource(who + "-key.pem")), Optional.empty()),
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

    @ParameterizedTest
    @CsvSource({"TLSv1.2, false", "TLSv1.3, false", "TLSv1.2, true", "TLSv1.3, true"})
    void clientsOfOurCaAreKnownByName(String version, boolean revocations) throws Exception {
        server("server-cert.pem", "server-key.pem");
        if (revocations) {
            put("ca-crl.pem", "ca-crl.pem");
        }
        TlsCredentials credentials = load(true);
        SSLEngine server = credentials.newServerEngine();
        new Engines(server, client("client", version)).shake();
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
        assertThrows(SSLException.class, () -> new Engines(server, client).shake());
    }

    @Test
    void anybodyIsLetInWithoutVerification() throws Exception {
        server("server-cert.pem", "server-key.pem");
        TlsCredentials credentials = load(false);
        SSLEngine server = credentials.newServerEngine();
        new Engines(server, client("none")).shake();
        assertEquals(Optional.empty(), credentials.identity(server.getSession()));
    }

    @ParameterizedTest
    @CsvSource({
        "NORMAL:-VERS-TLS1.3, TLSv1.2",
        "NORMAL:-VERS-ALL:+VERS-TLS1.3, TLSv1.3",
        "SECURE256, 'TLSv1.2 TLSv1.3'",
        "'@LIBVIRT,SYSTEM', 'TLSv1.2 TLSv1.3'",
    })
    void priorityChoosesVersions(String priority, String versions) throws Exception {
        server("server-cert.pem", "server-key.pem");
        String[] enabled = load(true, priority).newServerEngine().getEnabledProtocols();
        java.util.Arrays.sort(enabled);
        assertEquals(versions, String.join(" ", enabled));
    }

    @ParameterizedTest
    @CsvSource({
        "NORMAL:-CIPHER-ALL:+AES-128-GCM, AES_128_GCM",
        "SECURE256:-CHACHA20-POLY1305:!AES-256-CBC:%SERVER_PRECEDENCE, AES_256_GCM",
    })
    void priorityChoosesCiphers(String priority, String cipher) throws Exception {
        server("server-cert.pem", "server-key.pem");
        for (String suite : load(true, priority).newServerEngine().getEnabledCipherSuites()) {
            assertTrue(suite.contains(cipher), suite);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "NORMAL, TLS_AES_128_GCM_SHA256",
        "NORMAL:-AES-128-GCM, TLS_AES_256_GCM_SHA384",
    })
    void serversPreferTheCheapestCipher(String priority, String first) throws Exception {
        server("server-cert.pem", "server-key.pem");
        SSLEngine server = load(true, priority).newServerEngine();
        assertEquals(first, server.getEnabledCipherSuites()[0]);
        assertTrue(server.getSSLParameters().getUseCipherSuitesOrder());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "NONE",
                "NORMAL:+ANON-ECDH",
                "NORMAL:-VERS-ALL",
                "NORMAL:-CIPHER-ALL",
                "NORMAL:+PSK",
                "TLS1.2",
                ""
            })
    void priorityThatTheJdkCannotHonourIsRefused(String priority) throws Exception {
        server("server-cert.pem", "server-key.pem");
        assertThrows(QmpException.class, () -> load(true, priority));
    }

    @ParameterizedTest(name = "{0} {1}: {2}")
    @CsvSource({
        "expired-cert.pem, expired-key.pem, The server certificate DIR/server-cert.pem has expired",
        "ca-cert.pem, server-key.pem, 'The certificate DIR/server-cert.pem basic constraints show a"
                + " CA, but we need one for a server'",
        "server-cert.pem, server-key-pbes2.pem, Cannot load certificate 'DIR/server-cert.pem' & key"
                + " 'DIR/server-key.pem': Decryption has failed.",
        "server-cert.pem, client-key.pem, Cannot load certificate 'DIR/server-cert.pem' & key"
                + " 'DIR/server-key.pem': The certificate and the given key do not match.",
        "server-cert.pem, server-cert.pem, Cannot load certificate 'DIR/server-cert.pem' & key"
                + " 'DIR/server-key.pem': no private key",
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

    /** The checks can be left out, the certificate is then the clients' problem. */
    @Test
    void sanityCheckCanBeSwitchedOff() throws Exception {
        server("expired-cert.pem", "expired-key.pem");
        assertThrows(QmpException.class, () -> load(true));
        load(true, Endpoint.SERVER, false, Optional.empty());
    }

    @Test
    void endpointIsClientByDefault() throws Exception {
        put("ca-cert.pem", "ca-cert.pem");
        TlsCredentials credentials =
                (TlsCredentials)
                        new TlsCredsX509(objects)
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
        assertThrows(IllegalStateException.class, credentials::newServerEngine);
    }

    /** RFC 2818, 3.1; without verification any name does. */
    @ParameterizedTest
    @CsvSource({"localhost, true, true", "elsewhere, true, false", "elsewhere, false, true"})
    void clientsInsistOnTheNameOfTheServer(String host, boolean verifyPeer, boolean connects)
            throws Exception {
        server("server-cert.pem", "server-key.pem");
        put("client-cert.pem", "client-cert.pem");
        put("client-key.pem", "client-key.pem");
        SSLEngine server = load(true).newServerEngine();
        TlsCredentials credentials = load(verifyPeer, Endpoint.CLIENT, true, Optional.empty());
        Engines both = new Engines(server, credentials.newClientEngine(host));
        if (connects) {
            both.shake();
        } else {
            assertThrows(SSLException.class, both::shake);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "server-key-pbes2.pem, good, ",
        "server-key-pbes2.pem, bad, Decryption has failed.",
        "server-key-aes128.pem, good, ",
        "server-key-aes128.pem, bad, Decryption has failed.",
        "server-key.pem, bad, ",
    })
    void encryptedKeys(String key, String password, String failure) throws Exception {
        server("server-cert.pem", key);
        if (failure == null) {
            load(true, Endpoint.SERVER, true, Optional.of(password));
            return;
        }
        QmpException e =
                assertThrows(
                        QmpException.class,
                        () -> load(true, Endpoint.SERVER, true, Optional.of(password)));
        assertEquals(
                "Cannot load certificate '%1$s/server-cert.pem' & key '%1$s/server-key.pem': %2$s"
                        .formatted(dir, failure),
                e.getMessage());
    }

    @Test
    void passwordThatIsNotThere() throws Exception {
        server("server-cert.pem", "server-key.pem");
        QmpException e =
                assertThrows(
                        QmpException.class,
                        () -> load(true, Endpoint.SERVER, true, Optional.of("nix")));
        assertEquals("No secret with id 'nix'", e.getMessage());
    }

    /** Plain and encrypted, as openssl writes them, new and old. */
    @ParameterizedTest
    @ValueSource(
            strings = {
                "server-key.pem",
                "server-key-pkcs1.pem",
                "server-key-pbes2.pem",
                "server-key-aes128.pem",
                "server-key-des3.pem",
                "ec-key.pem",
                "ec-key-pbes1.pem",
                "ec-key-aes256.pem"
            })
    void keysInAllForms(String key) throws Exception {
        String certificate = key.startsWith("ec") ? "ec-cert.pem" : "server-cert.pem";
        assertTrue(
                Pem.match(
                        Pem.certificates(resource(certificate)).getFirst(),
                        Pem.privateKey(
                                new String(resource(key)), Optional.of("geheim".toCharArray()))));
    }
}

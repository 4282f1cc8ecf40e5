package io.blockwharf.core.security;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.QmpException;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.CRL;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.Collection;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;

/**
 * Certificates of one end, loaded and checked; texts of errors as in QEMU's crypto/tlscredsx509.c.
 */
final class X509Credentials implements TlsCredentials {
    private static final char[] NO_PASSWORD = {};

    private final SSLContext context;
    private final boolean server;
    private final boolean verifyPeer;
    private final String[] versions;

    private X509Credentials(
            SSLContext context, boolean server, boolean verifyPeer, String[] versions) {
        this.context = context;
        this.server = server;
        this.verifyPeer = verifyPeer;
        this.versions = versions;
    }

    /**
     * Reads the files.
     *
     * @throws QmpException if one is missing, damaged, or (if {@code sanityCheck}) of no use
     */
    static X509Credentials load(
            String dir,
            boolean server,
            boolean verifyPeer,
            boolean sanityCheck,
            String[] versions) {
        String end = server ? "server" : "client";
        Path ca = Path.of(dir, "ca-cert.pem");
        Path own = Path.of(dir, end + "-cert.pem");
        Path key = Path.of(dir, end + "-key.pem");
        Path revoked = Path.of(dir, "ca-crl.pem");
        try {
            List<X509Certificate> trusted = Pem.certificates(read(ca));
            boolean mandatory = server;
            KeyManager[] keys = null;
            if (mandatory || Files.exists(own)) {
                List<X509Certificate> chain = Pem.certificates(read(own));
                if (chain.isEmpty() || trusted.isEmpty()) {
                    throw QmpException.generic(
                            "Unable to import %s certificate %s: no certificate", end, own);
                }
                PrivateKey secret =
                        Pem.privateKey(new String(read(key), StandardCharsets.US_ASCII));
                if (sanityCheck) {
                    check(trusted, ca, chain.getFirst(), own, end);
                }
                keys = keyManagers(secret, chain);
            }
            Collection<? extends CRL> revocations =
                    Files.exists(revoked) ? Pem.revocations(read(revoked)) : List.of();
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(keys, trustManagers(trusted, revocations), null);
            return new X509Credentials(context, server, verifyPeer, versions);
        } catch (GeneralSecurityException | IOException e) {
            throw new QmpException(
                    "Cannot load TLS credentials from '%s': %s".formatted(dir, e.getMessage()), e);
        }
    }

    private static byte[] read(Path file) {
        try {
            return Files.readAllBytes(file);
        } catch (NoSuchFileException e) {
            throw QmpException.generic(
                    "Unable to access credentials %s: No such file or directory", file);
        } catch (IOException e) {
            throw new QmpException(
                    "Unable to access credentials %s: %s".formatted(file, e.getMessage()), e);
        }
    }

    private static void check(
            List<X509Certificate> trusted, Path ca, X509Certificate own, Path file, String end) {
        for (X509Certificate certificate : trusted) {
            checkDates(certificate, "CA", ca);
            if (certificate.getBasicConstraints() < 0) {
                throw QmpException.generic(
                        "The certificate %s basic constraints do not show a CA", ca);
            }
        }
        checkDates(own, end, file);
        if (own.getBasicConstraints() >= 0) {
            throw QmpException.generic(
                    "The certificate %s basic constraints show a CA, but we need one for a %s",
                    file, end);
        }
        boolean[] usage = own.getKeyUsage();
        if (usage != null && !usage[0]) {
            throw QmpException.generic(
                    "Certificate %s usage does not permit digital signature", file);
        }
        try {
            if (own.getExtendedKeyUsage() != null
                    && own.getExtendedKeyUsage().stream()
                            .noneMatch(
                                    purpose ->
                                            purpose.equals("2.5.29.37.0")
                                                    || purpose.equals(
                                                            end.equals("server")
                                                                    ? "1.3.6.1.5.5.7.3.1"
                                                                    : "1.3.6.1.5.5.7.3.2"))) {
                throw QmpException.generic(
                        "Certificate %s purpose does not allow use with a TLS %s", file, end);
            }
            validate(trusted, own);
        } catch (GeneralSecurityException e) {
            throw new QmpException(
                    "Our own certificate %s failed validation against %s: The certificate hasn't got"
                                    .formatted(file, ca)
                            + " a known issuer",
                    e);
        }
    }

    private static void checkDates(X509Certificate certificate, String whose, Path file) {
        try {
            certificate.checkValidity();
        } catch (CertificateExpiredException e) {
            throw new QmpException("The %s certificate %s has expired".formatted(whose, file), e);
        } catch (CertificateNotYetValidException e) {
            throw new QmpException(
                    "The %s certificate %s is not yet active".formatted(whose, file), e);
        }
    }

    private static void validate(List<X509Certificate> trusted, X509Certificate own)
            throws GeneralSecurityException {
        X509CertSelector target = new X509CertSelector();
        target.setCertificate(own);
        PKIXBuilderParameters parameters = new PKIXBuilderParameters(anchors(trusted), target);
        parameters.addCertStore(
                CertStore.getInstance(
                        "Collection", new CollectionCertStoreParameters(List.of(own))));
        parameters.setRevocationEnabled(false);
        CertPathBuilder.getInstance("PKIX").build(parameters);
    }

    private static Set<TrustAnchor> anchors(List<X509Certificate> trusted) {
        Set<TrustAnchor> anchors = new HashSet<>();
        trusted.forEach(certificate -> anchors.add(new TrustAnchor(certificate, null)));
        return anchors;
    }

    private static KeyManager[] keyManagers(PrivateKey key, List<X509Certificate> chain)
            throws GeneralSecurityException, IOException {
        KeyStore store = KeyStore.getInstance("PKCS12");
        store.load(null, NO_PASSWORD);
        store.setKeyEntry("own", key, NO_PASSWORD, chain.toArray(X509Certificate[]::new));
        KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
        factory.init(store, NO_PASSWORD);
        return factory.getKeyManagers();
    }

    private static TrustManager[] trustManagers(
            List<X509Certificate> trusted, Collection<? extends CRL> revocations)
            throws GeneralSecurityException {
        PKIXBuilderParameters parameters =
                new PKIXBuilderParameters(anchors(trusted), new X509CertSelector());
        parameters.setRevocationEnabled(!revocations.isEmpty());
        if (!revocations.isEmpty()) {
            parameters.addCertStore(
                    CertStore.getInstance(
                            "Collection", new CollectionCertStoreParameters(revocations)));
            PKIXRevocationChecker checker =
                    (PKIXRevocationChecker)
                            CertPathBuilder.getInstance("PKIX").getRevocationChecker();
            // The list that we were given, and nobody on the network
            checker.setOptions(
                    EnumSet.of(
                            PKIXRevocationChecker.Option.PREFER_CRLS,
                            PKIXRevocationChecker.Option.NO_FALLBACK));
            parameters.addCertPathChecker(checker);
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance("PKIX");
        factory.init(new CertPathTrustManagerParameters(parameters));
        return new TrustManager[] {
            new AnyIssuer((X509ExtendedTrustManager) factory.getTrustManagers()[0])
        };
    }

    @Override
    public boolean forServer() {
        return server;
    }

    @Override
    public SSLEngine newServerEngine() {
        SSLEngine engine = context.createSSLEngine();
        engine.setUseClientMode(false);
        engine.setNeedClientAuth(verifyPeer);
        engine.setEnabledProtocols(versions);
        return engine;
    }

    /** The distinguished name of the client's certificate, as RFC 4514 writes it. */
    @Override
    public Optional<String> identity(SSLSession session) {
        try {
            X509Certificate client = (X509Certificate) session.getPeerCertificates()[0];
            return Optional.of(client.getSubjectX500Principal().getName());
        } catch (SSLPeerUnverifiedException e) {
            return Optional.empty();
        }
    }
}

package io.blockwharf.security;

import io.blockwharf.api.export.TlsCredentials;
import io.blockwharf.api.qmp.QmpException;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.InvalidKeyException;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.CRL;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CertificateException;
import java.security.cert.CertificateExpiredException;
import java.security.cert.CertificateNotYetValidException;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.PKIXRevocationChecker;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.EnumSet;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

import javax.net.ssl.CertPathTrustManagerParameters;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509ExtendedTrustManager;
import javax.security.auth.x500.X500Principal;

/**
 * Certificates of one end, loaded and checked; texts of errors as in QEMU's crypto/tlscredsx509.c.
 */
final class X509Credentials implements TlsCredentials {
    private static final char[] NO_PASSWORD = {};

    /** How GnuTLS, and so everybody's lists, writes what RFC 4514 has no keyword for. */
    private static final Map<String, String> KEYWORDS =
            Map.of(
                    "1.2.840.113549.1.9.1", "EMAIL",
                    "2.5.4.4", "surName",
                    "2.5.4.5", "serialNumber",
                    "2.5.4.12", "title",
                    "2.5.4.42", "givenName",
                    "2.5.4.46", "dnQualifier",
                    "2.5.4.65", "pseudonym");

    /** RFC 8446, 9.1: everybody has it. Ten rounds instead of fourteen, for both ends. */
    private static final String FIRST_CHOICE = "TLS_AES_128_GCM_SHA256";

    private static final String EXTENDED_KEY_USAGE = "2.5.29.37";
    private static final String ANY_PURPOSE = "2.5.29.37.0";
    private static final String SERVER_PURPOSE = "1.3.6.1.5.5.7.3.1";
    private static final String CLIENT_PURPOSE = "1.3.6.1.5.5.7.3.2";

    private final SSLContext context;
    private final Endpoint endpoint;
    private final boolean verifyPeer;
    private final Priority priority;

    private X509Credentials(
            SSLContext context, Endpoint endpoint, boolean verifyPeer, Priority priority) {
        this.context = context;
        this.endpoint = endpoint;
        this.verifyPeer = verifyPeer;
        this.priority = priority;
    }

    /**
     * Reads the files. A client needs none of its own.
     *
     * @param password of the private key
     * @throws QmpException if one is missing, damaged, or (if {@code sanityCheck}) of no use
     */
    static X509Credentials load(
            Path dir,
            Endpoint endpoint,
            boolean verifyPeer,
            boolean sanityCheck,
            Priority priority,
            Optional<char[]> password) {
        Path ca = dir.resolve("ca-cert.pem");
        Path own = dir.resolve(endpoint.word() + "-cert.pem");
        Path key = dir.resolve(endpoint.word() + "-key.pem");
        Path revoked = dir.resolve("ca-crl.pem");
        mustExist(ca);
        if (endpoint == Endpoint.SERVER) {
            mustExist(own);
            mustExist(key);
        }
        List<X509Certificate> trusted = certificates(ca, "CA certificate list " + ca);
        KeyManager[] keys = null;
        if (endpoint == Endpoint.SERVER || Files.exists(own)) {
            List<X509Certificate> chain =
                    certificates(own, endpoint.word() + " certificate " + own);
            byte[] keyPem = read(key);
            if (sanityCheck) {
                check(trusted, ca, chain.getFirst(), own, endpoint);
            }
            keys = keyManagers(chain, own, keyPem, key, password);
        } else if (sanityCheck) {
            checkAuthorities(trusted, ca);
        }
        try {
            SSLContext context = SSLContext.getInstance("TLS");
            context.init(keys, trustManagers(trusted, revocations(revoked)), null);
            return new X509Credentials(context, endpoint, verifyPeer, priority);
        } catch (GeneralSecurityException e) {
            throw new QmpException(
                    "Cannot load CA certificate '%s': %s".formatted(ca, e.getMessage()), e);
        }
    }

    private static List<X509Certificate> certificates(Path file, String what) {
        try {
            List<X509Certificate> found = Pem.certificates(read(file));
            if (!found.isEmpty()) {
                return found;
            }
            throw new CertificateException("no certificate");
        } catch (GeneralSecurityException e) {
            throw new QmpException("Unable to import %s: %s".formatted(what, e.getMessage()), e);
        }
    }

    private static Collection<? extends CRL> revocations(Path file) {
        try {
            return Files.exists(file) ? Pem.revocations(read(file)) : List.of();
        } catch (GeneralSecurityException e) {
            throw new QmpException("Cannot load CRL '%s': %s".formatted(file, e.getMessage()), e);
        }
    }

    /** Looked at before any of them is read, as in QEMU. */
    private static void mustExist(Path file) {
        if (!Files.exists(file)) {
            throw QmpException.generic(
                    "Unable to access credentials %s: No such file or directory", file);
        }
    }

    private static byte[] read(Path file) {
        mustExist(file);
        try {
            return Files.readAllBytes(file);
        } catch (IOException e) {
            throw new QmpException(
                    "Unable to access credentials %s: %s".formatted(file, e.getMessage()), e);
        }
    }

    private static void checkAuthorities(List<X509Certificate> trusted, Path file) {
        for (X509Certificate certificate : trusted) {
            checkDates(certificate, "CA", file);
            if (certificate.getBasicConstraints() < 0) {
                throw QmpException.generic(
                        "The certificate %s basic constraints do not show a CA", file);
            }
            boolean[] usage = certificate.getKeyUsage();
            if (usage != null && !usage[5]) {
                throw QmpException.generic(
                        "Certificate %s usage does not permit certificate signing", file);
            }
        }
    }

    private static void check(
            List<X509Certificate> trusted,
            Path ca,
            X509Certificate own,
            Path file,
            Endpoint endpoint) {
        checkAuthorities(trusted, ca);
        checkDates(own, endpoint.word(), file);
        if (own.getBasicConstraints() >= 0) {
            throw QmpException.generic(
                    "The certificate %s basic constraints show a CA, but we need one for a %s",
                    file, endpoint.word());
        }
        boolean[] usage = own.getKeyUsage();
        if (usage != null && !usage[0]) {
            throw QmpException.generic(
                    "Certificate %s usage does not permit digital signature", file);
        }
        try {
            if (!fits(own, endpoint)) {
                throw QmpException.generic(
                        "Certificate %s purpose does not allow use with a TLS %s",
                        file, endpoint.word());
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

    /** Purposes that are not critical are advice. RFC 5280, 4.2. */
    private static boolean fits(X509Certificate own, Endpoint endpoint)
            throws CertificateException {
        Set<String> critical = own.getCriticalExtensionOIDs();
        String needed = endpoint == Endpoint.SERVER ? SERVER_PURPOSE : CLIENT_PURPOSE;
        return critical == null
                || !critical.contains(EXTENDED_KEY_USAGE)
                || own.getExtendedKeyUsage().contains(ANY_PURPOSE)
                || own.getExtendedKeyUsage().contains(needed);
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

    private static KeyManager[] keyManagers(
            List<X509Certificate> chain,
            Path own,
            byte[] keyPem,
            Path keyFile,
            Optional<char[]> password) {
        try {
            PrivateKey key =
                    Pem.privateKey(new String(keyPem, StandardCharsets.US_ASCII), password);
            if (!Pem.match(chain.getFirst(), key)) {
                throw new InvalidKeyException("The certificate and the given key do not match.");
            }
            KeyStore store = KeyStore.getInstance("PKCS12");
            store.load(null, NO_PASSWORD);
            store.setKeyEntry("own", key, NO_PASSWORD, chain.toArray(X509Certificate[]::new));
            KeyManagerFactory factory = KeyManagerFactory.getInstance("PKIX");
            factory.init(store, NO_PASSWORD);
            return factory.getKeyManagers();
        } catch (GeneralSecurityException | IOException e) {
            throw new QmpException(
                    "Cannot load certificate '%s' & key '%s': %s"
                            .formatted(own, keyFile, e.getMessage()),
                    e);
        }
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
        return endpoint == Endpoint.SERVER;
    }

    @Override
    public SSLEngine newServerEngine() {
        SSLEngine engine = engine(Endpoint.SERVER, context.createSSLEngine());
        engine.setNeedClientAuth(verifyPeer);
        return engine;
    }

    @Override
    public SSLEngine newClientEngine(String host) {
        SSLEngine engine = engine(Endpoint.CLIENT, context.createSSLEngine(host, -1));
        if (verifyPeer) {
            SSLParameters parameters = engine.getSSLParameters();
            // RFC 2818, 3.1: what everybody means by a certificate that is for a host
            parameters.setEndpointIdentificationAlgorithm("HTTPS");
            engine.setSSLParameters(parameters);
        }
        return engine;
    }

    private SSLEngine engine(Endpoint wanted, SSLEngine engine) {
        if (endpoint != wanted) {
            throw new IllegalStateException("for the " + endpoint.word());
        }
        engine.setUseClientMode(wanted == Endpoint.CLIENT);
        engine.setEnabledProtocols(priority.versions().toArray(String[]::new));
        engine.setEnabledCipherSuites(
                Arrays.stream(engine.getEnabledCipherSuites())
                        .filter(priority::allows)
                        .sorted(Comparator.comparing(suite -> !suite.equals(FIRST_CHOICE)))
                        .toArray(String[]::new));
        return engine;
    }

    /** The distinguished name of the client's certificate, as RFC 4514 writes it. */
    @Override
    public Optional<String> identity(SSLSession session) {
        try {
            X509Certificate peer = (X509Certificate) session.getPeerCertificates()[0];
            return Optional.of(
                    peer.getSubjectX500Principal().getName(X500Principal.RFC2253, KEYWORDS));
        } catch (SSLPeerUnverifiedException e) {
            return Optional.empty();
        }
    }
}

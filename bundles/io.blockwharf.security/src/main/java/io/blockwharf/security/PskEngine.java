package io.blockwharf.security;

import org.bouncycastle.tls.AlertDescription;
import org.bouncycastle.tls.BasicTlsPSKExternal;
import org.bouncycastle.tls.BasicTlsPSKIdentity;
import org.bouncycastle.tls.CipherSuite;
import org.bouncycastle.tls.NamedGroup;
import org.bouncycastle.tls.PRFAlgorithm;
import org.bouncycastle.tls.PSKTlsClient;
import org.bouncycastle.tls.PSKTlsServer;
import org.bouncycastle.tls.ProtocolVersion;
import org.bouncycastle.tls.PskIdentity;
import org.bouncycastle.tls.SecurityParameters;
import org.bouncycastle.tls.TlsClientProtocol;
import org.bouncycastle.tls.TlsContext;
import org.bouncycastle.tls.TlsCredentials;
import org.bouncycastle.tls.TlsFatalAlert;
import org.bouncycastle.tls.TlsPSKExternal;
import org.bouncycastle.tls.TlsPSKIdentityManager;
import org.bouncycastle.tls.TlsProtocol;
import org.bouncycastle.tls.TlsServerProtocol;
import org.bouncycastle.tls.crypto.TlsCrypto;
import org.bouncycastle.tls.crypto.impl.jcajce.JcaTlsCryptoProvider;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.security.Principal;
import java.security.SecureRandom;
import java.security.cert.Certificate;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Vector;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLPeerUnverifiedException;
import javax.net.ssl.SSLSession;
import javax.net.ssl.SSLSessionContext;

/**
 * One end of a TLS connection whose key both ends know beforehand, which the JDK's own engine does
 * not offer: RFC 8446, 2.2 (TLS 1.3, with (EC)DHE) and RFC 4279, 5489 (TLS 1.2). Bouncy Castle's
 * protocol between an engine's two calls, with the ciphers of the JDK.
 *
 * <p>Only what a link needs is here: settings are fixed by the credentials, and trying to change
 * them is an {@link UnsupportedOperationException}. Not thread-safe.
 */
final class PskEngine extends SSLEngine {
    /** TLSPlaintext: type 8, version 16, length 16. RFC 8446, 5.1. */
    private static final int HEADER_BYTES = 5;

    private static final int MAX_PLAINTEXT_BYTES = 1 << 14;

    /** RFC 5246, 6.2.3: what encryption may add, and the header. */
    private static final int MAX_RECORD_BYTES = MAX_PLAINTEXT_BYTES + 2048 + HEADER_BYTES;

    /**
     * The suites with forward secrecy, the best first. Of TLS 1.3 the one with the hash of the
     * keys, which is SHA-256 (RFC 8446, 4.2.11); ChaCha20 would need Bouncy Castle's provider.
     */
    private static final Map<String, Integer> SUITES = suites();

    private static Map<String, Integer> suites() {
        Map<String, Integer> suites = new LinkedHashMap<>();
        suites.put("TLS_AES_128_GCM_SHA256", CipherSuite.TLS_AES_128_GCM_SHA256);
        suites.put(
                "TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384",
                CipherSuite.TLS_ECDHE_PSK_WITH_AES_256_GCM_SHA384);
        suites.put(
                "TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256",
                CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_GCM_SHA256);
        suites.put(
                "TLS_DHE_PSK_WITH_AES_256_GCM_SHA384",
                CipherSuite.TLS_DHE_PSK_WITH_AES_256_GCM_SHA384);
        suites.put(
                "TLS_DHE_PSK_WITH_AES_128_GCM_SHA256",
                CipherSuite.TLS_DHE_PSK_WITH_AES_128_GCM_SHA256);
        suites.put(
                "TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA384",
                CipherSuite.TLS_ECDHE_PSK_WITH_AES_256_CBC_SHA384);
        suites.put(
                "TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256",
                CipherSuite.TLS_ECDHE_PSK_WITH_AES_128_CBC_SHA256);
        return suites;
    }

    /** Begins the handshake: says hello, or waits for it. */
    private interface Start {
        void begin() throws IOException;
    }

    private final boolean client;
    private final TlsProtocol protocol;
    private final Start start;
    private final Peer peer;
    private boolean begun;
    private boolean inboundDone;
    private final byte[] piece = new byte[MAX_RECORD_BYTES];

    /** What the two classes of Bouncy Castle have in common for us. */
    private interface Peer {
        /** What was agreed on; null before it begins. */
        TlsContext context();

        /** Whose key is used; whether the peer has it is known at the end of the handshake. */
        Optional<PskFile.Entry> user();
    }

    private PskEngine(boolean client, TlsProtocol protocol, Peer peer, Start start) {
        this.client = client;
        this.protocol = protocol;
        this.peer = peer;
        this.start = start;
    }

    /** The server's end; the file is read for each handshake. */
    static PskEngine server(PskFile users, Priority priority) {
        TlsServerProtocol protocol = new TlsServerProtocol();
        Server server = new Server(crypto(), users, priority);
        return new PskEngine(false, protocol, server, () -> protocol.accept(server));
    }

    /** The client's end. */
    static PskEngine client(PskFile.Entry self, Priority priority) {
        TlsClientProtocol protocol = new TlsClientProtocol();
        Client client = new Client(crypto(), self, priority);
        return new PskEngine(true, protocol, client, () -> protocol.connect(client));
    }

    private static TlsCrypto crypto() {
        return new JcaTlsCryptoProvider().create(new SecureRandom());
    }

    private static ProtocolVersion[] versions(Priority priority) {
        return priority.versions().stream()
                .map(v -> v.equals("TLSv1.3") ? ProtocolVersion.TLSv13 : ProtocolVersion.TLSv12)
                .toArray(ProtocolVersion[]::new);
    }

    private static int[] suites(Priority priority) {
        return SUITES.entrySet().stream()
                .filter(suite -> priority.allows(suite.getKey()))
                .mapToInt(Map.Entry::getValue)
                .toArray();
    }

    /** For TLS 1.3. "the Hash ... if no hash is defined, default to SHA-256": RFC 8446, 4.2.11. */
    private static TlsPSKExternal external(TlsCrypto crypto, PskFile.Entry entry) {
        return new BasicTlsPSKExternal(
                entry.identity(), crypto.createSecret(entry.key()), PRFAlgorithm.tls13_hkdf_sha256);
    }

    /**
     * Whether Bouncy Castle can read a peer's share of a group. Those of X25519 and X448 it reads
     * with a class of its provider for the JDK, which the bundle does not have: who is offered them
     * loses the connection.
     */
    private static boolean canDecode(int group) {
        return group != NamedGroup.x25519 && group != NamedGroup.x448;
    }

    /** What Bouncy Castle asks a server. */
    private static final class Server extends PSKTlsServer implements Peer {
        private final Users users;
        private final Priority priority;

        Server(TlsCrypto crypto, PskFile file, Priority priority) {
            Users users = new Users(file);
            super(crypto, users);
            this.users = users;
            this.priority = priority;
        }

        @Override
        public int[] getSupportedGroups() throws IOException {
            return Arrays.stream(super.getSupportedGroups()).filter(PskEngine::canDecode).toArray();
        }

        @Override
        protected ProtocolVersion[] getSupportedVersions() {
            return versions(priority);
        }

        @Override
        protected int[] getSupportedCipherSuites() {
            return suites(priority);
        }

        @Override
        @SuppressWarnings("rawtypes") // so it is declared
        public TlsPSKExternal getExternalPSK(Vector identities) {
            for (Object each : identities) {
                Optional<PskFile.Entry> found = users.find(((PskIdentity) each).getIdentity());
                if (found.isPresent()) {
                    return external(getCrypto(), found.get());
                }
            }
            return null;
        }

        /** TLS 1.3 asks for these if no key was found: there are none. */
        @Override
        public TlsCredentials getCredentials() throws IOException {
            if (context.getServerVersion().isLaterVersionOf(ProtocolVersion.TLSv12)) {
                throw new TlsFatalAlert(AlertDescription.unknown_psk_identity);
            }
            return super.getCredentials();
        }

        @Override
        public TlsContext context() {
            return context;
        }

        @Override
        public Optional<PskFile.Entry> user() {
            return users.found;
        }
    }

    /** Looks users up, and remembers whom it found last. */
    private static final class Users implements TlsPSKIdentityManager {
        private final PskFile file;
        private Optional<PskFile.Entry> found = Optional.empty();

        Users(PskFile file) {
            this.file = file;
        }

        Optional<PskFile.Entry> find(byte[] identity) {
            try {
                found = file.find(identity);
            } catch (IOException e) {
                found = Optional.empty(); // without the file there is nobody
            }
            return found;
        }

        @Override
        public byte[] getHint() {
            return null;
        }

        @Override
        public byte[] getPSK(byte[] identity) {
            return find(identity).map(PskFile.Entry::key).orElse(null);
        }
    }

    /** What Bouncy Castle asks a client. */
    private static final class Client extends PSKTlsClient implements Peer {
        private final PskFile.Entry self;
        private final Priority priority;

        Client(TlsCrypto crypto, PskFile.Entry self, Priority priority) {
            super(crypto, new BasicTlsPSKIdentity(self.identity(), self.key()));
            this.self = self;
            this.priority = priority;
        }

        @Override
        @SuppressWarnings("rawtypes") // Bouncy Castle's signature
        protected Vector getSupportedGroups(Vector roles) {
            Vector<Integer> groups = new Vector<>();
            for (Object group : super.getSupportedGroups(roles)) {
                if (canDecode((Integer) group)) {
                    groups.add((Integer) group);
                }
            }
            return groups;
        }

        @Override
        protected ProtocolVersion[] getSupportedVersions() {
            return versions(priority);
        }

        @Override
        protected int[] getSupportedCipherSuites() {
            return suites(priority);
        }

        @Override
        public Vector<TlsPSKExternal> getExternalPSKs() {
            return new Vector<>(List.of(external(getCrypto(), self)));
        }

        @Override
        public TlsContext context() {
            return context;
        }

        @Override
        public Optional<PskFile.Entry> user() {
            return Optional.of(self);
        }
    }

    // ---- the handshake

    @Override
    public void beginHandshake() throws SSLException {
        if (!begun) {
            begun = true;
            try {
                start.begin();
            } catch (IOException e) {
                throw failure(e);
            }
        }
    }

    @Override
    public HandshakeStatus getHandshakeStatus() {
        if (protocol.getAvailableOutputBytes() > 0) {
            return HandshakeStatus.NEED_WRAP;
        }
        return begun && protocol.isHandshaking()
                ? HandshakeStatus.NEED_UNWRAP
                : HandshakeStatus.NOT_HANDSHAKING;
    }

    /** There are none: all of it is done within the two calls. */
    @Override
    public Runnable getDelegatedTask() {
        return null;
    }

    private static SSLException failure(IOException e) {
        return e instanceof SSLException ssl ? ssl : new SSLException(e.getMessage(), e);
    }

    // ---- records

    @Override
    public SSLEngineResult wrap(ByteBuffer[] sources, int offset, int count, ByteBuffer target)
            throws SSLException {
        beginHandshake();
        int consumed = 0;
        if (protocol.getAvailableOutputBytes() == 0) {
            if (protocol.isClosed()) {
                return result(Status.CLOSED, 0, 0);
            } else if (protocol.isHandshaking()) {
                return result(Status.OK, 0, 0);
            } else if (target.remaining() < MAX_RECORD_BYTES) {
                return result(Status.BUFFER_OVERFLOW, 0, 0);
            }
            consumed = encrypt(sources, offset, count);
        }
        int produced = Math.min(protocol.getAvailableOutputBytes(), target.remaining());
        protocol.readOutput(target, produced);
        return result(Status.OK, consumed, produced);
    }

    private int encrypt(ByteBuffer[] sources, int offset, int count) throws SSLException {
        int bytes = 0;
        for (ByteBuffer source : Arrays.asList(sources).subList(offset, offset + count)) {
            int n = Math.min(source.remaining(), MAX_PLAINTEXT_BYTES - bytes);
            source.get(piece, bytes, n);
            bytes += n;
        }
        if (bytes > 0) {
            try {
                protocol.writeApplicationData(piece, 0, bytes);
            } catch (IOException e) {
                throw failure(e);
            }
        }
        return bytes;
    }

    @Override
    public SSLEngineResult unwrap(ByteBuffer source, ByteBuffer[] targets, int offset, int count)
            throws SSLException {
        beginHandshake();
        if (protocol.isClosed()) {
            inboundDone = true;
            return result(Status.CLOSED, 0, 0);
        }
        int at = source.position();
        if (source.remaining() < HEADER_BYTES) {
            return result(Status.BUFFER_UNDERFLOW, 0, 0);
        }
        int record = HEADER_BYTES + Short.toUnsignedInt(source.getShort(at + HEADER_BYTES - 2));
        if (record > MAX_RECORD_BYTES) {
            throw new SSLException("a record that is too long");
        } else if (source.remaining() < record) {
            return result(Status.BUFFER_UNDERFLOW, 0, 0);
        }
        List<ByteBuffer> into = Arrays.asList(targets).subList(offset, offset + count);
        if (into.stream().mapToInt(ByteBuffer::remaining).sum() < MAX_PLAINTEXT_BYTES) {
            return result(Status.BUFFER_OVERFLOW, 0, 0);
        }
        source.get(piece, 0, record);
        try {
            protocol.offerInput(piece, 0, record);
        } catch (IOException e) {
            throw failure(e);
        }
        int produced = 0;
        for (ByteBuffer target : into) {
            int n = Math.min(protocol.getAvailableInputBytes(), target.remaining());
            protocol.readInput(target, n);
            produced += n;
        }
        return result(protocol.isClosed() ? Status.CLOSED : Status.OK, record, produced);
    }

    private SSLEngineResult result(Status status, int consumed, int produced) {
        return new SSLEngineResult(status, getHandshakeStatus(), consumed, produced);
    }

    @Override
    public void closeInbound() throws SSLException {
        inboundDone = true;
        try {
            protocol.closeInput();
        } catch (IOException e) {
            throw failure(e); // "truncation attack": the peer has not said that it closes
        }
    }

    @Override
    public boolean isInboundDone() {
        return inboundDone || protocol.isClosed();
    }

    @Override
    public void closeOutbound() {
        try {
            protocol.close();
        } catch (IOException e) {
            // what it has to say is in its output
        }
    }

    @Override
    public boolean isOutboundDone() {
        return protocol.isClosed() && protocol.getAvailableOutputBytes() == 0;
    }

    // ---- what is fixed

    @Override
    public boolean getUseClientMode() {
        return client;
    }

    @Override
    public void setUseClientMode(boolean mode) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String[] getSupportedCipherSuites() {
        return SUITES.keySet().toArray(String[]::new);
    }

    @Override
    public String[] getEnabledCipherSuites() {
        return getSupportedCipherSuites();
    }

    @Override
    public void setEnabledCipherSuites(String[] suites) {
        throw new UnsupportedOperationException();
    }

    @Override
    public String[] getSupportedProtocols() {
        return new String[] {"TLSv1.3", "TLSv1.2"};
    }

    @Override
    public String[] getEnabledProtocols() {
        return getSupportedProtocols();
    }

    @Override
    public void setEnabledProtocols(String[] protocols) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean getNeedClientAuth() {
        return true;
    }

    @Override
    public void setNeedClientAuth(boolean need) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean getWantClientAuth() {
        return false;
    }

    @Override
    public void setWantClientAuth(boolean want) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean getEnableSessionCreation() {
        return true;
    }

    @Override
    public void setEnableSessionCreation(boolean enable) {
        throw new UnsupportedOperationException();
    }

    @Override
    public SSLSession getSession() {
        return new Session();
    }

    /** What was agreed on: who the peer is, and sizes. Sessions are not resumed. */
    final class Session implements SSLSession {
        private Optional<SecurityParameters> agreed() {
            TlsContext context = peer.context();
            return context == null || protocol.isHandshaking()
                    ? Optional.empty()
                    : Optional.ofNullable(context.getSecurityParametersConnection());
        }

        /** Whose key it is; at the client's end, its own. Empty before the handshake is over. */
        Optional<String> user() {
            return agreed().flatMap(_ -> peer.user()).map(PskFile.Entry::name);
        }

        @Override
        public String getProtocol() {
            return agreed().map(SecurityParameters::getNegotiatedVersion)
                    .map(v -> v.equals(ProtocolVersion.TLSv13) ? "TLSv1.3" : "TLSv1.2")
                    .orElse("NONE");
        }

        @Override
        public String getCipherSuite() {
            int chosen = agreed().map(SecurityParameters::getCipherSuite).orElse(0);
            return SUITES.entrySet().stream()
                    .filter(suite -> suite.getValue() == chosen)
                    .map(Map.Entry::getKey)
                    .findFirst()
                    .orElse("SSL_NULL_WITH_NULL_NULL");
        }

        @Override
        public int getPacketBufferSize() {
            return MAX_RECORD_BYTES;
        }

        @Override
        public int getApplicationBufferSize() {
            return MAX_PLAINTEXT_BYTES;
        }

        @Override
        public Certificate[] getPeerCertificates() throws SSLPeerUnverifiedException {
            throw new SSLPeerUnverifiedException("there are no certificates");
        }

        @Override
        public Certificate[] getLocalCertificates() {
            return null;
        }

        @Override
        public Principal getPeerPrincipal() throws SSLPeerUnverifiedException {
            throw new SSLPeerUnverifiedException("there are no certificates");
        }

        @Override
        public Principal getLocalPrincipal() {
            return null;
        }

        @Override
        public byte[] getId() {
            return new byte[0];
        }

        @Override
        public SSLSessionContext getSessionContext() {
            return null;
        }

        @Override
        public long getCreationTime() {
            return 0;
        }

        @Override
        public long getLastAccessedTime() {
            return 0;
        }

        @Override
        public void invalidate() {}

        @Override
        public boolean isValid() {
            return false;
        }

        @Override
        public void putValue(String name, Object value) {
            throw new UnsupportedOperationException();
        }

        @Override
        public Object getValue(String name) {
            return null;
        }

        @Override
        public void removeValue(String name) {}

        @Override
        public String[] getValueNames() {
            return new String[0];
        }

        @Override
        public String getPeerHost() {
            return null;
        }

        @Override
        public int getPeerPort() {
            return -1;
        }
    }
}

package io.blockwharf.security;

import io.blockwharf.api.export.TlsCredentials;

import java.util.Optional;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;

/** Keys of one end. Loads nothing of Bouncy Castle before the first connection. */
final class PskCredentials implements TlsCredentials {
    private final Optional<PskFile> users;
    private final Optional<PskFile.Entry> self;
    private final Priority priority;

    private PskCredentials(
            Optional<PskFile> users, Optional<PskFile.Entry> self, Priority priority) {
        this.users = users;
        this.self = self;
        this.priority = priority;
    }

    /** A server that knows these users. */
    static PskCredentials server(PskFile users, Priority priority) {
        return new PskCredentials(Optional.of(users), Optional.empty(), priority);
    }

    /** A client that is this user. */
    static PskCredentials client(PskFile.Entry self, Priority priority) {
        return new PskCredentials(Optional.empty(), Optional.of(self), priority);
    }

    @Override
    public boolean forServer() {
        return users.isPresent();
    }

    @Override
    public SSLEngine newServerEngine() {
        return PskEngine.server(
                users.orElseThrow(() -> new IllegalStateException("for the client")), priority);
    }

    @Override
    public SSLEngine newClientEngine(String host) {
        return PskEngine.client(
                self.orElseThrow(() -> new IllegalStateException("for the server")), priority);
    }

    /** The name of the user whose key the peer has. */
    @Override
    public Optional<String> identity(SSLSession session) {
        return session instanceof PskEngine.Session psk ? psk.user() : Optional.empty();
    }
}

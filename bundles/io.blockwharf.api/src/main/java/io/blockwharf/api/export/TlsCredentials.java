package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ProviderType;

import java.util.Optional;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;

/**
 * TLS credentials: what a {@code tls-creds-*} object is to servers and clients. May be called from
 * any thread.
 */
@ProviderType
public interface TlsCredentials {
    /** Whether they are for a server ({@code endpoint=server}), otherwise for a client. */
    boolean forServer();

    /**
     * The server's side of one connection, before its handshake.
     *
     * @throws IllegalStateException if they are not {@link #forServer}
     */
    SSLEngine newServerEngine();

    /**
     * The client's side of one connection, before its handshake.
     *
     * @param host the name that the server's certificate must be for; credentials without
     *     certificates do not look at it
     * @throws IllegalStateException if they are {@link #forServer}
     */
    SSLEngine newClientEngine(String host);

    /**
     * Who the peer of a connection has proved to be, in the words that authorizers know: the
     * distinguished name of a certificate, the user name of a shared key. Empty if nobody in
     * particular.
     */
    Optional<String> identity(SSLSession session);
}

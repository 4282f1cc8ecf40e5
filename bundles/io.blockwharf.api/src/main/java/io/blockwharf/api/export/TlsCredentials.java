package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ProviderType;

import java.util.Optional;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLSession;

/**
 * TLS credentials: what a {@code tls-creds-*} object is to servers. May be called from any thread.
 */
@ProviderType
public interface TlsCredentials {
    /** Whether they are for a server ({@code endpoint=server}). */
    boolean forServer();

    /** The server's side of one connection, before its handshake. */
    SSLEngine newServerEngine();

    /** Who the peer of a connection has proved to be, in the words that authorizers know. */
    Optional<String> identity(SSLSession session);
}

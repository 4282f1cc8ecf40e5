package io.blockwharf.security;

/** QAPI {@code QCryptoTLSCredsEndpoint}. */
public enum Endpoint {
    /** Connects. */
    CLIENT,
    /** Is connected to. */
    SERVER;

    /** As it stands in file names and messages. */
    String word() {
        return this == SERVER ? "server" : "client";
    }
}

package io.blockwharf.nbd;

import io.blockwharf.api.export.TlsCredentials;

import java.util.Optional;
import java.util.function.Predicate;

/**
 * That a server insists on TLS. proto.md, "FORCEDTLS mode".
 *
 * @param credentials the server's
 * @param admits whether a client is let in, by who it has proved to be; asked after each handshake
 */
record TlsPolicy(TlsCredentials credentials, Predicate<Optional<String>> admits) {}

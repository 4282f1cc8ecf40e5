package io.blockwharf.nbd;

import java.util.List;
import java.util.Optional;

/**
 * An NBD server, as {@code query-nbd-servers} shows it.
 *
 * @param id of the {@code nbd-server} object; missing for the server of {@code nbd-server-start}
 * @param addresses where it listens, with the ports that were bound
 * @param tls whether it insists on TLS
 * @param maxConnections connections at a time, 0 for any number
 * @param handshakeMaxSeconds how long a negotiation may take, 0 for ever
 * @param clients connections at this moment, negotiating ones included
 * @param exports names of the exports that clients find, oldest first
 */
public record NbdServerInfo(
        Optional<String> id,
        List<String> addresses,
        boolean tls,
        long maxConnections,
        long handshakeMaxSeconds,
        long clients,
        List<String> exports) {}

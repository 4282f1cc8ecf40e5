package io.blockwharf.nbd.client;

import io.blockwharf.api.qmp.Feature;
import io.blockwharf.api.qmp.Unsigned;
import io.blockwharf.linux.SocketAddress;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsNbd}: options of {@code nbd}.
 *
 * @param server where it listens
 * @param export the export's name (default: the server's default export)
 * @param tlsCreds id of TLS credentials for a client
 * @param tlsHostname the name that the server's certificate must be for (default: the host of the
 *     address)
 * @param xDirtyBitmap metadata context that is shown as the block status instead of {@code
 *     base:allocation}: what is dirty appears as not allocated
 * @param reconnectDelay seconds that requests wait for a server that has gone, and are sent again
 *     when it is back (default 0: they fail)
 * @param openTimeout seconds for which opening the node tries again and again to reach the server
 *     (default 0: once)
 */
public record NbdOptions(
        SocketAddress server,
        Optional<String> export,
        Optional<String> tlsCreds,
        Optional<String> tlsHostname,
        @Feature("unstable") Optional<String> xDirtyBitmap,
        @Unsigned(32) Optional<Long> reconnectDelay,
        @Unsigned(32) Optional<Long> openTimeout) {}

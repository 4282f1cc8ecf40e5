package io.blockwharf.nbd;

import java.util.Optional;

/**
 * A client of the NBD server, as {@code query-nbd-clients} shows it. Numbers are those of a moment
 * ago, and roughly of the same one.
 *
 * @param id number of the connection, for {@code nbd-client-disconnect}; never used again
 * @param server id of the {@code nbd-server} object that it is connected to; missing for QEMU's
 *     server
 * @param peer the address that it comes from; empty for a local socket without a name
 * @param pid process of a local client, as the kernel knows it
 * @param uid user of a local client
 * @param gid group of a local client
 * @param since when it connected, seconds since 1970
 * @param tls whether the connection is encrypted
 * @param tlsIdentity who the client has proved to be, if anybody
 * @param export the export's name; missing while the client negotiates
 * @param reads READ requests that were accepted
 * @param writes WRITE requests that were accepted
 * @param others other requests that were accepted
 * @param errors requests that were answered with an error
 * @param bytesRead bytes asked for by {@code reads}
 * @param bytesWritten bytes brought by {@code writes}
 * @param inFlight requests that wait for the node
 * @param latency how long requests took
 */
public record NbdClientInfo(
        long id,
        Optional<String> server,
        String peer,
        Optional<Long> pid,
        Optional<Long> uid,
        Optional<Long> gid,
        long since,
        boolean tls,
        Optional<String> tlsIdentity,
        Optional<String> export,
        long reads,
        long writes,
        long others,
        long errors,
        long bytesRead,
        long bytesWritten,
        long inFlight,
        NbdLatency latency) {}

package io.blockwharf.nbd;

import java.util.Optional;

/**
 * What the clients of an export have done, those that have left included, as {@code
 * query-nbd-exports} shows it.
 *
 * @param name the export's name
 * @param server id of the {@code nbd-server} object; missing for QEMU's server
 * @param nodeName the node
 * @param size bytes that new clients see
 * @param writable whether clients may write
 * @param clients connections that use it at this moment
 * @param reads READ requests that were accepted
 * @param writes WRITE requests that were accepted
 * @param others other requests that were accepted
 * @param errors requests that were answered with an error
 * @param bytesRead bytes asked for by {@code reads}
 * @param bytesWritten bytes brought by {@code writes}
 * @param inFlight requests that wait for the node
 * @param latency how long requests took
 */
public record NbdExportInfo(
        String name,
        Optional<String> server,
        String nodeName,
        long size,
        boolean writable,
        long clients,
        long reads,
        long writes,
        long others,
        long errors,
        long bytesRead,
        long bytesWritten,
        long inFlight,
        NbdLatency latency) {}

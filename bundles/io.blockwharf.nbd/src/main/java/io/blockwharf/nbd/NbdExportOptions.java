package io.blockwharf.nbd;

import io.blockwharf.api.qmp.Alternate;

import java.util.List;
import java.util.Optional;

/**
 * QAPI {@code BlockExportOptionsNbd}.
 *
 * @param name of the export, at most 4096 bytes (default: the name of the node)
 * @param description shown to clients, at most 4096 bytes
 * @param bitmaps dirty bitmaps that clients may read
 * @param allocationDepth whether clients may ask which layer of a backing chain holds the data
 *     (default false)
 * @param server id of the {@code nbd-server} object whose clients find the export (default: the
 *     server of {@code nbd-server-start}). Not in QEMU.
 * @param listAuthz id of the authorizer that decides who sees the export in the list of exports
 *     (default: {@code readAuthz}). This and the next two are not in QEMU. The identity is that of
 *     TLS, or {@code uid=U,gid=G} of a process on a local socket.
 * @param readAuthz id of the authorizer that decides who may use the export (default: everybody)
 * @param writeAuthz id of the authorizer that decides who may change it; others are served
 *     read-only (default: everybody who may use it)
 */
public record NbdExportOptions(
        Optional<String> name,
        Optional<String> description,
        Optional<List<BitmapReference>> bitmaps,
        Optional<Boolean> allocationDepth,
        Optional<String> server,
        Optional<String> listAuthz,
        Optional<String> readAuthz,
        Optional<String> writeAuthz) {

    /** QAPI {@code BlockDirtyBitmapOrStr}. */
    @Alternate("BlockDirtyBitmapOrStr")
    public sealed interface BitmapReference {
        /** The bitmap's name. */
        String name();
    }

    /** A bitmap of the exported node or of those below it. */
    public record Local(String name) implements BitmapReference {}

    /** A bitmap of another node. */
    public record External(String node, String name) implements BitmapReference {}
}

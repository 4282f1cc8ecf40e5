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
 */
public record NbdExportOptions(
        Optional<String> name,
        Optional<String> description,
        Optional<List<BitmapReference>> bitmaps,
        Optional<Boolean> allocationDepth,
        Optional<String> server) {

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

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.block.BlockdevRefOrNull;
import io.blockwharf.api.qmp.Alternate;
import io.blockwharf.api.qmp.WireName;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsQcow2}, without encryption.
 *
 * @param file where the image lies
 * @param backing the backing file (default: what the image says)
 * @param lazyRefcounts accepted: refcounts are written when something is flushed, as they are
 *     without
 * @param passDiscardRequest whether discarded clusters become holes in the file (default: as {@code
 *     discard} of the node)
 * @param passDiscardSnapshot the same for clusters of deleted snapshots, which nobody deletes here
 * @param passDiscardOther the same for other clusters that become free (default false)
 * @param discardNoUnref discarded clusters keep their place (default false)
 * @param overlapCheck which metadata is kept from being written over (default cached)
 * @param cacheSize bytes of all metadata in memory
 * @param l2CacheSize bytes of L2 tables in memory (default 32 MiB, or what the disk needs)
 * @param l2CacheEntrySize bytes of an L2 table that are read at once (default 4096, or a cluster)
 * @param refcountCacheSize bytes of refcount blocks in memory (default 4 clusters, or 256 KiB)
 * @param cacheCleanInterval seconds after which what was not used is forgotten, 0 for never
 *     (default 600)
 * @param dataFile the external data file (default: what the image says)
 * @param snapshot shows a snapshot, by its id or its name; not in QEMU's daemon. Read-only
 */
public record Qcow2Options(
        BlockdevRef file,
        Optional<BlockdevRefOrNull> backing,
        Optional<Boolean> lazyRefcounts,
        Optional<Boolean> passDiscardRequest,
        Optional<Boolean> passDiscardSnapshot,
        Optional<Boolean> passDiscardOther,
        Optional<Boolean> discardNoUnref,
        Optional<OverlapChecks> overlapCheck,
        Optional<Long> cacheSize,
        @WireName("l2-cache-size") Optional<Long> l2CacheSize,
        @WireName("l2-cache-entry-size") Optional<Long> l2CacheEntrySize,
        Optional<Long> refcountCacheSize,
        Optional<Long> cacheCleanInterval,
        Optional<BlockdevRef> dataFile,
        Optional<String> snapshot) {

    /** What an image is opened with when nobody has said anything. */
    static Qcow2Options plain(BlockdevRef file, Optional<BlockdevRef> dataFile) {
        return new Qcow2Options(
                file,
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                Optional.empty(),
                dataFile,
                Optional.empty());
    }

    /** QAPI {@code Qcow2OverlapChecks}. */
    @Alternate("Qcow2OverlapChecks")
    public sealed interface OverlapChecks {
        /** QAPI {@code Qcow2OverlapCheckFlags}: single kinds over those of a template. */
        record Flags(
                Optional<Mode> template,
                Optional<Boolean> mainHeader,
                @WireName("active-l1") Optional<Boolean> activeL1,
                @WireName("active-l2") Optional<Boolean> activeL2,
                Optional<Boolean> refcountTable,
                Optional<Boolean> refcountBlock,
                Optional<Boolean> snapshotTable,
                @WireName("inactive-l1") Optional<Boolean> inactiveL1,
                @WireName("inactive-l2") Optional<Boolean> inactiveL2,
                Optional<Boolean> bitmapDirectory)
                implements OverlapChecks {}

        /** One of the templates. */
        record Template(Mode mode) implements OverlapChecks {}
    }

    /** QAPI {@code Qcow2OverlapCheckMode}. */
    public enum Mode {
        /** Nothing is checked. */
        NONE(0),
        /** What has a fixed place. */
        CONSTANT(Overlaps.CONSTANT),
        /** What is known without reading. */
        CACHED(Overlaps.CACHED),
        /** Everything. */
        ALL(Overlaps.ALL);

        final int kinds;

        Mode(int kinds) {
            this.kinds = kinds;
        }
    }

    /** The kinds of metadata that are kept from being written over. */
    int checkedKinds() {
        return switch (overlapCheck.orElse(new OverlapChecks.Template(Mode.CACHED))) {
            case OverlapChecks.Template(Mode mode) -> mode.kinds;
            case OverlapChecks.Flags flags -> {
                int kinds = flags.template().orElse(Mode.CACHED).kinds;
                kinds = with(kinds, Overlaps.HEADER, flags.mainHeader());
                kinds = with(kinds, Overlaps.L1, flags.activeL1());
                kinds = with(kinds, Overlaps.L2, flags.activeL2());
                kinds = with(kinds, Overlaps.REFCOUNT_TABLE, flags.refcountTable());
                kinds = with(kinds, Overlaps.REFCOUNT_BLOCK, flags.refcountBlock());
                kinds = with(kinds, Overlaps.SNAPSHOT_TABLE, flags.snapshotTable());
                kinds = with(kinds, Overlaps.INACTIVE_L1, flags.inactiveL1());
                kinds = with(kinds, Overlaps.INACTIVE_L2, flags.inactiveL2());
                yield with(kinds, Overlaps.BITMAP_DIRECTORY, flags.bitmapDirectory());
            }
        };
    }

    private static int with(int kinds, int kind, Optional<Boolean> checked) {
        return checked.map(on -> on ? kinds | kind : kinds & ~kind).orElse(kinds);
    }
}

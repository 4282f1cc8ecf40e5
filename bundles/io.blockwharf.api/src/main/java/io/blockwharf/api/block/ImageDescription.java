package io.blockwharf.api.block;

import io.blockwharf.api.qmp.Unsigned;

import java.util.List;
import java.util.Optional;

/**
 * What a format keeps in its image besides the disk, as QMP tells it.
 *
 * @param snapshots internal ones, oldest first
 * @param backing the name of the backing file as it is in the image, whatever is open in its place
 * @param specific what only images of this format have
 */
public record ImageDescription(
        List<SnapshotInfo> snapshots, Optional<ImageName> backing, Optional<Specific> specific) {
    /**
     * QAPI {@code SnapshotInfo}.
     *
     * @param id unique in the image
     * @param name for people
     * @param vmStateSize bytes of the guest's state
     * @param dateSec when it was taken, since the epoch
     * @param dateNsec the same below the second
     * @param vmClockSec how long the guest had been running
     * @param vmClockNsec the same below the second
     * @param icount instructions that the guest had executed, if they were counted
     */
    public record SnapshotInfo(
            String id,
            String name,
            long vmStateSize,
            long dateSec,
            long dateNsec,
            long vmClockSec,
            long vmClockNsec,
            Optional<Long> icount) {}

    /** QAPI {@code ImageInfoSpecific}. */
    public sealed interface Specific {}

    /**
     * QAPI {@code ImageInfoSpecificQCow2}. Members that are empty belong to later versions of the
     * format.
     *
     * @param compat "0.10" or "1.1"
     * @param dataFile the name of the external data file
     * @param dataFileRaw whether that can be used on its own
     * @param extendedL2 whether clusters have subclusters
     * @param lazyRefcounts whether refcounts may be behind
     * @param corrupt whether the image is marked so
     * @param refcountBits width of a refcount
     * @param bitmaps those in the image; left out if there is none
     * @param compressionType of compressed clusters
     */
    public record Qcow2(
            String compat,
            Optional<String> dataFile,
            Optional<Boolean> dataFileRaw,
            Optional<Boolean> extendedL2,
            Optional<Boolean> lazyRefcounts,
            Optional<Boolean> corrupt,
            long refcountBits,
            Optional<List<Qcow2BitmapInfo>> bitmaps,
            Qcow2CompressionType compressionType)
            implements Specific {}

    /** QAPI {@code Qcow2CompressionType}. */
    public enum Qcow2CompressionType {
        /** Deflate. */
        ZLIB,
        /** Zstandard. */
        ZSTD
    }

    /**
     * QAPI {@code Qcow2BitmapInfo}.
     *
     * @param name of the bitmap
     * @param granularity bytes that one bit stands for
     * @param flags as they are in the image
     */
    public record Qcow2BitmapInfo(
            String name, @Unsigned(32) long granularity, List<Qcow2BitmapInfoFlags> flags) {}

    /** QAPI {@code Qcow2BitmapInfoFlags}. */
    public enum Qcow2BitmapInfoFlags {
        /** Not stored since it was changed. */
        IN_USE,
        /** Records changes whenever the image is open. */
        AUTO
    }
}

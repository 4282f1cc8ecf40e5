package io.blockwharf.block;

import io.blockwharf.api.qmp.SizeValue;

import java.util.Optional;

/**
 * QAPI {@code BlockdevCreateOptionsFile}.
 *
 * @param filename the path of the new file; one that is there is overwritten
 * @param size bytes
 * @param preallocation default off
 * @param nocow accepted: a hint for btrfs
 * @param extentSizeHint accepted: a hint for XFS
 */
public record FileCreateOptions(
        String filename,
        @SizeValue long size,
        Optional<PreallocMode> preallocation,
        Optional<Boolean> nocow,
        @SizeValue Optional<Long> extentSizeHint) {

    /** QAPI {@code PreallocMode}. */
    public enum PreallocMode {
        /** Nothing is allocated. */
        OFF,
        /** Metadata of image formats. */
        METADATA,
        /** The file system reserves all of it. */
        FALLOC,
        /** Zeroes are written. */
        FULL
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.qmp.SizeValue;

import java.util.Optional;

/**
 * QAPI {@code BlockdevCreateOptionsQcow2}, without encryption.
 *
 * @param file where the image is made
 * @param dataFile where its data is to lie (default: in the file)
 * @param dataFileRaw the data file is to be readable without the image (default false)
 * @param extendedL2 whether clusters have subclusters (default false)
 * @param size of the disk, bytes
 * @param version default v3
 * @param backingFile the name of its backing file
 * @param backingFmt the driver of that
 * @param clusterSize default 65536
 * @param preallocation default off
 * @param lazyRefcounts default false
 * @param refcountBits default 16
 * @param compressionType default zlib
 */
public record Qcow2CreateOptions(
        BlockdevRef file,
        Optional<BlockdevRef> dataFile,
        Optional<Boolean> dataFileRaw,
        @io.blockwharf.api.qmp.WireName("extended-l2") Optional<Boolean> extendedL2,
        @SizeValue long size,
        Optional<Version> version,
        Optional<String> backingFile,
        Optional<String> backingFmt,
        @SizeValue Optional<Long> clusterSize,
        Optional<PreallocMode> preallocation,
        Optional<Boolean> lazyRefcounts,
        Optional<Long> refcountBits,
        Optional<CompressionType> compressionType) {

    /** QAPI {@code BlockdevQcow2Version}. */
    public enum Version {
        /** Compatibility level 0.10. */
        V2,
        /** Compatibility level 1.1. */
        V3
    }

    /** QAPI {@code PreallocMode}. */
    public enum PreallocMode {
        /** Nothing is allocated. */
        OFF,
        /** All clusters have their place. */
        METADATA,
        /** The file system reserves it. */
        FALLOC,
        /** Zeroes are written there. */
        FULL
    }

    /** QAPI {@code Qcow2CompressionType}. */
    public enum CompressionType {
        /** RFC 1951. */
        ZLIB,
        /** RFC 8878. */
        ZSTD
    }
}

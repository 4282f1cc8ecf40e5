package io.blockwharf.qcow2;

import io.blockwharf.api.qmp.QmpException;

import java.util.Optional;

/**
 * How much metadata is kept in memory: QEMU's options and rules (docs/qcow2-cache.txt), with parts
 * of L2 tables instead of whole ones as a default, because they are read faster.
 *
 * @param sliceBytes of an L2 table that are read at once
 * @param slices how many of them are in memory
 * @param refcountBytes of refcount blocks
 */
record CacheSizes(int sliceBytes, long slices, long refcountBytes) {
    private static final long L2_MOST = 32 << 20;
    private static final int SLICE = 4096;
    private static final long REFCOUNTS = 256 << 10;
    private static final int FEWEST_BLOCKS = 4;
    private static final int FEWEST_SLICES = 2;

    /**
     * The sizes for an image.
     *
     * @throws QmpException if the options contradict each other
     */
    static CacheSizes of(Qcow2Options options, Header header) {
        check("cache-size", options.cacheSize());
        check("l2-cache-size", options.l2CacheSize());
        check("l2-cache-entry-size", options.l2CacheEntrySize());
        check("refcount-cache-size", options.refcountCacheSize());
        long cluster = header.clusterSize;
        long slice = options.l2CacheEntrySize().orElse(Math.min(SLICE, cluster));
        if (slice < 512 || slice > cluster || Long.bitCount(slice) != 1) {
            throw QmpException.generic(
                    "L2 cache entry size must be a power of two between %d and the cluster size"
                            + " (%d)",
                    512, cluster);
        }
        long needed = (Math.max(1, header.neededL1Entries(header.size)) << header.clusterBits);
        long fewest = FEWEST_BLOCKS * cluster;
        long l2 = options.l2CacheSize().orElse(Math.min(needed, L2_MOST));
        long refcounts = options.refcountCacheSize().orElse(Math.max(fewest, REFCOUNTS));
        if (options.cacheSize().isPresent()) {
            long all = options.cacheSize().get();
            if (options.l2CacheSize().isPresent() && options.refcountCacheSize().isPresent()) {
                throw QmpException.generic(
                        "cache-size, l2-cache-size and refcount-cache-size may not be set at the"
                                + " same time");
            } else if (options.l2CacheSize().orElse(0L) > all) {
                throw QmpException.generic("l2-cache-size may not exceed cache-size");
            } else if (options.refcountCacheSize().orElse(0L) > all) {
                throw QmpException.generic("refcount-cache-size may not exceed cache-size");
            } else if (options.l2CacheSize().isPresent()) {
                refcounts = all - l2;
            } else if (options.refcountCacheSize().isPresent()) {
                l2 = all - refcounts;
            } else {
                refcounts = Math.min(all, fewest);
                l2 = Math.min(needed, all - refcounts);
            }
        }
        if (l2 < 0 || l2 / slice > Integer.MAX_VALUE) {
            throw QmpException.generic("L2 cache size too big");
        }
        if (refcounts < 0 || refcounts / cluster > Integer.MAX_VALUE) {
            throw QmpException.generic("Refcount cache size too big");
        }
        return new CacheSizes(
                (int) slice, Math.max(FEWEST_SLICES, l2 / slice), Math.max(fewest, refcounts));
    }

    private static void check(String name, Optional<Long> size) {
        if (size.orElse(0L) < 0) {
            throw QmpException.generic(
                    "Parameter '%s' expects a non-negative number below 2^64", name);
        }
    }
}

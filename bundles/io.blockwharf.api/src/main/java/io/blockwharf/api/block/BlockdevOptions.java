package io.blockwharf.api.block;

import io.blockwharf.api.qmp.Branch;
import io.blockwharf.api.qmp.Discriminator;

import java.util.Optional;

/**
 * QAPI {@code BlockdevOptions}.
 *
 * @param driver which {@link BlockDriver}
 * @param nodeName the name of the new node; made up if it is missing
 * @param discard whether discards reach the storage (default ignore)
 * @param cache how the host caches
 * @param active whether nobody else writes the image, so that it can be used for more than to be
 *     read (default true)
 * @param readOnly default false
 * @param autoReadOnly default false
 * @param forceShare default false
 * @param detectZeroes default off
 * @param options the driver's own options
 */
public record BlockdevOptions(
        @Discriminator String driver,
        Optional<String> nodeName,
        Optional<Discard> discard,
        Optional<Cache> cache,
        Optional<Boolean> active,
        Optional<Boolean> readOnly,
        Optional<Boolean> autoReadOnly,
        Optional<Boolean> forceShare,
        Optional<DetectZeroes> detectZeroes,
        @Branch Record options) {

    /** QAPI {@code BlockdevDiscardOptions}. */
    public enum Discard {
        /** Drop discards. */
        IGNORE,
        /** Pass them on. */
        UNMAP
    }

    /** QAPI {@code BlockdevDetectZeroesOptions}. */
    public enum DetectZeroes {
        /** Write what comes. */
        OFF,
        /** Turn writes of zeroes into zero requests. */
        ON,
        /** The same, and let them give storage back. */
        UNMAP
    }

    /**
     * QAPI {@code BlockdevCacheOptions}.
     *
     * @param direct bypass the host's page cache
     * @param noFlush ignore flushes
     */
    public record Cache(Optional<Boolean> direct, Optional<Boolean> noFlush) {}
}

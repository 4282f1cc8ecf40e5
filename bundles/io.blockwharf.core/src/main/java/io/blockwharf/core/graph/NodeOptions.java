package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockdevOptions;
import io.blockwharf.api.block.BlockdevOptions.Cache;
import io.blockwharf.api.block.BlockdevOptions.DetectZeroes;
import io.blockwharf.api.block.BlockdevOptions.Discard;
import io.blockwharf.api.block.ChildRole;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.qmp.QmpException;

import java.util.Optional;

/** The generic options of a node, complete. */
record NodeOptions(
        boolean readOnly,
        boolean autoReadOnly,
        boolean direct,
        boolean noFlush,
        boolean discard,
        boolean forceShare,
        boolean active,
        DetectZeroes detectZeroes) {

    /** What a node has that is given no options and no parent. */
    static final NodeOptions DEFAULTS =
            new NodeOptions(false, false, false, false, false, false, true, DetectZeroes.OFF);

    /** What stands in the options, and the defaults for what does not. */
    static NodeOptions of(BlockdevOptions options, NodeOptions defaults) {
        Optional<Cache> cache = options.cache();
        return new NodeOptions(
                options.readOnly().orElse(defaults.readOnly),
                options.autoReadOnly().orElse(defaults.autoReadOnly),
                cache.flatMap(Cache::direct).orElse(defaults.direct),
                cache.flatMap(Cache::noFlush).orElse(defaults.noFlush),
                options.discard().map(d -> d == Discard.UNMAP).orElse(defaults.discard),
                options.forceShare().orElse(defaults.forceShare),
                options.active().orElse(defaults.active),
                options.detectZeroes().orElse(defaults.detectZeroes));
    }

    /**
     * The defaults of a child that is made together with its parent. Discards are let through,
     * because the parent decides about them; a backing file is not written to. It is active unless
     * it says otherwise.
     */
    NodeOptions inherited(ChildRole role) {
        boolean backing = role == ChildRole.BACKING;
        return new NodeOptions(
                backing || readOnly,
                !backing && autoReadOnly,
                direct,
                noFlush,
                true,
                forceShare,
                true,
                DetectZeroes.OFF);
    }

    /** What an overlay of this node has that is not given any of it. */
    NodeOptions ofOverlay() {
        return new NodeOptions(
                readOnly, autoReadOnly, direct, noFlush, discard, false, true, DetectZeroes.OFF);
    }

    /** The same for somebody who only looks, and disturbs nobody. */
    NodeOptions readingOnly() {
        return new NodeOptions(true, false, direct, noFlush, false, true, true, DetectZeroes.OFF);
    }

    /** The same, active or not. */
    NodeOptions active(boolean now) {
        return new NodeOptions(
                readOnly, autoReadOnly, direct, noFlush, discard, forceShare, now, detectZeroes);
    }

    /** Refuses what does not go together. */
    void check() {
        if (forceShare && !readOnly) {
            throw QmpException.generic("force-share=on can only be used with read-only images");
        }
        if (detectZeroes == DetectZeroes.UNMAP && !discard) {
            throw QmpException.generic(
                    "setting detect-zeroes to unmap is not allowed without setting discard"
                            + " operation to unmap");
        }
    }

    OpenFlags flags() {
        return new OpenFlags(readOnly, autoReadOnly, direct, discard, forceShare, !active);
    }
}

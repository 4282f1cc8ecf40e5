package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ProviderType;

import java.util.Optional;

/**
 * The dirty bitmaps of all nodes, for exports that show them to clients. May be called from any
 * thread except one that serves an export.
 */
@ProviderType
public interface DirtyBitmaps {
    /** A bitmap that was found. */
    @ProviderType
    interface Found {
        /** Its name. */
        String name();

        /** Whether it records writes now. */
        boolean enabled();

        /** Whether the node that it belongs to was opened read-only. */
        boolean nodeReadOnly();

        /**
         * Makes the bitmap busy: until this is closed no command removes or changes it. What is
         * written to the node is still recorded.
         *
         * @throws io.blockwharf.api.qmp.QmpException if it is busy
         */
        DirtyBitmap use();
    }

    /**
     * Looks a bitmap up.
     *
     * @param node the node's name
     * @param below whether to go on with the nodes below (the one that it filters, or its backing
     *     node) where the node has none of that name
     * @throws io.blockwharf.api.qmp.QmpException if there is no such node
     */
    Optional<Found> find(String node, String name, boolean below);
}

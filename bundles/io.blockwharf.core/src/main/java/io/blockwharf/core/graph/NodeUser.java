package io.blockwharf.core.graph;

/** Somebody outside the graph who uses a node, an export for example. */
public interface NodeUser {
    /**
     * The node is going away because its driver is: returns when this user has given its handle
     * back, whoever is in the middle of something. Called without or with the control lock held.
     */
    void evict();

    /** Whether the node may become inactive although this user takes permission to write it. */
    default boolean allowsInactive() {
        return false;
    }
}

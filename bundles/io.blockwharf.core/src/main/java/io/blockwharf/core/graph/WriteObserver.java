package io.blockwharf.core.graph;

/** Sees every change of a node's content: a dirty bitmap, a write threshold, a counter. */
interface WriteObserver {
    /**
     * Bytes have changed, or may have: the request is finished, well or badly, but not yet reported
     * to whoever made it. On the thread that finished it; must not block or allocate.
     */
    void changed(long offset, long length);

    /** The node has another size. On the thread that changed it. */
    default void resized() {}
}

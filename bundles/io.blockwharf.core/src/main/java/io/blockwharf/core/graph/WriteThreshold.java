package io.blockwharf.core.graph;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.LongConsumer;

/** Waits for a write that goes beyond a given end, and tells of the first one. */
final class WriteThreshold implements WriteObserver {
    private final Node node;
    private final long bytes;
    private final LongConsumer exceeded;
    private final AtomicBoolean done = new AtomicBoolean();

    /**
     * A threshold.
     *
     * @param bytes the end, more than 0
     * @param exceeded told by how many bytes, on the thread that finished the write
     */
    WriteThreshold(Node node, long bytes, LongConsumer exceeded) {
        this.node = node;
        this.bytes = bytes;
        this.exceeded = exceeded;
    }

    long bytes() {
        return bytes;
    }

    @Override
    public void changed(long offset, long length) {
        long beyond = offset + length - bytes;
        if (beyond > 0 && done.compareAndSet(false, true)) {
            node.thresholdEnded(this);
            exceeded.accept(beyond);
        }
    }
}

package io.blockwharf.virtio.blk;

import java.util.concurrent.atomic.AtomicInteger;

/**
 * How many requests may be kept in memory, by all queues of all devices. A driver that uses many
 * descriptors makes each of them take ten kilobytes of the heap for as long as its queue is in
 * service, and drivers decide how many there are: 32 queues of 1024 would fill a heap of 256 MiB,
 * and end the process.
 *
 * <p>A device may have as many as are left for the others: the first one half of them, the next one
 * a quarter. Every queue has a few besides, so that it always goes on. Any thread may use it; two
 * at once may exceed it by one each.
 */
final class RequestBudget {
    /** The bytes of the heap that a request takes at most, with what is free in between. */
    private static final int REQUEST_BYTES = 13_000;

    /** Half of the heap. */
    static final RequestBudget OF_THE_PROCESS =
            new RequestBudget(
                    (int)
                            Math.min(
                                    Runtime.getRuntime().maxMemory() / 2 / REQUEST_BYTES,
                                    Integer.MAX_VALUE));

    private final AtomicInteger left;

    RequestBudget(int requests) {
        left = new AtomicInteger(requests);
    }

    /** A device's part, empty at first. */
    Share share() {
        return new Share();
    }

    /** A device's part. */
    final class Share {
        private final AtomicInteger taken = new AtomicInteger();

        private Share() {}

        /** Whether {@link #take} is allowed. */
        boolean hasMore() {
            return taken.get() < left.get();
        }

        /** One more request. */
        void take() {
            taken.getAndIncrement();
            left.getAndDecrement();
        }

        /** Fewer requests. */
        void giveBack(int count) {
            taken.getAndAdd(-count);
            left.getAndAdd(count);
        }
    }
}

package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Asynchronous requests to a node, in the shape of an NVMe queue pair.
 *
 * <p>A request is started with a cookie of the caller's choice, handed over by {@link #submit}, and
 * reported once by {@link #reap}, in any order. Buffers (and the {@link IoVector}s that name them)
 * belong to the queue from the start of a request until it is reported. At most the depth that was
 * given to {@link BlockNode#openQueue} may be in flight; one more is a mistake of the caller and
 * throws {@link IllegalStateException}.
 *
 * <p>All methods are called by the one thread that serves the queue. None of them allocates.
 */
@ConsumerType
public interface BlockQueue extends AutoCloseable {
    /** Receives completions. */
    @FunctionalInterface
    interface Completion {
        /**
         * A request is finished.
         *
         * @param result {@link Errno#OK}, or why it failed
         */
        void completed(long cookie, Errno result);
    }

    /**
     * Whether several reads of cached data cost less when they are submitted together than with a
     * {@link BlockIo#tryRead} each. Never changes.
     */
    default boolean batchesReads() {
        return false;
    }

    /** Starts a {@link BlockIo#read}. */
    void read(long cookie, long offset, IoVector into);

    /**
     * Starts a {@link BlockIo#tryRead}: it is reported by the {@link #reap} after the next {@link
     * #submit}, with {@link Errno#EAGAIN} where it would have to wait for a device; what the buffer
     * holds then is not defined. Only for queues that {@link #batchesReads batch reads}.
     */
    default void tryRead(long cookie, long offset, IoVector into) {
        throw new UnsupportedOperationException();
    }

    /** Starts a {@link BlockIo#write}. */
    void write(long cookie, long offset, IoVector from, int flags);

    /** Starts a {@link BlockIo#flush} that covers the writes completed before it was started. */
    void flush(long cookie);

    /** Starts a {@link BlockIo#discard}. */
    void discard(long cookie, long offset, long length);

    /** Starts a {@link BlockIo#writeZeroes}. */
    void writeZeroes(long cookie, long offset, long length, int flags);

    /** Hands everything that was started to the device, with one system call where it can. */
    void submit();

    /**
     * Reports what is finished, without waiting.
     *
     * @return how many requests were reported
     */
    int reap(Completion completion);

    /** Requests that were started and not yet reported. */
    int inFlight();

    /**
     * A file descriptor that polls readable when {@link #reap} has something to report. It belongs
     * to the queue: wait on it, do not read from it.
     */
    int fd();

    /** Waits until everything in flight is finished, drops the results, frees the queue. */
    @Override
    void close();
}

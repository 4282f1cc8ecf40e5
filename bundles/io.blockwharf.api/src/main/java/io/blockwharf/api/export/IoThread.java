package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ProviderType;

/**
 * A named event loop that exports can share: QEMU's {@code iothread} object. Everything given to it
 * runs on its one thread, in turn, and must not block.
 */
@ProviderType
public interface IoThread {
    /** Ends the watch on a file descriptor. */
    interface Watch extends AutoCloseable {
        /**
         * No longer waits for readability, or does again: a client that sends faster than it is
         * served has to wait. On by default. On the loop's thread.
         */
        void readable(boolean interested);

        /** Also waits for writability, or no longer does. On the loop's thread. */
        void writable(boolean interested);

        /** Idempotent; on the loop's thread. The handler is not called any more. */
        @Override
        void close();
    }

    /** Where work may come from that no descriptor tells of. Called on the loop's thread. */
    @FunctionalInterface
    interface PollSource {
        /** Does what there is to do. Returns whether there was anything. */
        boolean poll();

        /**
         * The loop is about to sleep: from now on a descriptor has to tell of new work.
         *
         * @return whether the loop may sleep: false if there is work already
         */
        default boolean sleep() {
            return true;
        }
    }

    /** The object's id. */
    String id();

    /**
     * Calls a handler whenever a file descriptor is readable (or writable, if asked) or hung up.
     * Level-triggered. May be called from any thread.
     */
    Watch watch(int fd, Runnable handler);

    /**
     * Calls a handler once whenever a file descriptor becomes readable anew (each write to an
     * eventfd counts), so that the handler need not read it. Edge-triggered. May be called from any
     * thread.
     */
    Watch watchEdge(int fd, Runnable handler);

    /** Runs a task soon. May be called from any thread; on the loop's own it is queued, too. */
    void execute(Runnable task);

    /**
     * Asks a source of work in every round of the loop, again and again while it polls before it
     * sleeps, and tells it before it does sleep.
     */
    Watch poll(PollSource source);
}

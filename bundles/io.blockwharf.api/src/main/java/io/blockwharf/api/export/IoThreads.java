package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ProviderType;

/** Makes event loops for exports that were not given an {@code iothread}. */
@ProviderType
public interface IoThreads {
    /** An event loop that belongs to whoever opened it. */
    @ProviderType
    interface Owned extends IoThread, AutoCloseable {
        /** Runs what was given to {@link #execute} before, then ends the thread. Idempotent. */
        @Override
        void close();
    }

    /**
     * Starts an event loop with its own thread and the default polling of {@code iothread} objects.
     *
     * @param name the thread's name
     */
    Owned open(String name);
}

package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.Descriptor;

import java.io.IOException;
import java.util.Optional;

/**
 * Whoever is at the other end of a chardev: a stream of bytes in each direction. One thread may
 * read while another writes.
 */
public interface Peer extends AutoCloseable {
    /**
     * Waits for bytes.
     *
     * @return how many were put into {@code bytes}, or -1 when the peer is gone or after {@link
     *     #shutdown}
     */
    int read(byte[] bytes) throws IOException;

    /**
     * A descriptor that came with the bytes of the last {@link #read}; the first if there were
     * several. By the thread that reads.
     */
    default Optional<Descriptor> takeDescriptor() {
        return Optional.empty();
    }

    /** Writes all bytes, waiting as long as the peer takes. */
    void write(byte[] bytes) throws IOException;

    /** Ends reading and writing, also calls that are waiting now. From any thread; idempotent. */
    void shutdown();

    /** Lets the stream go. Not while somebody reads or writes: {@link #shutdown} first. */
    @Override
    void close();
}

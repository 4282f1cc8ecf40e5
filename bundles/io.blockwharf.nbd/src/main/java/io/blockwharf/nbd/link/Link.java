package io.blockwharf.nbd.link;

import java.io.IOException;
import java.lang.foreign.MemorySegment;

/**
 * The bytes of a connection, in both directions: plain or through TLS. Sending is in two steps:
 * what is {@link #add added} is not copied and leaves with {@link #flush}. Owned by the thread that
 * serves the connection.
 *
 * <p>On a link that waits, {@link #receive} and {@link #flush} block; on one that does not, they
 * tell.
 */
public interface Link extends AutoCloseable {
    /** Result of {@link #receive}: nothing is there now. */
    long WOULD_BLOCK = -1;

    /**
     * Receives at most {@code length} bytes.
     *
     * @return bytes, 0 at the end, {@link #WOULD_BLOCK}
     */
    long receive(MemorySegment into, long offset, long length) throws IOException;

    /** Whether {@link #receive} has something without the socket being readable. */
    boolean hasInput();

    /** Whether nothing can be added before {@link #flush}. */
    boolean full();

    /** Puts bytes behind what is to be sent; they stay unchanged until all is sent. */
    void add(MemorySegment from, long offset, long length);

    /** Whether {@link #addFile} can be used. */
    boolean sendsFiles();

    /**
     * Puts bytes of a file behind what is to be sent; nothing can be added before they are gone.
     *
     * @param pad what to do if the file turns out to be too short or unreadable: send zeroes for
     *     the missing bytes, or let {@link #flush} fail
     */
    void addFile(int fd, long position, long length, boolean pad);

    /** Whether bytes of the file that was added last were missing. */
    boolean fileFailed();

    /**
     * Sends.
     *
     * @param more whether more will be added at once
     * @return false if the socket is full and there is a rest; never on a link that waits
     */
    boolean flush(boolean more) throws IOException;

    /** Whether calls wait from now on. They do at first. */
    void blocking(boolean on) throws IOException;

    /** What to wait for. */
    int fd();

    @Override
    void close();
}

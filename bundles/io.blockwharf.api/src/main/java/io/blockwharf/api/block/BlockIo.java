package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Optional;

/**
 * Reads and writes the bytes of a block device.
 *
 * <p>All offsets and lengths are bytes. Callers keep every request inside {@code [0, length())} and
 * aligned to {@link BlockLimits#requestAlignment()}; core does so for the users of a {@link
 * BlockNode}, so an implementation may assume it. One exception: if the length is no multiple of
 * the alignment, a read may reach to the end of the last block; what lies behind the end reads as
 * zeroes or anything. Buffers belong to the caller and are not touched after a call has returned.
 *
 * <p>Every method may be called from any number of threads at once. Overlapping concurrent requests
 * have no order among them, as on any disk. Unless it is said otherwise a call may block.
 */
@ConsumerType
public interface BlockIo {
    /** The size of the device in bytes. It changes only by a resize. Does not block. */
    long length();

    /** Alignments and upper bounds of requests. Constant while the device is open. */
    BlockLimits limits();

    /**
     * Reads {@code into.byteCount()} bytes at {@code offset}.
     *
     * @throws BlockIoException when not all bytes could be read; the buffer's content is undefined
     */
    void read(long offset, IoVector into) throws BlockIoException;

    /**
     * Writes {@code from.byteCount()} bytes at {@code offset}.
     *
     * @param flags {@link RequestFlags#FUA} or 0
     * @throws BlockIoException when not all bytes could be written; any part may have been
     */
    void write(long offset, IoVector from, int flags) throws BlockIoException;

    /** Makes everything that was written before this call survive a crash of the host. */
    void flush() throws BlockIoException;

    /**
     * Tells that a range is no longer needed. What it reads as afterwards is undefined. A device
     * that cannot discard succeeds without effect.
     */
    void discard(long offset, long length) throws BlockIoException;

    /**
     * Makes a range read as zeroes.
     *
     * @param flags any of {@link RequestFlags#FUA}, {@link RequestFlags#MAY_UNMAP}, {@link
     *     RequestFlags#NO_FALLBACK}
     * @throws BlockIoException with {@link Errno#ENOTSUP} when {@code NO_FALLBACK} is given and the
     *     device has no faster way than writing zeroes
     */
    void writeZeroes(long offset, long length, int flags) throws BlockIoException;

    /**
     * Describes the run of equally allocated bytes that contains {@code offset}.
     *
     * @param length how far the caller is interested; the answer may be longer or shorter, and may
     *     begin before {@code offset}, but always contains it. An implementation may return the
     *     same object again and again, so that the call need not allocate.
     */
    Extent extentAt(long offset, long length) throws BlockIoException;

    /**
     * Describes the runs from {@code offset} on, as {@link #extentAt} does one of them. Ends when
     * they are {@code length} bytes or more together, when no more are wanted, and after any run
     * where it suits the implementation: the caller asks again for the rest.
     */
    default void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        extentAt(offset, length).tell(offset, to);
    }

    /**
     * Reads like {@link #read} if that can be done without waiting for a device.
     *
     * @return false when nothing was read because it would block
     * @throws BlockIoException as {@link #read}
     */
    default boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return false;
    }

    /**
     * Writes like {@link #write} if that can be done without waiting for a device (writes into a
     * page cache count, although the kernel may throttle them).
     *
     * @return false when nothing was written because it would block
     * @throws BlockIoException as {@link #write}
     */
    default boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return false;
    }

    /**
     * The run that contains {@code offset} of bytes that lie verbatim in a file of the host, for
     * sendfile and splice. It may begin before {@code offset} and be longer or shorter than {@code
     * length}; an implementation may return the same object again and again, so that the call need
     * not allocate. The file descriptor stays valid while the device is open. Nothing is promised
     * about later writes: ask again for each request.
     */
    default Optional<HostExtent> hostExtent(long offset, long length) {
        return Optional.empty();
    }
}

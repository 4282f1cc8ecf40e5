package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ProviderType;

import java.util.Optional;
import java.util.Set;

/**
 * One user's handle on a node of the block graph: an export's, or a parent node's on its child.
 *
 * <p>The handle carries the permissions that its user takes on the node and those it grants to the
 * node's other users. Core checks each request against the node's size and alignment (a request
 * past the end fails with {@link Errno#EINVAL}, a misaligned one is bounced), refuses writes
 * through a handle without {@link Permission#WRITE} with {@link Errno#EPERM}, applies the node's
 * generic options (detect-zeroes, discard, cache.no-flush), and marks dirty bitmaps.
 */
@ProviderType
public interface BlockNode extends BlockIo, AutoCloseable {
    /** The node-name. */
    String name();

    /** The driver of the node, for example {@code file} or {@code qcow2}. */
    String driver();

    /** The file name as QMP shows it, see {@link BlockImage#filename}. */
    default String filename() {
        return "";
    }

    /** The node in the options of another one, as {@link JsonFilename} has them: a JSON object. */
    default String jsonOptions() {
        String filename = filename();
        return JsonFilename.isPlain(filename)
                ? "{\"driver\": %s, \"filename\": %s}"
                        .formatted(JsonFilename.text(driver()), JsonFilename.text(filename))
                : filename.substring(JsonFilename.PREFIX.length());
    }

    /** Whether the node was opened read-only. */
    boolean readOnly();

    /**
     * Replaces the permissions of this handle. Either all takes effect or nothing.
     *
     * @throws io.blockwharf.api.qmp.QmpException when another user of the node, or another process
     *     that has the image locked, is in conflict
     */
    void permissions(Set<Permission> taken, Set<Permission> shared);

    /**
     * With the write cache off every write is on stable storage before it completes (QMP's {@code
     * writethrough}, VIRTIO's {@code writeback} = 0). On by default.
     */
    void writeCache(boolean enabled);

    /** Whether the write cache is on. */
    boolean writeCache();

    /**
     * Changes the size of the node. Needs {@link Permission#RESIZE}. New bytes read as zeroes.
     *
     * @param length the new size in bytes
     */
    void resize(long length) throws BlockIoException;

    /**
     * Makes the node at least that long; one that is longer stays as it is, also if somebody else
     * changes its size at the same time. Needs {@link Permission#RESIZE}.
     *
     * @param length the smallest new size in bytes
     */
    default void grow(long length) throws BlockIoException {
        if (length() < length) {
            resize(length);
        }
    }

    /**
     * Calls {@code listener} after each change of the node's size, on the thread that made the
     * change; it must return soon. It is called no more once the handle is closed.
     */
    void onResize(Runnable listener);

    /**
     * Opens a queue for requests that would block. The queue belongs to one serving thread.
     *
     * @param depth how many requests may be in flight at most, 1 to 4096
     * @throws java.io.UncheckedIOException if the host has no descriptors left
     */
    BlockQueue openQueue(int depth);

    /**
     * Asks for leave to use the node's bytes behind core's back. Granted only while the whole node
     * lies verbatim at the beginning of one regular file of the same size, and nothing has to see
     * or change requests: no dirty bitmap, write threshold or detect-zeroes, and the write cache is
     * on. While it is held, core refuses whatever would end that, and closing the node; a writer
     * may also extend the file if this handle has {@link Permission#RESIZE}. May be called from a
     * thread that serves requests: does not take the control lock.
     *
     * @param write whether the file will be written; needs {@link Permission#WRITE}
     */
    default Optional<DirectAccess> directAccess(boolean write) {
        return Optional.empty();
    }

    /**
     * Keeps the descriptors of {@link #hostExtent} open until {@link #unpin}, which a change of the
     * graph could otherwise close: whoever uses one outside of a call pins the node first and asks
     * for the descriptor then. While a pin is held, changes that would close a file are refused.
     * May be called from a thread that serves requests; does not wait.
     *
     * @return false while a change is under way: nothing is pinned then
     */
    default boolean pin() {
        return true;
    }

    /** Ends one {@link #pin}. From any thread. */
    default void unpin() {}

    /**
     * Whether the node is in use here, as nodes are unless they are opened with {@code active} off
     * or {@code blockdev-set-active} has made them so: an inactive one can only be read, and
     * somebody else may be writing it.
     */
    default boolean active() {
        return true;
    }

    /**
     * How deep another node lies in the backing chain of this one, as {@link Extent#depth} counts:
     * 1 for the node itself and for what it filters, 2 for its backing node.
     *
     * @param nodeName the other node, which is no filter
     * @return 0 if there is no such node in the chain
     */
    default int depthOf(String nodeName) {
        return 0;
    }

    /** See {@link BlockImage#dirty}. */
    default Optional<Boolean> dirty() {
        return Optional.empty();
    }

    /** Bytes that the node takes on the host, if that is known. */
    default Optional<Long> allocatedSize() {
        return Optional.empty();
    }

    /** Gives the permissions back. Idempotent. Requests must be finished and queues closed. */
    @Override
    void close();
}

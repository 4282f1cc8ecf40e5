package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * What a {@link BlockDriver} implements: an open image, device or filter.
 *
 * <p>Core calls {@link #close} once, after all requests are finished and before it closes the
 * image's children.
 */
@ConsumerType
public interface BlockImage extends BlockIo, AutoCloseable {
    /**
     * The permissions that the users of this node take together and grant together have changed.
     * Called before the first request and before each change takes effect.
     *
     * @throws io.blockwharf.api.qmp.QmpException if they cannot be had (a lock of another process);
     *     the permissions of before stay in force
     */
    default void permissions(Set<Permission> taken, Set<Permission> shared) {}

    /**
     * Changes the size; new bytes read as zeroes. Never called on a read-only node.
     *
     * @throws BlockIoException with {@link Errno#ENOTSUP} where the driver cannot
     */
    default void resize(long length) throws BlockIoException {
        throw new BlockIoException(Errno.ENOTSUP, "Image format driver does not support resize");
    }

    /**
     * A queue of the driver's own, if it has a better way than a pool of threads that call the
     * synchronous methods. See {@link BlockNode#openQueue}.
     */
    default Optional<BlockQueue> openQueue(int depth) {
        return Optional.empty();
    }

    /**
     * Whether the image turned out to be read-only although it was not opened so: with
     * auto-read-only a driver falls back. Asked once, after it was opened.
     */
    default boolean readOnly() {
        return false;
    }

    /**
     * Whether an image that somebody else writes would not be understood as it is open now, because
     * parts of it are in memory, as a format's metadata are. Core closes such an image when its
     * node becomes inactive or active and opens it anew, see {@link OpenFlags#inactive}; the others
     * are told by {@link #active}.
     */
    default boolean closedForOthers() {
        return false;
    }

    /**
     * The node is left to somebody else, or is ours again: then the permissions are in force, and
     * the image has a new look at what others may have changed, its length above all. No request is
     * under way. Called with the control lock held.
     *
     * @throws io.blockwharf.api.qmp.QmpException if it cannot be used
     */
    default void active(boolean active) {}

    /**
     * Gives the file of the host that holds exactly the image's bytes, from its beginning and to
     * its end, if there is one; a driver that passes everything on to a child asks the child. Core
     * answers {@link BlockNode#directAccess} with it, after it has seen that nothing in the graph
     * has to see or change requests. {@link DirectAccess#sizeChanged} makes the file's size the
     * image's {@link #length()}. Called from threads that serve requests.
     *
     * @param write whether the file will be written
     */
    default Optional<DirectAccess> directAccess(boolean write) {
        return Optional.empty();
    }

    /**
     * The file name as QMP shows it, for example {@code /images/disk.raw} or {@code null-co://}.
     */
    String filename();

    /** Bytes that the image takes on the host, if that is known. */
    default Optional<Long> allocatedSize() {
        return Optional.empty();
    }

    /**
     * Whether the image's last writer has not closed it in order, as far as the format notes that;
     * false where there is nothing to note. Empty if the driver tells nothing about its image.
     */
    default Optional<Boolean> dirty() {
        return Optional.empty();
    }

    /** The unit in bytes in which the format allocates, if it does. */
    default Optional<Long> clusterSize() {
        return Optional.empty();
    }

    /** What else the image keeps, for a format that keeps anything. */
    default Optional<ImageDescription> description() {
        return Optional.empty();
    }

    /** The dirty bitmaps in the image, if it can keep any. */
    default Optional<BitmapStore> bitmapStore() {
        return Optional.empty();
    }

    /**
     * Changes how the image calls its backing file; empty for none. What it reads now stays the
     * same: this is for those who open it later. Called with the control lock held.
     *
     * @throws BlockIoException with {@link Errno#ENOTSUP} where the format does not keep a name,
     *     {@link Errno#ENOSPC} where the name is too long
     */
    default void changeBackingName(Optional<ImageName> name) throws BlockIoException {
        throw new BlockIoException(Errno.ENOTSUP, "the format has no name of a backing file");
    }

    /** Whatever else is worth showing in the shell, in plain values. */
    default Map<String, Object> details() {
        return Map.of();
    }

    @Override
    void close();
}

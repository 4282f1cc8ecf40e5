package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

import java.nio.ByteBuffer;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Opens nodes of one type: an image format, a protocol or a filter. A service whose type is given
 * by {@link BlockDriverName}.
 *
 * <p>The type parameter is the QAPI type of the driver's own options (the branch of {@code
 * BlockdevOptions}); core reads it from the class and checks and reads the arguments with it. A
 * component of type {@link BlockdevRef} or {@link BlockdevRefOrNull} (or {@code Optional} of one of
 * them) in the record is a child of the node: core opens or finds it first and hands it over in
 * {@link NodeSpec#child}.
 *
 * @param <O> the driver's options
 */
@ConsumerType
public interface BlockDriver<O extends Record> {
    /**
     * Opens an image. Called with core's control lock held, never concurrently with itself.
     *
     * @return the open image
     * @throws io.blockwharf.api.qmp.QmpException with nothing left behind
     */
    BlockImage open(NodeSpec<O> spec);

    /**
     * What a child means to this driver, which decides the permissions that core takes on it.
     *
     * @param child the child's name, as in the options
     */
    default ChildRole childRole(String child, O options) {
        return child.equals("backing") ? ChildRole.BACKING : ChildRole.FILTERED;
    }

    /**
     * The child whose content nodes show exactly, if this is a filter: a throttle, for example. QMP
     * lists it where it lists the backing node of others.
     */
    default Optional<String> filteredChild() {
        return Optional.empty();
    }

    /**
     * The children that the image itself names, by the names of children. Core asks when the
     * children of the options are open and opens those that the options do not mention before it
     * calls {@link #open} with all of them.
     *
     * @param spec with the children of the options only
     * @throws io.blockwharf.api.qmp.QmpException if the image cannot be understood
     */
    default Map<String, ImageName> namedChildren(NodeSpec<O> spec) {
        return Map.of();
    }

    /**
     * Whether an image begins like those of this driver. Asked only where nobody has said what an
     * image is.
     *
     * @param head its first bytes, up to 512
     */
    default boolean recognises(ByteBuffer head) {
        return false;
    }

    /**
     * The driver's own options that {@code blockdev-reopen} may change, by their names on the wire;
     * children need not be named. All others have to stay as they are.
     */
    default Set<String> changeableOptions() {
        return Set.of();
    }

    /**
     * Gives an open image other options in place, for a driver whose image must not be closed
     * meanwhile: because it would lose a lock or a connection, or because descriptors of it are in
     * use. The others answer false, and core closes the image and opens one anew, or opens the old
     * one again if that fails. Called with the control lock held; no request is under way, and none
     * begins before it returns. Open {@link BlockQueue}s are closed before.
     *
     * @param image an image that this driver has opened
     * @param spec as for {@link #open}; children that are as before are the same handles
     * @return whether it was done
     * @throws io.blockwharf.api.qmp.QmpException with the image as it was
     */
    default boolean reconfigure(BlockImage image, NodeSpec<O> spec) {
        return false;
    }
}

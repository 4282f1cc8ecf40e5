package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Map;

/**
 * Makes new images of one type: QMP {@code blockdev-create}. A service whose type is given by
 * {@link BlockDriverName}.
 *
 * <p>The type parameter is the QAPI type of the options (the branch of {@link
 * BlockdevCreateOptions}). Its components of type {@link BlockdevRef} are nodes that the image is
 * made in; core opens or finds them.
 *
 * @param <C> the options
 */
@ConsumerType
public interface BlockCreator<C extends Record> {
    /**
     * Makes an image. Called on a thread of its own, without any lock; may take long.
     *
     * @param nodes those of the options by name, writable and resizable; they stay core's
     * @throws io.blockwharf.api.qmp.QmpException if the options make no sense
     * @throws BlockIoException if it could not be written
     */
    void create(C options, Map<String, BlockNode> nodes) throws BlockIoException;
}

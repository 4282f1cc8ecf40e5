package io.blockwharf.api.block;

import org.osgi.annotation.versioning.ProviderType;

/**
 * Leave to use the file of the host that holds exactly a node's bytes, past core and past the
 * node's driver, as FUSE passthrough does. See {@link BlockNode#directAccess}. May be used from any
 * thread; nothing here waits for the control plane.
 */
@ProviderType
public interface DirectAccess extends AutoCloseable {
    /** The file: readable, and writable if that was asked for. It belongs to the node. */
    int fd();

    /**
     * The file may have grown: takes its size over as the node's, and calls the resize listeners of
     * the node's users if it changed.
     */
    void sizeChanged() throws BlockIoException;

    /** The file is not used any more. Idempotent. */
    @Override
    void close();
}

package io.blockwharf.api.block;

/**
 * Generic options of a node that its driver has to know. What core does by itself (detect-zeroes,
 * ignoring flushes, ignoring discards) is not among them.
 *
 * @param readOnly never write
 * @param autoReadOnly with {@code readOnly} false: fall back to read-only where writing is not
 *     possible, and open for writing only when a user takes the permission
 * @param direct bypass the host's page cache (cache.direct)
 * @param discard pass discards on to the storage (discard=unmap)
 * @param forceShare do not lock the image (force-share; read-only nodes only)
 * @param inactive the node is {@link BlockNode#active not active}: somebody else may be writing the
 *     image
 */
public record OpenFlags(
        boolean readOnly,
        boolean autoReadOnly,
        boolean direct,
        boolean discard,
        boolean forceShare,
        boolean inactive) {

    /** Whether the image may be written as it is opened now. */
    public boolean mayWrite() {
        return !readOnly && !inactive;
    }
}

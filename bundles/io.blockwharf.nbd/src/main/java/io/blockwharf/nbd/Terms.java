package io.blockwharf.nbd;

import io.blockwharf.nbd.wire.ReplyStyle;

import java.util.List;

/**
 * What client and server have agreed on.
 *
 * @param export what is served
 * @param style how requests and replies look
 * @param size bytes of the export as the client knows it
 * @param flags {@link io.blockwharf.nbd.wire.TransmissionFlags}
 * @param contexts the metadata contexts that the client has selected
 */
record Terms(NbdExport export, ReplyStyle style, long size, int flags, List<MetaContext> contexts) {

    /** Whether a transmission flag is set. */
    boolean has(int flag) {
        return (flags & flag) != 0;
    }
}

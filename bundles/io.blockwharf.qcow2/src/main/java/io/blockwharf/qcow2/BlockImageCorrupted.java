package io.blockwharf.qcow2;

import io.blockwharf.api.qmp.QmpEventName;

import java.util.Optional;

/**
 * QAPI event {@code BLOCK_IMAGE_CORRUPTED}.
 *
 * @param device empty: no node here has one
 * @param nodeName the node's name
 * @param msg what is wrong, for people
 * @param offset where in the file; only in the message here
 * @param size how many bytes; only in the message here
 * @param fatal whether the image cannot be used any more
 */
@QmpEventName("BLOCK_IMAGE_CORRUPTED")
public record BlockImageCorrupted(
        String device,
        Optional<String> nodeName,
        String msg,
        Optional<Long> offset,
        Optional<Long> size,
        boolean fatal) {
    static BlockImageCorrupted of(String node, String message, boolean fatal) {
        return new BlockImageCorrupted(
                "", Optional.of(node), message, Optional.empty(), Optional.empty(), fatal);
    }
}

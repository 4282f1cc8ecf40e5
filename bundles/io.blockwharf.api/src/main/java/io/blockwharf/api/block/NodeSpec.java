package io.blockwharf.api.block;

import java.util.Map;
import java.util.Objects;

/**
 * What is to be opened.
 *
 * @param nodeName the node's name
 * @param options the driver's own options
 * @param flags the generic options
 * @param children the opened children by name; they stay core's, which closes them after the image
 * @param <O> the driver's options
 */
public record NodeSpec<O extends Record>(
        String nodeName, O options, OpenFlags flags, Map<String, BlockNode> children) {

    /** Copies the map. */
    public NodeSpec {
        children = Map.copyOf(children);
    }

    /** The child of that name, which must be there (a mandatory component of the options is). */
    public BlockNode child(String name) {
        return Objects.requireNonNull(children.get(name), name);
    }
}

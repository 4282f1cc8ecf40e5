package io.blockwharf.api.block;

import io.blockwharf.api.qmp.Alternate;

/** QAPI {@code BlockdevRef}: a node by name, or the options of a new one. */
@Alternate
public sealed interface BlockdevRef {
    /** A node that exists. */
    record Reference(String nodeName) implements BlockdevRef {}

    /** A node to be made. */
    record Definition(BlockdevOptions options) implements BlockdevRef {}
}

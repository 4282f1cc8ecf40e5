package io.blockwharf.api.block;

import io.blockwharf.api.qmp.Alternate;
import io.blockwharf.api.qmp.QmpDispatcher;

/** QAPI {@code BlockdevRefOrNull}: a child that may also be refused, as a backing file may. */
@Alternate
public sealed interface BlockdevRefOrNull {
    /** A node to be made. */
    record Definition(BlockdevOptions options) implements BlockdevRefOrNull {}

    /** A node that exists; the empty name is the old way to say {@link None}. */
    record Reference(String nodeName) implements BlockdevRefOrNull {}

    /** No child, whatever the image says. */
    record None(QmpDispatcher.Null nothing) implements BlockdevRefOrNull {}
}

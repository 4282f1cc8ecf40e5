package io.blockwharf.api.export;

import io.blockwharf.api.block.BlockNode;

import java.util.List;

/**
 * What is to be exported.
 *
 * @param id the export's id
 * @param node the node, with consistent-read and, if {@code writable}, write permission taken and
 *     everything shared; the driver may ask for more or share less. It stays core's, which closes
 *     it after {@link BlockExport#closed}.
 * @param writable whether clients may write
 * @param ioThreads the threads that shall serve the export; empty: the driver makes its own
 * @param options the driver's own options
 * @param <O> the driver's options
 */
public record ExportSpec<O extends Record>(
        String id, BlockNode node, boolean writable, List<IoThread> ioThreads, O options) {

    /** Copies the list. */
    public ExportSpec {
        ioThreads = List.copyOf(ioThreads);
    }
}

package io.blockwharf.api.export;

import io.blockwharf.api.qmp.Branch;
import io.blockwharf.api.qmp.Discriminator;

import java.util.Optional;

/**
 * QAPI {@code BlockExportOptions}.
 *
 * @param type which {@link BlockExportDriver}
 * @param id the export's id: a letter, then letters, digits, {@code -}, {@code .} and {@code _}
 * @param fixedIothread whether it is an error if the node cannot run in the iothread (default
 *     false)
 * @param iothread the I/O threads that serve the export
 * @param nodeName the node
 * @param writable whether clients may write (default false)
 * @param writethrough whether writes are on stable storage when they complete (default false)
 * @param allowInactive whether the node may be inactive, now or later (default false: it is made
 *     active, and stays so as long as the export may write it)
 * @param options the driver's own options
 */
public record BlockExportOptions(
        @Discriminator String type,
        String id,
        Optional<Boolean> fixedIothread,
        Optional<BlockExportIothreads> iothread,
        String nodeName,
        Optional<Boolean> writable,
        Optional<Boolean> writethrough,
        Optional<Boolean> allowInactive,
        @Branch Record options) {}

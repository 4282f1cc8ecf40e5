package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ConsumerType;

/**
 * Exports block nodes in one way. A service whose type is given by {@link ExportType}.
 *
 * <p>The type parameter is the QAPI type of the driver's own options (the branch of {@code
 * BlockExportOptions}); core reads it from the class, checks arguments with it and shows it in
 * {@code query-qmp-schema}.
 *
 * @param <O> the driver's options
 */
@ConsumerType
public interface BlockExportDriver<O extends Record> {
    /**
     * Starts an export. Called with core's control lock held, after core has checked the id, the
     * node, {@code writable} and the I/O threads. Probe the host here, not in the constructor.
     *
     * @return the running export
     * @throws io.blockwharf.api.qmp.QmpException with nothing left behind
     */
    BlockExport open(ExportSpec<O> spec);

    /** Whether an export can be served by several I/O threads at once. */
    default boolean multiThreaded() {
        return false;
    }

    /**
     * Whether an export can live while its node is inactive ({@code allow-inactive}): it refuses
     * everything but reads then.
     */
    default boolean supportsInactive() {
        return false;
    }
}

package io.blockwharf.api.export;

import org.osgi.annotation.versioning.ProviderType;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * The registry of exports: one id space for all types. May be called from any thread except one
 * that serves an export.
 */
@ProviderType
public interface BlockExports {
    /**
     * Starts an export.
     *
     * @throws io.blockwharf.api.qmp.QmpException with nothing left behind
     */
    void add(BlockExportOptions options);

    /**
     * Removes an export. On return it is deleted, or shutting down if its clients' requests take
     * longer than a moment.
     *
     * @throws io.blockwharf.api.qmp.QmpException if there is none, it is shutting down already, or
     *     it is in use and the mode is safe
     */
    void remove(String id, BlockExportRemoveMode mode);

    /**
     * Removes exports, whoever uses them, and returns when they are deleted. Ids that are not there
     * are of no concern.
     */
    void removeAll(Set<String> ids);

    /** The exports, newest first. */
    List<BlockExportInfo> list();

    /** One export. */
    Optional<BlockExportInfo> find(String id);

    /** What an export's driver has to tell about it; empty if there is no such export. */
    Map<String, Object> details(String id);

    /** The export types that are known, whether they are available or not, in order of name. */
    List<ExportTypeInfo> types();
}

package io.blockwharf.core.export;

import io.blockwharf.api.qmp.QmpEventName;

/**
 * QMP event {@code BLOCK_EXPORT_DELETED}: an export is gone and its id is free.
 *
 * @param id the export's id
 */
@QmpEventName("BLOCK_EXPORT_DELETED")
public record BlockExportDeleted(String id) {}

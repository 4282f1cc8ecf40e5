package io.blockwharf.api.export;

/** QAPI {@code BlockExportRemoveMode}. */
public enum BlockExportRemoveMode {
    /** Refuse if somebody uses the export. */
    SAFE,
    /** Disconnect whoever uses it. */
    HARD
}

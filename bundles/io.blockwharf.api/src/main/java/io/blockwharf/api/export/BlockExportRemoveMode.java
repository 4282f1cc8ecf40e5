package io.blockwharf.api.export;

/**
 * QAPI {@code BlockExportRemoveMode}, with the two modes that QEMU's schema names as to be done. A
 * removal can be repeated with a mode further down.
 */
public enum BlockExportRemoveMode {
    /** Refuse if somebody uses the export. */
    SAFE,
    /** Take no new clients, and remove the export when the last one has left. */
    HIDE,
    /** The same, and let the requests of those who are there fail with ESHUTDOWN. */
    SOFT,
    /** Disconnect whoever uses it. */
    HARD
}

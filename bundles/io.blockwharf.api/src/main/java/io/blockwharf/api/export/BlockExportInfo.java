package io.blockwharf.api.export;

/**
 * QAPI {@code BlockExportInfo}.
 *
 * @param id the export's id
 * @param type its type
 * @param nodeName the exported node
 * @param shuttingDown whether it is being removed
 */
public record BlockExportInfo(String id, String type, String nodeName, boolean shuttingDown) {}

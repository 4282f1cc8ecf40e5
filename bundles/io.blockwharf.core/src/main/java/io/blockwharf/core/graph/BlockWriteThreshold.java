package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.QmpEventName;

/**
 * QMP event {@code BLOCK_WRITE_THRESHOLD}: a write went beyond the threshold, which is gone now.
 *
 * @param nodeName the node
 * @param amountExceeded bytes that the write reached beyond the threshold
 * @param writeThreshold the threshold in bytes
 */
@QmpEventName("BLOCK_WRITE_THRESHOLD")
public record BlockWriteThreshold(String nodeName, long amountExceeded, long writeThreshold) {}

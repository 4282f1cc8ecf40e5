package io.blockwharf.api.qmp;

import java.time.Instant;
import java.util.Map;

/**
 * An event. qmp-spec, "Asynchronous events".
 *
 * @param name for example {@code BLOCK_EXPORT_DELETED}
 * @param timestamp when it happened
 * @param data the data as JSON values, see {@link QmpDispatcher}
 */
public record QmpEvent(String name, Instant timestamp, Map<String, Object> data) {}

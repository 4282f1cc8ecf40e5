package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ProviderType;

/** Sends events to everybody who listens. */
@ProviderType
public interface QmpEvents {
    /**
     * Sends an event. Listeners have it when the call returns.
     *
     * @param data a record whose class is annotated with {@link QmpEventName}
     */
    void emit(Record data);
}

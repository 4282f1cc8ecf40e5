package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Set;

/** A service that tells which events its bundle may send, for {@code query-qmp-schema}. */
@ConsumerType
public interface QmpEventSource {
    /** The data types of the events, annotated with {@link QmpEventName}. */
    Set<Class<? extends Record>> eventTypes();
}

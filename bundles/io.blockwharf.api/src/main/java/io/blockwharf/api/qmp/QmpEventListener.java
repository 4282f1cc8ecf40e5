package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ConsumerType;

/** A service that receives all events. */
@ConsumerType
public interface QmpEventListener {
    /** An event was sent. Called on the thread that caused it; must return soon. */
    void event(QmpEvent event);
}

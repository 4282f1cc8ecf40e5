package io.blockwharf.core.control;

import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpEventListener;
import io.blockwharf.api.qmp.QmpEventName;
import io.blockwharf.api.qmp.QmpEvents;
import io.blockwharf.core.qapi.Json;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.time.Clock;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** Hands events to the listeners that are there. A listener that fails does not hurt the others. */
@Component(service = QmpEvents.class)
public final class EventFanOut implements QmpEvents {
    private final Logger logger;
    private final Clock clock;
    private final List<QmpEventListener> listeners = new CopyOnWriteArrayList<>();

    /** Takes the system's time. */
    @Activate
    public EventFanOut(@Reference(service = LoggerFactory.class) Logger logger) {
        this(logger, Clock.systemUTC());
    }

    EventFanOut(Logger logger, Clock clock) {
        this.logger = logger;
        this.clock = clock;
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addListener(QmpEventListener listener) {
        listeners.add(listener);
    }

    void removeListener(QmpEventListener listener) {
        listeners.remove(listener);
    }

    @Override
    public void emit(Record data) {
        QmpEventName name = data.getClass().getAnnotation(QmpEventName.class);
        if (name == null) {
            throw new IllegalArgumentException(data.getClass() + " is no event");
        }
        QmpEvent event = new QmpEvent(name.value(), clock.instant(), Json.object(data));
        for (QmpEventListener listener : listeners) {
            try {
                listener.event(event);
            } catch (RuntimeException | LinkageError e) {
                logger.error("A listener failed on event {}", event.name(), e);
            }
        }
    }
}

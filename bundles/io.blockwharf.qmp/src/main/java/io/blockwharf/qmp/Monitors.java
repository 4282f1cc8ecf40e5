package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpEvent;
import io.blockwharf.api.qmp.QmpEventListener;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.qmp.chardev.Chardev;
import io.blockwharf.qmp.chardev.Chardevs;
import io.blockwharf.qmp.wire.JsonText;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;

/** The QMP monitors. Thread-safe. */
@Component(service = {Monitors.class, QmpEventListener.class})
public final class Monitors implements QmpEventListener {
    private final QmpDispatcher dispatcher;
    private final Chardevs chardevs;
    private final Logger logger;
    private final List<Monitor> monitors = new CopyOnWriteArrayList<>();

    /** No monitors. */
    @Activate
    public Monitors(
            @Reference QmpDispatcher dispatcher,
            @Reference Chardevs chardevs,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this.dispatcher = dispatcher;
        this.chardevs = chardevs;
        this.logger = logger;
    }

    /**
     * Serves the clients of a chardev from now on.
     *
     * @throws io.blockwharf.api.qmp.QmpException if there is no such chardev, or it is in use
     */
    void add(String chardevId, JsonText style) {
        Chardev chardev = chardevs.attach(chardevId);
        Monitor monitor = new Monitor(chardevId, chardev, style, dispatcher, logger);
        monitors.add(monitor);
        monitor.start();
    }

    @Override
    public void event(QmpEvent event) {
        TraceEvent.QMP_EVENT.record(event.name());
        for (Monitor monitor : monitors) {
            monitor.event(event);
        }
    }

    @Deactivate
    void close() {
        monitors.forEach(Monitor::close);
        monitors.clear();
    }
}

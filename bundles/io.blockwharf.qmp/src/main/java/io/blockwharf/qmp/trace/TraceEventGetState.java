package io.blockwharf.qmp.trace;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.trace.TraceEvent;

import org.osgi.service.component.annotations.Component;

import java.util.List;

/** {@code trace-event-get-state}. */
@Component
@QmpName("trace-event-get-state")
public final class TraceEventGetState
        implements QmpCommand<TraceEventGetState.Arguments, List<TraceEventGetState.Info>> {
    /**
     * The arguments.
     *
     * @param name an event or a pattern
     */
    public record Arguments(String name) {}

    /** QAPI {@code TraceEventState}. */
    public enum State {
        /** QEMU's word for events that were left out of a build; there are none here. */
        UNAVAILABLE,
        DISABLED,
        ENABLED
    }

    /**
     * QAPI {@code TraceEventInfo}.
     *
     * @param name an event
     * @param state whether it is on
     */
    public record Info(String name, State state) {}

    @Override
    public List<Info> execute(Arguments arguments) {
        return Tracing.existing(arguments.name()).stream()
                .map(event -> new Info(event.id(), state(event)))
                .toList();
    }

    private static State state(TraceEvent event) {
        return event.isOn() ? State.ENABLED : State.DISABLED;
    }
}

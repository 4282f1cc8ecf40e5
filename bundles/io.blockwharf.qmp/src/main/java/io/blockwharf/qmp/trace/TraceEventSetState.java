package io.blockwharf.qmp.trace;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Component;

import java.util.Optional;

/** {@code trace-event-set-state}. */
@Component
@QmpName("trace-event-set-state")
public final class TraceEventSetState implements QmpCommand<TraceEventSetState.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param name an event or a pattern
     * @param enable whether to trace it
     * @param ignoreUnavailable of no effect, as all events are available
     */
    public record Arguments(String name, boolean enable, Optional<Boolean> ignoreUnavailable) {}

    @Override
    public Nothing execute(Arguments arguments) {
        Tracing.existing(arguments.name()).forEach(event -> event.turn(arguments.enable()));
        return Nothing.NOTHING;
    }
}

package io.blockwharf.core.control;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-qmp-schema}: the commands, events and types that are installed now. */
@Component
@QmpName("query-qmp-schema")
public final class QueryQmpSchema implements QmpCommand<Nothing, List<Object>> {
    private final Dispatcher dispatcher;

    /** Asks the dispatcher. */
    @Activate
    public QueryQmpSchema(@Reference Dispatcher dispatcher) {
        this.dispatcher = dispatcher;
    }

    @Override
    public List<Object> execute(Nothing none) {
        return dispatcher.schema();
    }
}

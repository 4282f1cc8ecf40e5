package io.blockwharf.core.control;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.List;

/** QMP {@code query-commands}. */
@Component
@QmpName("query-commands")
public final class QueryCommands implements QmpCommand<Nothing, List<QueryCommands.CommandInfo>> {
    /** QAPI {@code CommandInfo}. */
    public record CommandInfo(String name) {}

    private final QmpDispatcher dispatcher;

    /** Asks the dispatcher. */
    @Activate
    public QueryCommands(@Reference QmpDispatcher dispatcher) {
        this.dispatcher = dispatcher;
    }

    @Override
    public List<CommandInfo> execute(Nothing none) {
        return dispatcher.commands().stream().map(CommandInfo::new).toList();
    }
}

package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.wire.JsonReader;
import io.blockwharf.qmp.wire.JsonText;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Map;

/** The shell's {@code qmp:run}: any QMP command, without a session. */
@Component(
        service = ShellCommand.class,
        property = {"osgi.command.scope=qmp", "osgi.command.function=run"})
public final class ShellCommand {
    private final QmpDispatcher dispatcher;

    /** A shell command that has the dispatcher carry out what it is given. */
    @Activate
    public ShellCommand(@Reference QmpDispatcher dispatcher) {
        this.dispatcher = dispatcher;
    }

    /**
     * Carries out a command.
     *
     * @param request as in QMP, {@code {"execute":...}}, or just the command's name
     * @return what the command returns, as JSON text
     */
    public String run(String request) {
        if (!request.stripLeading().startsWith("{")) {
            return JsonText.PRETTY.of(dispatcher.execute(request.strip(), Map.of()));
        }
        Request parsed =
                switch (JsonReader.parse(request)) {
                    case JsonReader.Value value -> Request.of(value.value(), false);
                    case JsonReader.Malformed malformed ->
                            throw QmpException.generic("%s", malformed.message());
                };
        return switch (parsed) {
            case Request.Execute execute ->
                    JsonText.PRETTY.of(dispatcher.execute(execute.command(), execute.arguments()));
            case Request.Invalid invalid -> throw QmpException.generic("%s", invalid.message());
        };
    }
}

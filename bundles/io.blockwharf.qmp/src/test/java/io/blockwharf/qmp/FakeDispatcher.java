package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;

/** A dispatcher whose commands are functions. Has {@code qmp_capabilities} and query-version. */
public final class FakeDispatcher implements QmpDispatcher {
    private final Map<String, Function<Map<String, ?>, Object>> commands = new LinkedHashMap<>();
    private final List<Option> options = new ArrayList<>();

    /** The options that were carried out, as {@code name{arguments}}, {@code !} for JSON. */
    public final List<String> carriedOut = new ArrayList<>();

    /** A dispatcher with the commands that sessions need. */
    public FakeDispatcher() {
        command("query-version", _ -> Map.of("package", "fake"));
        command(
                "qmp_capabilities",
                arguments -> {
                    boolean oob = arguments.get("enable") instanceof List<?> l && !l.isEmpty();
                    new NegotiateCapabilities()
                            .execute(
                                    new NegotiateCapabilities.Arguments(
                                            oob
                                                    ? Optional.of(List.of(Capability.OOB))
                                                    : Optional.empty()));
                    return Map.of();
                });
    }

    /** Adds a command. */
    public FakeDispatcher command(String name, Function<Map<String, ?>, Object> function) {
        commands.put(name, function);
        return this;
    }

    /** Adds an option, which fails if its argument has the key {@code fail}. */
    public FakeDispatcher option(String name, String implied) {
        options.add(new Option(name, implied, ""));
        return this;
    }

    @Override
    public Object execute(String command, Map<String, ?> arguments) {
        if (!commands.containsKey(command)) {
            throw new QmpException(
                    ErrorClass.COMMAND_NOT_FOUND, "The command " + command + " has not been found");
        }
        return commands.get(command).apply(arguments);
    }

    @Override
    public Object option(String name, Map<String, ?> arguments, boolean keyval) {
        if (arguments.get("fail") instanceof String message) {
            throw QmpException.generic("%s", message);
        }
        carriedOut.add(name + arguments + (keyval ? "" : "!"));
        return name.equals("trace") ? List.of() : Map.of();
    }

    @Override
    public List<String> commands() {
        return commands.keySet().stream().sorted().toList();
    }

    @Override
    public List<Option> options() {
        return options;
    }
}

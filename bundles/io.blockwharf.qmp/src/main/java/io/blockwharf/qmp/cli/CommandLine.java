package io.blockwharf.qmp.cli;

import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.chardev.ChardevOption;
import io.blockwharf.qmp.chardev.Chardevs;
import io.blockwharf.qmp.chardev.QueryChardevBackends;
import io.blockwharf.qmp.trace.TraceOption;
import io.blockwharf.qmp.wire.JsonReader;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;

/**
 * Carries out a command line: strictly in order, and up to the first failure. Options are those
 * that the dispatcher has now; those of the process itself (help, version, pid file, background)
 * are the launcher's, and passed over.
 *
 * <p>The answer is empty if everything was done, or the message without the program's name. An
 * empty message means that there was only something to show, which is on standard output.
 */
@Component(service = Function.class, property = "blockwharf.role=command-line")
public final class CommandLine implements Function<List<String>, Optional<String>> {
    private static final String CHARDEV = "chardev";
    private static final String OBJECT = "object";
    private static final String TRACE = "trace";

    private static final Pattern HELP_ON_CHARDEVS = Pattern.compile("(backend=)?(help|\\?)(,.*)?$");

    /** What {@link #apply} answers when there was only something to show. */
    private static final Optional<String> SHOWN = Optional.of("");

    /** The launcher's options; true: with an argument. */
    private static final Map<String, Boolean> OF_LAUNCHER =
            Map.of("help", false, "version", false, "daemonize", false, "pidfile", true);

    private final QmpDispatcher dispatcher;
    private final Chardevs chardevs;
    private final Logger logger;

    /** A command line whose options are the dispatcher's. */
    @Activate
    public CommandLine(
            @Reference QmpDispatcher dispatcher,
            @Reference Chardevs chardevs,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this.dispatcher = dispatcher;
        this.chardevs = chardevs;
        this.logger = logger;
    }

    /** A message that is complete as it is. */
    private static final class UsageException extends Exception {
        private static final long serialVersionUID = 1;

        UsageException(String message) {
            super(message);
        }
    }

    /**
     * An option as it was found.
     *
     * @param name its full name
     * @param argument its argument, empty if it takes none
     * @param spelling the arguments of the command line that it is
     * @param next index of the argument after it
     */
    private record Found(String name, Optional<String> argument, String spelling, int next) {}

    @Override
    public Optional<String> apply(List<String> args) {
        try {
            for (int i = 0; i < args.size(); ) {
                if (args.get(i).equals("--")) {
                    break; // what follows is of no meaning, as in qemu-storage-daemon
                }
                Found option = find(args, i);
                if (!OF_LAUNCHER.containsKey(option.name())) {
                    try {
                        Optional<String> help = help(option);
                        if (help.isPresent()) {
                            System.out.println(help.get());
                            return SHOWN;
                        }
                        execute(option);
                    } catch (QmpException e) {
                        String hint = e.hint().isEmpty() ? "" : "\n" + e.hint();
                        throw new UsageException(option.spelling() + ": " + e.getMessage() + hint);
                    }
                }
                i = option.next();
            }
            return Optional.empty();
        } catch (UsageException e) {
            return Optional.of(e.getMessage());
        }
    }

    /** The option at an index; getopt_long(3). */
    private Found find(List<String> args, int index) throws UsageException {
        String arg = args.get(index);
        if (!arg.startsWith("--")) {
            return findShort(args, index);
        }
        int equals = arg.indexOf('=');
        String given = arg.substring(2, equals < 0 ? arg.length() : equals);
        Map<String, Boolean> known = options();
        List<String> candidates =
                known.containsKey(given)
                        ? List.of(given)
                        : known.keySet().stream().filter(name -> name.startsWith(given)).toList();
        if (candidates.isEmpty()) {
            throw new UsageException("unrecognized option '" + arg + "'");
        } else if (candidates.size() > 1) {
            throw new UsageException(
                    candidates.stream()
                            .map(name -> "'--" + name + "'")
                            .collect(
                                    Collectors.joining(
                                            " ",
                                            "option '" + arg + "' is ambiguous; possibilities: ",
                                            "")));
        }
        String name = candidates.getFirst();
        boolean takesArgument = known.get(name);
        if (equals >= 0) {
            if (!takesArgument) {
                throw new UsageException("option '--" + name + "' doesn't allow an argument");
            }
            return new Found(name, Optional.of(arg.substring(equals + 1)), arg, index + 1);
        } else if (!takesArgument) {
            return new Found(name, Optional.empty(), arg, index + 1);
        } else if (index + 1 == args.size()) {
            throw new UsageException("option '--" + name + "' requires an argument");
        }
        String argument = args.get(index + 1);
        return new Found(name, Optional.of(argument), arg + " " + argument, index + 2);
    }

    /** One letter after the other, the last of which may take what follows as its argument. */
    private static Found findShort(List<String> args, int index) throws UsageException {
        String arg = args.get(index);
        if (!arg.startsWith("-") || arg.equals("-")) {
            throw new UsageException(arg + ": Unexpected argument");
        }
        for (int i = 1; i < arg.length(); i++) {
            switch (arg.charAt(i)) {
                case 'h', 'V' -> {} // the launcher's
                case 'T' -> {
                    if (i + 1 < arg.length()) {
                        String joined = arg.substring(i + 1);
                        return new Found(TRACE, Optional.of(joined), arg, index + 1);
                    } else if (index + 1 == args.size()) {
                        throw new UsageException("option requires an argument -- 'T'");
                    }
                    String next = args.get(index + 1);
                    return new Found(TRACE, Optional.of(next), arg + " " + next, index + 2);
                }
                default -> throw new UsageException("invalid option -- '" + arg.charAt(i) + "'");
            }
        }
        return new Found("help", Optional.empty(), arg, index + 1);
    }

    /** All long options by name; true: with an argument. */
    private Map<String, Boolean> options() {
        Map<String, Boolean> options = new TreeMap<>(OF_LAUNCHER);
        dispatcher.options().forEach(option -> options.put(option.name(), true));
        return options;
    }

    /** What there is to show if the argument asks for it, instead of carrying the option out. */
    private Optional<String> help(Found found) {
        String argument = found.argument().orElseThrow();
        if (found.name().equals(CHARDEV)) {
            return HELP_ON_CHARDEVS.matcher(argument).lookingAt()
                    ? Optional.of(chardevHelp())
                    : Optional.empty();
        } else if (found.name().equals(TRACE)) {
            Object enable = trace(argument).get("enable");
            return "help".equals(enable) || "?".equals(enable)
                    ? Optional.of(TraceOption.help())
                    : Optional.empty();
        } else if (argument.startsWith("{")) {
            return Optional.empty();
        }
        String implied = implied(found.name());
        Keyval.Parsed parsed = Keyval.parse(argument, implied);
        if (!parsed.help()) {
            return Optional.empty();
        } else if (!found.name().equals(OBJECT)) {
            throw QmpException.generic("Help is not available for this option");
        }
        ObjectHelp help = new ObjectHelp(dispatcher.execute("query-qmp-schema", Map.of()));
        return Optional.of(
                help.text(
                        Optional.ofNullable(parsed.members().get(implied)).map(Object::toString)));
    }

    private static String chardevHelp() {
        return QueryChardevBackends.names()
                .collect(Collectors.joining("\n  ", "Available chardev backend types: \n  ", ""));
    }

    private void execute(Found found) {
        String argument = found.argument().orElseThrow();
        if (found.name().equals(CHARDEV)) {
            chardev(found, argument);
        } else if (found.name().equals(TRACE)) {
            ((List<?>) dispatcher.option(TRACE, trace(argument), true))
                    .forEach(warning -> warn(found, (String) warning));
        } else if (argument.startsWith("{")) {
            dispatcher.option(found.name(), json(argument), false);
        } else {
            Keyval.Parsed parsed = Keyval.parse(argument, implied(found.name()));
            dispatcher.option(found.name(), parsed.members(), true);
        }
    }

    private void chardev(Found found, String argument) {
        Map<String, Object> members =
                LegacyOptions.parse(
                        argument,
                        implied(CHARDEV),
                        ChardevOption.TYPES,
                        warning -> warn(found, warning));
        dispatcher.option(CHARDEV, members, true);
        chardevs.awaitClients();
    }

    private void warn(Found found, String warning) {
        logger.warn("{}: warning: {}", found.spelling(), warning);
    }

    private static Map<String, Object> trace(String argument) {
        return LegacyOptions.parse(argument, "enable", TraceOption.TYPES, _ -> {});
    }

    private String implied(String name) {
        return dispatcher.options().stream()
                .filter(option -> option.name().equals(name))
                .map(QmpDispatcher.Option::implied)
                .findFirst()
                .orElse("");
    }

    /** The members of a JSON object. */
    private static Map<String, ?> json(String text) {
        return switch (JsonReader.parse(text)) {
            case JsonReader.Malformed malformed ->
                    throw QmpException.generic("%s", malformed.message());
            case JsonReader.Value value -> {
                // It begins with a brace, and the reader's keys are strings.
                @SuppressWarnings("unchecked")
                Map<String, ?> members = (Map<String, ?>) value.value();
                yield members;
            }
        };
    }
}

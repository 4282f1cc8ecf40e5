package io.blockwharf.core.control;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpDispatcher;
import io.blockwharf.api.qmp.QmpEventSource;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpException.ErrorClass;
import io.blockwharf.core.qapi.Binder;
import io.blockwharf.core.qapi.Branches;
import io.blockwharf.core.qapi.Json;
import io.blockwharf.core.qapi.OpenUnion;
import io.blockwharf.core.qapi.Schema;
import io.blockwharf.core.qapi.TypeArguments;
import io.blockwharf.linux.NamedDescriptors;

import org.osgi.framework.Constants;
import org.osgi.service.component.ComponentServiceObjects;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.component.annotations.ReferenceCardinality;
import org.osgi.service.component.annotations.ReferencePolicy;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.SequencedMap;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Finds the service of a command, checks the arguments against the command's record, runs it under
 * the control lock, and turns what it returns into JSON values.
 *
 * <p>A command's service leaves only while no command runs, so that no bundle is stopped under its
 * own command.
 */
@Component(service = {QmpDispatcher.class, Dispatcher.class})
public final class Dispatcher implements QmpDispatcher {
    private static final String COMMAND = "qmp.name";
    private static final String OPTION = "option.name";

    /** What {@link #schema} answered, and what it was made of. */
    private record CachedSchema(
            long changes,
            Map<Class<? extends Record>, SequencedMap<String, Class<? extends Record>>> branches,
            List<Object> schema) {
        boolean describes(Branches now) {
            return branches.entrySet().stream()
                    .allMatch(union -> now.of(union.getKey()).equals(union.getValue()));
        }
    }

    /** What the owners of the open unions say. */
    private record OwnedBranches(List<Branches> owners) implements Branches {
        @Override
        public SequencedMap<String, Class<? extends Record>> of(Class<? extends Record> union) {
            SequencedMap<String, Class<? extends Record>> all = new LinkedHashMap<>();
            owners.forEach(owner -> all.putAll(owner.of(union)));
            return all;
        }

        @Override
        public Optional<Class<? extends Record>> find(Class<? extends Record> union, String value) {
            return owners.stream().flatMap(owner -> owner.find(union, value).stream()).findFirst();
        }
    }

    private final ControlLock lock;
    private final Logger logger;
    private final AtomicLong changes = new AtomicLong();
    private final Whiteboard<QmpCommand<?, ?>> commands =
            new Whiteboard<>(QmpCommand.class, COMMAND, changes);
    private final Whiteboard<QmpCommand<?, ?>> options =
            new Whiteboard<>(QmpCommand.class, OPTION, changes);
    private final Whiteboard<OpenUnion> unions =
            new Whiteboard<>(OpenUnion.class, Constants.SERVICE_ID, changes);
    private final Whiteboard<QmpEventSource> eventSources =
            new Whiteboard<>(QmpEventSource.class, Constants.SERVICE_ID, changes);
    private volatile CachedSchema cachedSchema = new CachedSchema(-1, Map.of(), List.of());

    /** A dispatcher without commands. */
    @Activate
    public Dispatcher(
            @Reference ControlLock lock, @Reference(service = LoggerFactory.class) Logger logger) {
        this.lock = lock;
        this.logger = logger;
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addCommand(
            ComponentServiceObjects<QmpCommand<?, ?>> command, Map<String, Object> properties) {
        commands.add(command, properties);
        options.add(command, properties);
    }

    void removeCommand(Map<String, Object> properties) {
        try (var _ = lock.take()) {
            commands.remove(properties);
            options.remove(properties);
        }
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addUnion(ComponentServiceObjects<OpenUnion> union, Map<String, Object> properties) {
        unions.add(union, properties);
    }

    void removeUnion(Map<String, Object> properties) {
        unions.remove(properties);
    }

    private Branches branches() {
        return new OwnedBranches(
                unions.names().stream()
                        .flatMap(name -> unions.find(name).stream())
                        .flatMap(offer -> offer.service().stream())
                        .map(OpenUnion::branches)
                        .toList());
    }

    @Reference(cardinality = ReferenceCardinality.MULTIPLE, policy = ReferencePolicy.DYNAMIC)
    void addEventSource(
            ComponentServiceObjects<QmpEventSource> source, Map<String, Object> properties) {
        eventSources.add(source, properties);
    }

    void removeEventSource(Map<String, Object> properties) {
        eventSources.remove(properties);
    }

    @Override
    public Object execute(String command, Map<String, ?> arguments) {
        // Only who started the daemon knows its descriptors by their numbers: option()
        return NamedDescriptors.withoutNumbers(
                () ->
                        run(
                                commands,
                                command,
                                arguments,
                                false,
                                "The command " + command + " has not been found"));
    }

    @Override
    public Object option(String name, Map<String, ?> arguments, boolean keyval) {
        return run(options, name, arguments, keyval, "--" + name + ": there is no such option");
    }

    @Override
    public List<String> commands() {
        return commands.names();
    }

    @Override
    public List<Option> options() {
        return options.names().stream()
                .flatMap(name -> options.find(name).stream())
                .map(
                        offer ->
                                new Option(
                                        offer.property(OPTION),
                                        offer.property("option.implied"),
                                        offer.property("option.help")))
                .toList();
    }

    /** What {@code query-qmp-schema} answers, as JSON values. */
    List<Object> schema() {
        // Read first: what changes while we look is looked at again next time.
        long now = changes.get();
        CachedSchema cached = cachedSchema;
        Branches branches = branches();
        if (cached.changes() != now || !cached.describes(branches)) {
            cached = newSchema(now, branches);
            cachedSchema = cached;
        }
        return cached.schema();
    }

    private CachedSchema newSchema(long now, Branches branches) {
        Map<Class<? extends Record>, SequencedMap<String, Class<? extends Record>>> asked =
                new HashMap<>();
        List<Schema.Command> described = new ArrayList<>();
        for (String name : commands.names()) {
            commands.find(name)
                    .flatMap(Whiteboard.Offer::service)
                    .ifPresent(
                            command ->
                                    described.add(
                                            new Schema.Command(
                                                    name,
                                                    argumentsOf(command),
                                                    TypeArguments.of(
                                                                    command.getClass(),
                                                                    QmpCommand.class)
                                                            .get(1),
                                                    Schema.features(command.getClass()))));
        }
        List<Class<? extends Record>> events = new ArrayList<>();
        for (String source : eventSources.names()) {
            eventSources
                    .find(source)
                    .flatMap(Whiteboard.Offer::service)
                    .ifPresent(each -> events.addAll(each.eventTypes()));
        }
        List<Object> schema =
                Schema.of(described, events, union -> asked.computeIfAbsent(union, branches::of));
        return new CachedSchema(now, asked, schema);
    }

    private Object run(
            Whiteboard<QmpCommand<?, ?>> whiteboard,
            String name,
            Map<String, ?> arguments,
            boolean keyval,
            String notFound) {
        try {
            Optional<Object> result;
            do {
                Whiteboard.Offer<QmpCommand<?, ?>> offer =
                        whiteboard.find(name).orElseThrow(() -> notFound(notFound));
                // Before the lock: activating a component waits for one that is being deactivated,
                // which waits for the lock to be taken off the whiteboard.
                QmpCommand<?, ?> command = offer.service().orElseThrow(() -> notFound(notFound));
                Binder binder = new Binder(branches());
                try (var _ = lock.take()) {
                    result =
                            whiteboard
                                    .find(name)
                                    .filter(offer::equals)
                                    .map(_ -> Json.of(run(command, arguments, keyval, binder)));
                }
            } while (result.isEmpty());
            return result.get();
        } catch (QmpException failure) {
            throw failure;
        } catch (RuntimeException | LinkageError | StackOverflowError | AssertionError bug) {
            logger.error("{} failed unexpectedly", name, bug);
            throw new QmpException("Internal error: " + bug, bug);
        }
    }

    private static QmpException notFound(String sentence) {
        return new QmpException(ErrorClass.COMMAND_NOT_FOUND, sentence);
    }

    private <A extends Record, R> R run(
            QmpCommand<A, R> command, Map<String, ?> arguments, boolean keyval, Binder binder) {
        // The class of A is what the command's class says that A is.
        @SuppressWarnings("unchecked")
        Class<A> type = (Class<A>) argumentsOf(command);
        return command.execute(binder.bind(type, arguments, keyval));
    }

    private static Class<? extends Record> argumentsOf(QmpCommand<?, ?> command) {
        return TypeArguments.record(command.getClass(), QmpCommand.class);
    }
}

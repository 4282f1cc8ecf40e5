package io.blockwharf.qmp.trace;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.qmp.chardev.ChardevOption.Type;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;

/** {@code --trace}: one of QEMU's older options. It returns warnings. */
@Component
@CommandLineOption(
        name = "trace",
        implied = "enable",
        help = "[[enable=]PATTERN][,events=FILE][,file=FILE]: write trace events")
public final class TraceOption implements QmpCommand<TraceOption.Arguments, List<String>> {
    /** The parameters, for whoever parses them. */
    public static final Map<String, Type> TYPES =
            Map.of("enable", Type.TEXT, "events", Type.TEXT, "file", Type.TEXT);

    /**
     * The parameters.
     *
     * @param enable the events: a name or a pattern; after a {@code -}, those to turn off
     * @param events a file with one of these a line
     * @param file where to write (default: standard error)
     */
    public record Arguments(
            Optional<String> enable, Optional<String> events, Optional<String> file) {}

    private final Tracing tracing;

    /** An option that sets {@code tracing}. */
    @Activate
    public TraceOption(@Reference Tracing tracing) {
        this.tracing = tracing;
    }

    /** The names of all events, a line each. */
    public static String help() {
        return Arrays.stream(TraceEvent.values())
                .map(TraceEvent::id)
                .collect(Collectors.joining("\n"));
    }

    @Override
    public List<String> execute(Arguments arguments) {
        List<String> patterns = new ArrayList<>();
        arguments.enable().ifPresent(patterns::add);
        arguments.events().ifPresent(file -> patterns.addAll(patterns(file)));
        List<String> warnings =
                patterns.stream().flatMap(pattern -> tracing.set(pattern).stream()).toList();
        arguments.file().ifPresent(tracing::file);
        return warnings;
    }

    private static List<String> patterns(String file) {
        try {
            return Files.readAllLines(Path.of(file)).stream()
                    .filter(line -> !line.isEmpty() && !line.startsWith("#"))
                    .toList();
        } catch (NoSuchFileException e) {
            throw new QmpException(file + ": No such file or directory", e);
        } catch (IOException e) {
            throw new QmpException(file + ": " + e.getMessage(), e);
        }
    }
}

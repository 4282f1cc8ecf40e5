package io.blockwharf.qmp.trace;

import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.trace.TraceEvent;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * The sink of trace events: a file, or the log service, under the name {@value #LOGGER}, from where
 * the launcher takes them to standard error. Thread-safe.
 */
@Component(service = Tracing.class)
public final class Tracing {
    /** Their logger: what is logged there was asked for, and is not filtered by its level. */
    static final String LOGGER = "blockwharf.trace";

    private final Logger log;
    private Optional<Writer> file = Optional.empty();

    /** Takes what is traced from now on. */
    @Activate
    public Tracing(@Reference LoggerFactory loggers) {
        this(loggers.getLogger(LOGGER));
    }

    Tracing(Logger log) {
        this.log = log;
        TraceEvent.sendTo(this::write);
    }

    @Deactivate
    synchronized void close() {
        TraceEvent.sendTo(_ -> {});
        List.of(TraceEvent.values()).forEach(event -> event.turn(false));
        closeFile();
    }

    private synchronized void write(String line) {
        if (file.isEmpty()) {
            log.audit("{}", line);
            return;
        }
        try {
            file.get().write(line + "\n");
            file.get().flush();
        } catch (IOException e) {
            log.warn("the trace file cannot be written: {}", e.getMessage());
            closeFile();
        }
    }

    private void closeFile() {
        file.ifPresent(
                writer -> {
                    try {
                        writer.close();
                    } catch (IOException e) {
                        log.warn("{}", e.getMessage());
                    }
                });
        file = Optional.empty();
    }

    /**
     * Sends what is traced to a file, which is emptied.
     *
     * @throws QmpException if it cannot be opened
     */
    synchronized void file(String path) {
        HostFile.Flag[] flags = {
            HostFile.Flag.WRITE_ONLY, HostFile.Flag.CREATE, HostFile.Flag.TRUNCATE
        };
        try (HostFile _ = HostFile.open(path, flags)) {
            Writer opened = Files.newBufferedWriter(Path.of(path), StandardCharsets.UTF_8);
            closeFile();
            file = Optional.of(opened);
        } catch (LinuxException e) {
            String why = e.getMessage().substring(e.getMessage().lastIndexOf(": ") + 2);
            throw new QmpException("Error opening logfile " + path + ": " + why, e);
        } catch (IOException e) {
            throw new QmpException("Error opening logfile " + path + ": " + e.getMessage(), e);
        }
    }

    /**
     * Turns events on, or off if the pattern begins with {@code -}.
     *
     * @return what is to be said about a name that is none
     */
    Optional<String> set(String pattern) {
        boolean on = !pattern.startsWith("-");
        String name = on ? pattern : pattern.substring(1);
        List<TraceEvent> events = TraceEvent.matching(name);
        events.forEach(event -> event.turn(on));
        return events.isEmpty() && name.indexOf('*') < 0
                ? Optional.of("trace event '" + name + "' does not exist")
                : Optional.empty();
    }

    /**
     * The events of a command's argument.
     *
     * @throws QmpException if it is the name of none
     */
    static List<TraceEvent> existing(String pattern) {
        List<TraceEvent> events = TraceEvent.matching(pattern);
        if (events.isEmpty() && pattern.indexOf('*') < 0) {
            throw QmpException.generic("unknown event \"%s\"", pattern);
        }
        return events;
    }
}

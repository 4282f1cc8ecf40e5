package io.blockwharf.shell;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.StandardStreams;

import org.apache.felix.service.command.CommandProcessor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Deactivate;
import org.osgi.service.component.annotations.Reference;
import org.osgi.service.log.Logger;
import org.osgi.service.log.LoggerFactory;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** {@code --shell}: where commands can be typed. Without it, nowhere. */
@Component
@CommandLineOption(
        name = "shell",
        implied = "stream",
        help = "stdio|path=PATH[,prompt=on|off]: offer the Gogo shell here or on a local socket")
public final class Shells implements QmpCommand<Shells.Arguments, Nothing> {
    /** What is there from the beginning. */
    public enum Stream {
        /** Standard input and output. */
        STDIO
    }

    /**
     * The arguments: either of the first two.
     *
     * @param stream standard input and output
     * @param path a local socket to listen on
     * @param prompt whether to prompt (default: if standard input is a terminal)
     */
    public record Arguments(
            Optional<Stream> stream, Optional<String> path, Optional<Boolean> prompt) {
        /** Checks that there is one place. */
        public Arguments {
            if (stream.isPresent() == path.isPresent()) {
                throw new IllegalArgumentException("Either 'stdio' or 'path' is needed");
            }
        }
    }

    private final CommandProcessor processor;
    private final Logger logger;
    private final List<ShellServer> servers = new ArrayList<>();
    private Optional<TerminalInput> terminal = Optional.empty();

    /** No shells; their commands are the processor's. */
    @Activate
    public Shells(
            @Reference CommandProcessor processor,
            @Reference(service = LoggerFactory.class) Logger logger) {
        this.processor = processor;
        this.logger = logger;
    }

    @Override
    public synchronized Nothing execute(Arguments arguments) {
        try {
            if (arguments.path().isPresent()) {
                ShellServer server =
                        new ShellServer(
                                arguments.path().get(),
                                arguments.prompt().orElse(false),
                                processor,
                                logger);
                servers.add(server);
                server.start();
            } else {
                startOnTerminal(arguments.prompt().orElse(StandardStreams.isTerminal()));
            }
        } catch (IOException e) {
            throw new QmpException(e.getMessage(), e);
        }
        return Nothing.NOTHING;
    }

    private void startOnTerminal(boolean prompt) throws IOException {
        if (StandardStreams.areNobodys()) {
            throw QmpException.generic("cannot use stdio with -daemonize");
        }
        if (terminal.isPresent()) {
            throw QmpException.generic("There is a shell on standard input already");
        }
        TerminalInput input = new TerminalInput();
        terminal = Optional.of(input);
        Thread.ofPlatform().daemon().name("shell").start(() -> serveTerminal(input, prompt));
    }

    private void serveTerminal(TerminalInput input, boolean prompt) {
        try (input) {
            new ShellSession(processor, prompt)
                    .run(input, new FileOutputStream(FileDescriptor.out));
        } catch (IOException | RuntimeException e) {
            logger.error("the shell ended", e);
        } finally {
            synchronized (this) {
                terminal = Optional.empty();
            }
        }
    }

    @Deactivate
    synchronized void close() {
        terminal.ifPresent(TerminalInput::end);
        servers.forEach(ShellServer::close);
        servers.clear();
    }
}

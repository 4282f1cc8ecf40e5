package io.blockwharf.shell;

import io.blockwharf.linux.Credentials;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;

import org.apache.felix.service.command.CommandProcessor;
import org.osgi.service.log.Logger;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Shell sessions on a local socket, one per connection, for the daemon's own user and root. The
 * file has mode 0600; as it has that only a moment after it is there, who connects is asked as
 * well.
 */
final class ShellServer implements AutoCloseable {
    private static final int BACKLOG = 16;

    /** Sessions at a time; each has a thread. */
    private static final int MAX_SESSIONS = 16;

    private static final int ROOT = 0;

    private final CommandProcessor processor;
    private final boolean prompt;
    private final Logger logger;
    private final ListeningSocket listener;
    private final Thread thread;
    private final Set<FdSocket> clients = ConcurrentHashMap.newKeySet();

    /** Listens; nobody is served before {@link #start}. */
    ShellServer(String path, boolean prompt, CommandProcessor processor, Logger logger)
            throws IOException {
        this.processor = processor;
        this.prompt = prompt;
        this.logger = logger;
        listener = ListeningSocket.open(new SocketAddress.Unix(path), BACKLOG);
        try {
            Files.setPosixFilePermissions(
                    Path.of(path), PosixFilePermissions.fromString("rw-------"));
        } catch (IOException e) {
            listener.close();
            throw e;
        }
        thread = Thread.ofPlatform().daemon().name("shell " + path).unstarted(this::accept);
    }

    void start() {
        thread.start();
    }

    private void accept() {
        try {
            for (Optional<FdSocket> client = listener.accept();
                    client.isPresent();
                    client = listener.accept()) {
                serve(client.get());
            }
        } catch (LinuxException e) {
            logger.error("the shell accepts no more connections: {}", e.getMessage());
        }
    }

    private void serve(FdSocket client) {
        boolean allowed =
                client.peerCredentials()
                        .map(Credentials::uid)
                        .filter(uid -> uid == ROOT || uid == Credentials.ofThisProcess().uid())
                        .isPresent();
        if (!allowed || clients.size() >= MAX_SESSIONS) {
            logger.warn(
                    allowed
                            ? "too many shell sessions: a connection was refused"
                            : "a shell connection of another user was refused");
            client.close();
            return;
        }
        clients.add(client);
        Thread.ofPlatform().daemon().name("shell session").start(() -> run(client));
    }

    private void run(FdSocket client) {
        try {
            new ShellSession(processor, prompt)
                    .run(SocketStreams.input(client), SocketStreams.output(client));
        } catch (IOException | RuntimeException e) {
            logger.debug("shell session: {}", e.toString());
        } finally {
            client.shutdown();
            clients.remove(client);
            client.close();
        }
    }

    /** Ends all sessions and removes the socket's file. */
    @Override
    public void close() {
        listener.shutdown();
        try {
            if (Thread.currentThread() != thread) {
                thread.join();
            }
            listener.unlink();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (LinuxException e) {
            logger.info("{}", e.getMessage());
        }
        listener.close();
        clients.forEach(FdSocket::shutdown);
    }
}

package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.Deque;

/**
 * A QMP client that speaks and expects one JSON value per line, and keeps the events that come in
 * between.
 */
final class QmpClient implements AutoCloseable {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final AutoCloseable connection;
    private final BufferedReader in;
    private final OutputStream out;
    private final JsonNode greeting;
    private final Deque<JsonNode> events = new ArrayDeque<>();

    private QmpClient(AutoCloseable connection, InputStream in, OutputStream out)
            throws IOException {
        this.connection = connection;
        this.in = new BufferedReader(new InputStreamReader(in, StandardCharsets.UTF_8));
        this.out = out;
        greeting = read();
        assertTrue(
                greeting.path("QMP").path("version").path("qemu").has("major"), greeting::toString);
    }

    /** Connects and negotiates. */
    static QmpClient unix(Path socket) throws IOException {
        return over(unixChannel(socket)).negotiate();
    }

    static QmpClient tcp(int port) throws IOException {
        var socket = new Socket(InetAddress.getLoopbackAddress(), port);
        socket.setSoTimeout((int) Tools.LIMIT_SECONDS * 1000);
        return new QmpClient(socket, socket.getInputStream(), socket.getOutputStream()).negotiate();
    }

    static QmpClient over(SocketChannel channel) throws IOException {
        return new QmpClient(
                channel, Channels.newInputStream(channel), Channels.newOutputStream(channel));
    }

    /** Over the standard streams of a process. */
    static QmpClient over(Process process) throws IOException {
        return new QmpClient(
                process.getOutputStream(), process.getInputStream(), process.getOutputStream());
    }

    static SocketChannel unixChannel(Path socket) throws IOException {
        var channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(socket));
        return channel;
    }

    JsonNode greeting() {
        return greeting;
    }

    QmpClient negotiate() throws IOException {
        execute("qmp_capabilities");
        return this;
    }

    /** Runs a command without arguments and answers what it returned. */
    JsonNode execute(String command) throws IOException {
        return execute(command, "{}");
    }

    /** Runs a command and answers what it returned; the test fails if the command does. */
    JsonNode execute(String command, String arguments) throws IOException {
        JsonNode reply =
                call("{\"execute\": \"%s\", \"arguments\": %s}".formatted(command, arguments));
        if (!reply.has("return")) {
            fail(command + " " + arguments + " answered " + reply);
        }
        return reply.get("return");
    }

    /** Runs a command that must fail, and answers its error as {@code class: description}. */
    String error(String command, String arguments) throws IOException {
        return error("{\"execute\": \"%s\", \"arguments\": %s}".formatted(command, arguments));
    }

    String error(String request) throws IOException {
        JsonNode reply = call(request);
        if (!reply.has("error")) {
            fail(request + " answered " + reply);
        }
        return reply.at("/error/class").asText() + ": " + reply.at("/error/desc").asText();
    }

    /** Sends a request as it stands and answers the reply. */
    JsonNode call(String request) throws IOException {
        send(request + "\n");
        while (true) {
            JsonNode message = read();
            if (!message.has("event")) {
                return message;
            }
            events.add(message);
        }
    }

    void send(String text) throws IOException {
        out.write(text.getBytes(StandardCharsets.UTF_8));
        out.flush();
    }

    /** The next event, which came already or is waited for; it must be the named one. */
    JsonNode event(String name) throws IOException {
        JsonNode event = events.isEmpty() ? read() : events.poll();
        assertEquals(name, event.path("event").asText(), event::toString);
        assertTrue(event.path("timestamp").path("seconds").isIntegralNumber(), event::toString);
        return event;
    }

    /** Events that came in front of replies and that nobody has taken yet. */
    int pendingEvents() {
        return events.size();
    }

    static JsonNode json(String text) throws IOException {
        return JSON.readTree(text);
    }

    JsonNode read() throws IOException {
        String line = in.readLine();
        if (line == null) {
            throw new EOFException("the monitor was closed");
        }
        return JSON.readTree(line);
    }

    @Override
    public void close() throws IOException {
        try {
            connection.close();
        } catch (IOException e) {
            throw e;
        } catch (Exception e) {
            throw new IOException(e);
        }
    }
}

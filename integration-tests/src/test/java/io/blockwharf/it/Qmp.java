package io.blockwharf.it;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;

import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.Writer;
import java.util.ArrayDeque;
import java.util.Queue;

/** A QMP client: one JSON object per line. Not for use by several threads. */
final class Qmp {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final BufferedReader in;
    private final Writer out;
    private final Queue<JsonNode> events = new ArrayDeque<>();

    /** Takes the greeting and negotiates. */
    Qmp(BufferedReader in, Writer out) throws IOException {
        this.in = in;
        this.out = out;
        JsonNode greeting = read();
        if (!greeting.has("QMP")) {
            throw new IOException("not a greeting: " + greeting);
        }
        execute("qmp_capabilities", "{}");
    }

    /** The whole answer: it has a member "return" or a member "error". */
    JsonNode execute(String command, String arguments) throws IOException {
        ObjectNode request = JSON.createObjectNode().put("execute", command);
        request.set("arguments", JSON.readTree(arguments));
        return call(request.toString());
    }

    /** Sends a request as it stands, and gives the whole answer. */
    JsonNode call(String request) throws IOException {
        out.write(request + "\n");
        out.flush();
        for (JsonNode message = read(); ; message = read()) {
            if (!message.has("event")) {
                return message;
            }
            events.add(message);
        }
    }

    /** The next event, as "NAME data". */
    String event() throws IOException {
        JsonNode event = nextEvent();
        return event.get("event").textValue() + " " + event.get("data");
    }

    /** The next event. */
    JsonNode nextEvent() throws IOException {
        return events.isEmpty() ? read() : events.remove();
    }

    /** An event that came before the last answer, if there is one left; else null. */
    JsonNode eventSoFar() {
        return events.poll();
    }

    private JsonNode read() throws IOException {
        String line = in.readLine();
        if (line == null) {
            throw new EOFException("the daemon has closed the channel");
        }
        return JSON.readTree(line);
    }
}

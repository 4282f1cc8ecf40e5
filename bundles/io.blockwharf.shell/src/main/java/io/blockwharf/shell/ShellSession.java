package io.blockwharf.shell;

import io.blockwharf.api.qmp.QmpException;

import org.apache.felix.service.command.CommandProcessor;
import org.apache.felix.service.command.CommandSession;
import org.apache.felix.service.command.Converter;

import java.io.BufferedReader;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Reads commands from a stream and writes what they answer. A statement may stretch over several
 * lines. Owned by the thread that runs it.
 */
final class ShellSession {
    private static final String PROMPT = "blockwharf> ";
    private static final String CONTINUATION = "> ";

    /** Characters of one statement; further ones would fill the daemon's heap. */
    private static final int MAX_STATEMENT = 1 << 20;

    private final CommandProcessor processor;
    private final boolean prompt;

    /**
     * A session.
     *
     * @param prompt whether to tell a person that it is her turn
     */
    ShellSession(CommandProcessor processor, boolean prompt) {
        this.processor = processor;
        this.prompt = prompt;
    }

    /** Serves until the input ends or says {@code exit}. */
    void run(InputStream input, OutputStream output) throws IOException {
        PrintStream console = new PrintStream(output, false, StandardCharsets.UTF_8);
        BufferedReader reader =
                new BufferedReader(new InputStreamReader(input, StandardCharsets.UTF_8));
        try (CommandSession session =
                processor.createSession(InputStream.nullInputStream(), console, console)) {
            // Our commands come first when a name is given without its scope.
            session.put("SCOPE", "export:node:nbd:object:qmp:*");
            StringBuilder statement = new StringBuilder();
            ask(console, PROMPT);
            for (String line = reader.readLine(); line != null; line = reader.readLine()) {
                if (statement.isEmpty() && line.strip().equals("exit")) {
                    return;
                }
                statement.append(line);
                boolean complete = execute(session, console, statement.toString());
                if (complete) {
                    statement.setLength(0);
                } else if (statement.length() > MAX_STATEMENT) {
                    console.println("The statement is too long");
                    statement.setLength(0);
                } else {
                    statement.append('\n');
                }
                ask(console, complete ? PROMPT : CONTINUATION);
                if (console.checkError()) {
                    return;
                }
            }
        }
    }

    private void ask(PrintStream console, String text) {
        if (prompt) {
            console.print(text);
        }
        console.flush();
    }

    /** False if the statement goes on in the next line. */
    private static boolean execute(CommandSession session, PrintStream console, String statement) {
        if (statement.isBlank()) {
            return true;
        }
        try {
            Object result = session.execute(statement);
            String text =
                    result == null ? "" : session.format(result, Converter.INSPECT).toString();
            if (!text.isEmpty()) {
                console.println(text);
            }
            return true;
        } catch (EOFException e) {
            return false;
        } catch (QmpException e) {
            console.println("error: " + e.getMessage());
        } catch (Exception e) {
            console.println("error: " + oneLine(e));
        }
        return true;
    }

    private static String oneLine(Exception e) {
        String message = e.getMessage() == null ? e.toString() : e.getMessage();
        if (message.startsWith("Cannot coerce ")) {
            // Gogo found no method for them, and would list the Java types of those that it has
            return "The arguments do not fit the command: see 'help COMMAND'";
        }
        return message.lines().findFirst().orElse(message);
    }
}

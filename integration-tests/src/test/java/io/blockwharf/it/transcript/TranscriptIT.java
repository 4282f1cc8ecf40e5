package io.blockwharf.it.transcript;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;

import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.Writer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;

/**
 * Replays QMP transcripts against the distribution, and against qemu-storage-daemon, which proves
 * that they are fair.
 *
 * <p>A transcript has comments ({@code #}), perhaps a line with arguments of the command line
 * ({@code args:}, where {@code @DIR@} is a fresh folder), lines to send ({@code ->}) and messages
 * to expect ({@code <-}). {@code "~"} stands for any value, a text that ends with ~ for any that
 * begins so. The order of an object's members does not matter.
 */
class TranscriptIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    @TempDir Path directory;

    static Stream<Arguments> transcripts() throws IOException {
        List<Arguments> runs = new ArrayList<>();
        try (var files = Files.list(Path.of("src/test/resources/transcripts"))) {
            for (Path file : files.sorted().toList()) {
                runs.add(Arguments.of(file, Program.OURS));
                runs.add(Arguments.of(file, Program.THEIRS));
            }
        }
        return runs.stream();
    }

    @ParameterizedTest
    @MethodSource("transcripts")
    @Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void replay(Path transcript, Program program) throws IOException, InterruptedException {
        List<String> lines = Files.readAllLines(transcript);
        List<String> command = new ArrayList<>(List.of(program.path()));
        for (String line : lines) {
            if (line.startsWith("args:")) {
                String arguments = line.substring(5).strip();
                command.addAll(
                        List.of(arguments.replace("@DIR@", directory.toString()).split(" ")));
            }
        }
        command.addAll(List.of("--chardev", "stdio,id=m", "--monitor", "m"));
        Process daemon =
                new ProcessBuilder(command)
                        .redirectError(directory.resolve("stderr").toFile())
                        .start();
        try (Writer out = daemon.outputWriter(StandardCharsets.UTF_8);
                BufferedReader in = daemon.inputReader(StandardCharsets.UTF_8)) {
            for (int i = 0; i < lines.size(); i++) {
                String line = lines.get(i);
                if (line.startsWith("->")) {
                    out.write(line.substring(2).stripLeading() + "\n");
                    out.flush();
                } else if (line.startsWith("<-")) {
                    expect(transcript, i, line.substring(2), in.readLine());
                }
            }
            daemon.destroy();
            assertTrue(daemon.waitFor(60, TimeUnit.SECONDS), "does not end");
            assertEquals(0, daemon.exitValue(), "exit status");
        } finally {
            daemon.destroyForcibly();
        }
    }

    private void expect(Path transcript, int index, String expected, String received)
            throws IOException {
        String where = transcript.getFileName() + ":" + (index + 1) + ": ";
        if (received == null) {
            throw new AssertionError(
                    where + "the stream ended\n" + Files.readString(directory.resolve("stderr")));
        }
        JsonNode wanted = JSON.readTree(expected);
        if (!matches(wanted, JSON.readTree(received))) {
            assertEquals(wanted.toString(), received, where + "differs");
        }
    }

    private static boolean matches(JsonNode wanted, JsonNode received) {
        if (wanted.isTextual() && wanted.textValue().endsWith("~")) {
            String start = wanted.textValue().substring(0, wanted.textValue().length() - 1);
            return start.isEmpty()
                    || received.isTextual() && received.textValue().startsWith(start);
        } else if (wanted.isObject() && received.isObject()) {
            return wanted.size() == received.size()
                    && wanted.properties().stream()
                            .allMatch(
                                    member ->
                                            received.has(member.getKey())
                                                    && matches(
                                                            member.getValue(),
                                                            received.get(member.getKey())));
        } else if (wanted.isArray() && received.isArray()) {
            boolean same = wanted.size() == received.size();
            for (int i = 0; same && i < wanted.size(); i++) {
                same = matches(wanted.get(i), received.get(i));
            }
            return same;
        }
        return wanted.equals(received);
    }
}

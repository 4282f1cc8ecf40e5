package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * Sessions with a pair of daemons, in files {@code *.cases}, one case a line: a command with its
 * arguments; a request as it stands, if it begins with a brace; {@code event}, to wait for one;
 * {@code $} and a script, of which exit status and output are compared. {@code @DIR@} is a folder
 * of the daemon's own. A line that ends with {@code ~ID} is answered differently; the reply of ours
 * is on the next line, after {@code <-}.
 */
final class Sessions {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Pair pair;
    private final Deviations more;
    private final Deviations less;
    private final Deviations other;

    /**
     * Sessions with that pair.
     *
     * @param more members that only our answers have
     * @param less members that only theirs have
     * @param other answers that differ
     */
    Sessions(Pair pair, Deviations more, Deviations less, Deviations other) {
        this.pair = pair;
        this.more = more;
        this.less = less;
        this.other = other;
    }

    /** A line of a session, and what we answer if that differs. */
    private record Case(String text, String deviation, String ours) {
        String request() {
            if (text.startsWith("{")) {
                return text;
            }
            String[] words = text.split(" +", 2);
            return "{\"execute\":\"%s\",\"arguments\":%s}"
                    .formatted(words[0], words.length > 1 ? words[1] : "{}");
        }
    }

    /** All sessions in a folder, by files. */
    Stream<DynamicContainer> in(Path folder) throws IOException {
        List<Path> files;
        try (var all = Files.list(folder)) {
            files = all.filter(Files::isRegularFile).sorted().toList();
        }
        return files.stream()
                .map(
                        file ->
                                DynamicContainer.dynamicContainer(
                                        file.getFileName().toString(),
                                        cases(file).stream()
                                                .map(
                                                        one ->
                                                                DynamicTest.dynamicTest(
                                                                        one.text(),
                                                                        () -> compare(one)))));
    }

    private static List<Case> cases(Path file) {
        List<Case> cases = new ArrayList<>();
        List<String> lines;
        try {
            lines = Files.readAllLines(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
        for (int i = 0; i < lines.size(); i++) {
            String line = lines.get(i).strip();
            if (line.isEmpty() || line.startsWith("#") || line.startsWith("<-")) {
                continue;
            }
            int mark = line.lastIndexOf(" ~");
            if (mark < 0) {
                cases.add(new Case(line, "", ""));
            } else {
                cases.add(
                        new Case(
                                line.substring(0, mark).strip(),
                                line.substring(mark + 2),
                                lines.get(i + 1).substring(2).strip()));
            }
        }
        return cases;
    }

    /** Compares the answers to one request, which must be the same. */
    void compare(String request) throws IOException, InterruptedException {
        compare(new Case(request, "", ""));
    }

    private void compare(Case one) throws IOException, InterruptedException {
        if (one.text().startsWith("$")) {
            String script = one.text().substring(1).strip();
            assertEquals(pair.theirs().run(script), pair.ours().run(script));
        } else if (one.text().equals("event")) {
            assertEquals(pair.theirs().event(), pair.ours().event());
        } else {
            ArrayNode their = pair.theirs().call(one.request());
            ArrayNode our = pair.ours().call(one.request());
            without(more, our, command(one));
            without(less, their, command(one));
            if (one.deviation().isEmpty()) {
                assertEquals(their, our);
            } else {
                assertTrue(other.has(one.deviation()), one.deviation() + " is not in the table");
                assertEquals(JSON.readTree(one.ours()), our.get(our.size() - 1));
                assertNotEquals(their, our, "no deviation any more");
            }
        }
    }

    private static String command(Case one) throws IOException {
        return one.text().startsWith("{") ? "" : one.text().split(" ", 2)[0];
    }

    /** Takes the members away that only one of the two has. */
    private static void without(Deviations those, ArrayNode messages, String command) {
        for (String path : those.rows()) {
            if (path.startsWith(command + "/")) {
                List<String> names = List.of(path.substring(command.length() + 1).split("/"));
                if (removed(messages.get(messages.size() - 1).path("return"), names)) {
                    those.has(path);
                }
            }
        }
    }

    private static boolean removed(JsonNode node, List<String> path) {
        String name = path.getFirst();
        List<String> rest = path.subList(1, path.size());
        if (name.equals("[]")) {
            boolean any = false;
            for (JsonNode each : node) {
                any |= removed(each, rest);
            }
            return any;
        } else if (!rest.isEmpty()) {
            return removed(node.path(name), rest);
        }
        return node instanceof ObjectNode object && object.remove(name) != null;
    }
}

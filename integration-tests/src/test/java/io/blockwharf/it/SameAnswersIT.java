package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
import org.junit.jupiter.api.DynamicTest;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestFactory;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Our daemon and QEMU's, side by side: the same requests get the same answers and events. Where
 * they do not, a table in the README of this module says so, and why.
 *
 * <p>The cases are in {@code differential/*.cases}, one a line, in sessions: a command with its
 * arguments; a request as it stands, if it begins with a brace; {@code event}, to wait for one;
 * {@code $} and a script, of which exit status and output are compared. {@code @DIR@} is a folder
 * of the daemon's own. A line that ends with {@code ~ID} is answered differently; the reply of ours
 * is on the next line, after {@code <-}.
 */
@Timeout(300)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class SameAnswersIT {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Path CASES = Path.of("src/test/resources/differential");

    /** Members of later versions of QEMU, and our own. */
    private static final Deviations MORE = Deviations.under("### Members that 7.2 does not have");

    private static final Deviations LESS = Deviations.under("### Members that we do not have");

    private static final Deviations TYPES = Deviations.under("### Types that differ");

    private static final Deviations OTHER = Deviations.under("### Answers that differ");

    private static Pair pair;

    @TempDir static Path directory;

    @BeforeAll
    static void start() throws IOException {
        pair = new Pair(directory, List.of());
    }

    @AfterAll
    static void bothEnd() throws IOException {
        pair.close();
    }

    // --- Sessions ----------------------------------------------------------------------------

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

    @Order(1)
    @TestFactory
    Stream<DynamicContainer> sessions() throws IOException {
        List<Path> files;
        try (var all = Files.list(CASES)) {
            files = all.sorted().toList();
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

    private static void compare(Case one) throws IOException, InterruptedException {
        if (one.text().startsWith("$")) {
            String script = one.text().substring(1).strip();
            assertEquals(pair.theirs().run(script), pair.ours().run(script));
        } else if (one.text().equals("event")) {
            assertEquals(pair.theirs().event(), pair.ours().event());
        } else {
            ArrayNode their = pair.theirs().call(one.request());
            ArrayNode our = pair.ours().call(one.request());
            without(MORE, our, command(one));
            without(LESS, their, command(one));
            if (one.deviation().isEmpty()) {
                assertEquals(their, our);
            } else {
                assertTrue(OTHER.has(one.deviation()), one.deviation() + " is not in the table");
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

    // --- What the schema says ----------------------------------------------------------------

    @Order(2)
    @Test
    void whatTheSchemaTellsIsInQemusToo() throws IOException {
        SchemaComparison comparison =
                new SchemaComparison(pair.ours().schema(), pair.theirs().schema());

        comparison.commandsAndEvents();

        comparison.differences.removeIf(path -> MORE.has(path) || TYPES.has(path));
        assertEquals(Set.of(), comparison.differences);
    }

    @Order(3)
    @TestFactory
    Stream<DynamicTest> wrongArgumentsAreRefusedInTheSameWords() throws IOException {
        Map<String, JsonNode> theirs = pair.theirs().schema();
        Map<String, JsonNode> ours = pair.ours().schema();
        WrongArguments wrong = new WrongArguments(theirs, ours, OTHER);
        return theirs.keySet().stream()
                .filter(ours::containsKey)
                .filter(name -> theirs.get(name).get("meta-type").asText().equals("command"))
                // Takes nothing, and ends the daemon
                .filter(name -> !name.equals("quit"))
                .map(name -> DynamicTest.dynamicTest(name, () -> refused(name, wrong.of(name))));
    }

    private static void refused(String command, Set<JsonNode> all) {
        assertAll(
                all.stream()
                        .map(
                                arguments ->
                                        () ->
                                                compare(
                                                        new Case(
                                                                command + " " + arguments,
                                                                "",
                                                                ""))));
    }

    @Order(4)
    @Test
    void everyDeviationWasMet() {
        assertEquals(Set.of(), OTHER.notMet());
        assertEquals(Set.of(), MORE.notMet());
        assertEquals(Set.of(), LESS.notMet());
        assertEquals(Set.of(), TYPES.notMet());
    }
}

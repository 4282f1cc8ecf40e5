package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertAll;
import static org.junit.jupiter.api.Assertions.assertEquals;

import com.fasterxml.jackson.databind.JsonNode;

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
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Our daemon and QEMU's, side by side: the same requests get the same answers and events. Where
 * they do not, a table in the README of this module says so, and why.
 *
 * <p>QEMU's is the distribution's; what only later ones have is compared in {@link NewerAnswersIT}.
 */
@Timeout(300)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class SameAnswersIT {
    private static final Path CASES = Path.of("src/test/resources/differential");

    /** Members of later versions of QEMU, and our own. */
    private static final Deviations MORE = Deviations.under("### Members that 7.2 does not have");

    private static final Deviations LESS = Deviations.under("### Members that we do not have");

    private static final Deviations TYPES = Deviations.under("### Types that differ");

    private static final Deviations OTHER = Deviations.under("### Answers that differ");

    private static Pair pair;
    private static Sessions sessions;

    @TempDir static Path directory;

    @BeforeAll
    static void start() throws IOException {
        pair = new Pair("qemu-storage-daemon", directory, List.of());
        sessions = new Sessions(pair, MORE, LESS, OTHER);
    }

    @AfterAll
    static void bothEnd() throws IOException {
        pair.close();
    }

    // --- Sessions ----------------------------------------------------------------------------

    @Order(1)
    @TestFactory
    Stream<DynamicContainer> sessions() throws IOException {
        return sessions.in(CASES);
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
        assertAll(all.stream().map(arguments -> () -> sessions.compare(command + " " + arguments)));
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

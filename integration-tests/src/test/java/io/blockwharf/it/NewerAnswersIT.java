package io.blockwharf.it;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.it.process.NewerPeers;

import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.DynamicContainer;
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
import java.util.Set;
import java.util.stream.Stream;

/** Our daemon and that of QEMU 10, side by side, where the distribution's does not know enough. */
@Timeout(300)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class NewerAnswersIT {
    private static final Path CASES = Path.of("src/test/resources/differential/qemu10");

    private static final Deviations LEFT_OUT =
            Deviations.under("### Members that are not compared with QEMU 10.0's");

    private static final Deviations OTHER =
            Deviations.under("### Answers that differ from QEMU 10.0's");

    private static Pair pair;

    @TempDir static Path directory;

    @BeforeAll
    static void start() throws IOException {
        pair = new Pair(NewerPeers.program("qemu-storage-daemon"), directory, List.of());
    }

    @AfterAll
    static void bothEnd() throws IOException {
        pair.close();
    }

    @Order(1)
    @TestFactory
    Stream<DynamicContainer> sessions() throws IOException {
        return new Sessions(pair, LEFT_OUT, LEFT_OUT, OTHER).in(CASES);
    }

    @Order(2)
    @Test
    void everyDeviationWasMet() {
        assertEquals(Set.of(), OTHER.notMet());
        assertEquals(Set.of(), LEFT_OUT.notMet());
    }
}

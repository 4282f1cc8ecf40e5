package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.benchmarks.Report.Verdict;
import io.blockwharf.benchmarks.Row.Target;

import org.junit.jupiter.api.Test;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

class ReportTest {
    private static final Server OURS = Server.blockwharf(Path.of("/x"), "");
    private static final Server OURS_THREADS = Server.blockwharf(Path.of("/x"), "threads");
    private static final Server SLOW = Server.qemuStorageDaemon("threads", false);
    private static final Server FAST = Server.qemuStorageDaemon("io_uring", true);

    @Test
    void theDefaultConfigurationIsComparedWithTheFastestOfThePeer() {
        var samples = new LinkedHashMap<Server, List<Sample>>();
        samples.put(OURS, List.of(sample(400, 2), sample(100, 2), sample(500, 2)));
        samples.put(OURS_THREADS, List.of(sample(4000, 1)));
        samples.put(SLOW, List.of(sample(50, 1)));
        samples.put(FAST, List.of(sample(100, 8)));
        samples.put(Server.reference(true), List.of(sample(450, 1)));
        samples.put(Server.reference(false), List.of(sample(800, 1)));
        Row row = row(new Target.Throughput(Server.QSD, 4), new Target.Cpu(Server.QSD, 0.2));

        assertEquals(
                List.of(
                        new Verdict(
                                "id", "≥ 4.00× qemu-storage-daemon", "4.00×", true, "4.50×; 8.00×"),
                        new Verdict(
                                "id",
                                "CPU per request ≤ 0.20× qemu-storage-daemon",
                                "0.25×",
                                false,
                                "0.13×; 0.13×")),
                Report.verdicts(row, samples));
    }

    @Test
    void aTargetAgainstWhatDidNotRunIsMissed() {
        Row row = row(new Target.Throughput(Server.NBDKIT, 1));
        assertEquals(
                List.of(new Verdict("id", "≥ 1.00× nbdkit", "not measured", false)),
                Report.verdicts(row, Map.of(OURS, List.of(sample(1, 1)))));
    }

    @Test
    void theMedianOfAnEvenNumberIsTheMeanOfTheMiddleTwo() {
        assertEquals(2.5, Sample.median(new double[] {4, 1, 3, 2}));
    }

    @Test
    void everyRowHasAnIdOfItsOwn() {
        var ids = new HashSet<String>();
        for (Plan.Section section : Plan.of(Path.of("/x"))) {
            for (Row row : section.rows()) {
                assertTrue(ids.add(row.id()), row.id());
            }
        }
    }

    private static Row row(Target... targets) {
        return new Row(
                "id",
                Load.random(false, 16, Load.Client.PIPELINED),
                Row.Data.HOT,
                Row.Placement.PINNED,
                List.of(),
                List.of(targets));
    }

    private static Sample sample(long perSecond, long serverCpuMicros) {
        return new Sample(perSecond, 1_000_000_000, perSecond * serverCpuMicros * 1000, 0, 0, 0, 0);
    }
}

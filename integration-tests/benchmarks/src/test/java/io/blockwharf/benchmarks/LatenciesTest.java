package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LatenciesTest {
    @ParameterizedTest
    @ValueSource(
            longs = {
                0,
                1,
                63,
                64,
                127,
                128,
                4095,
                12_345,
                1_000_000,
                987_654_321_012L,
                Long.MAX_VALUE
            })
    void aBucketIsAtMost1point6PercentWide(long nanos) {
        var latencies = new Latencies();
        latencies.record(nanos);
        long found = latencies.percentile(0.5);
        assertTrue(found <= nanos && nanos - found <= nanos / 64, nanos + " was found as " + found);
    }

    @Test
    void percentilesAreRanks() {
        var latencies = new Latencies();
        for (int i = 1; i <= 100; i++) {
            latencies.record(i <= 98 ? 10 : i == 99 ? 20 : 30);
        }
        assertEquals(10, latencies.percentile(0.5));
        assertEquals(10, latencies.percentile(0.98));
        assertEquals(20, latencies.percentile(0.99));
        assertEquals(30, latencies.percentile(1));
    }

    @Test
    void withoutLatenciesThePercentileIsZero() {
        assertEquals(0, new Latencies().percentile(0.99));
    }

    @Test
    void aClockThatStepsBackCountsAsZero() {
        var latencies = new Latencies();
        latencies.record(-5);
        assertEquals(0, latencies.percentile(1));
    }
}

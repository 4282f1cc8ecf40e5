package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Against lines in the format of fio's HOWTO, "Terse output", version 3. */
class FioClientTest {
    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aTerseLineTellsRateLatencyAndCpu(boolean writes) {
        String idle = group(0, 0, 0, 0, 0);
        String busy = group(58_940, 14_720, 1001, 61, 127);
        String line =
                "3;fio-3.33;load;0;0;"
                        + (writes ? idle + busy : busy + idle)
                        + "4.000000%;40.500000%;14701;0;10;100.0%";

        Sample sample = FioClient.parse(line, writes);

        assertEquals(14_735, sample.requests());
        assertEquals(1_001_000_000, sample.nanos());
        assertEquals(61_000, sample.p50Nanos());
        assertEquals(127_000, sample.p99Nanos());
        assertEquals(445_445_000, sample.clientCpuNanos());
    }

    /**
     * Total, bandwidth, rate, time, 2 x 4 latencies, 20 percentiles, 4 latencies, 5 bandwidths: 41
     * fields.
     */
    private static String group(long kib, long perSecond, long millis, long median, long p99) {
        String percentiles =
                "1.0%=1;".repeat(6) + "50.000000%=" + median + ";" + "60.0%=1;".repeat(5);
        percentiles += "99.000000%=" + p99 + ";" + "99.9%=1;".repeat(7);
        return kib
                + ";1;"
                + perSecond
                + ";"
                + millis
                + ";"
                + "0;".repeat(8)
                + percentiles
                + "0;".repeat(9);
    }
}

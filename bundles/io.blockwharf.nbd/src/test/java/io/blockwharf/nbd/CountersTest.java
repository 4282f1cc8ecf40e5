package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;

/** Counts and times as queries show them. */
class CountersTest {
    @ParameterizedTest(name = "{0} ns is in the bin from {1} to {2}")
    @CsvSource(
            nullValues = "-",
            textBlock =
                    """
                    -1,                  -,           1024
                    0,                   -,           1024
                    1023,                -,           1024
                    1024,                1024,        2048
                    2047,                1024,        2048
                    2048,                2048,        4096
                    1000000,             524288,      1048576
                    17179869183,         8589934592,  17179869184
                    17179869184,         17179869184, -
                    9223372036854775807, 17179869184, -
                    """)
    void timesAreCountedInPowersOfTwo(long nanos, Long from, Long to) {
        Counters counters = new Counters();
        counters.took(Counters.WRITE, nanos, 3);
        NbdLatency.Histogram write = counters.snapshot().latency().write();
        int bin = write.bins().indexOf(3L);
        List<Long> boundaries = write.boundaries();
        assertEquals(boundaries.size() + 1, write.bins().size());
        assertEquals(from, bin == 0 ? null : boundaries.get(bin - 1));
        assertEquals(to, bin == boundaries.size() ? null : boundaries.get(bin));
        assertEquals(3, write.bins().stream().mapToLong(n -> n).sum());
    }

    @Test
    void kindsAreCountedApart() {
        Counters counters = new Counters();
        counters.took(Counters.READ, 0, 1);
        counters.took(Counters.WRITE, 0, 2);
        counters.took(Counters.OTHER, 0, 4);
        NbdLatency latency = counters.snapshot().latency();
        assertEquals(1, latency.read().bins().getFirst());
        assertEquals(2, latency.write().bins().getFirst());
        assertEquals(4, latency.other().bins().getFirst());
    }

    @Test
    void sumsOfTwoClients() {
        Counters a = new Counters();
        a.reads = 1;
        a.bytesWritten = 10;
        a.took(Counters.READ, 5000, 1);
        Counters b = new Counters();
        b.reads = 2;
        b.errors = 4;
        b.took(Counters.READ, 5000, 2);
        Counters.Snapshot sum = a.snapshot().plus(b.snapshot());
        assertEquals(3, sum.reads());
        assertEquals(10, sum.bytesWritten());
        assertEquals(4, sum.errors());
        assertEquals(3, sum.latency().read().bins().get(3));
        assertEquals(1, a.snapshot().latency().read().bins().get(3));
    }
}

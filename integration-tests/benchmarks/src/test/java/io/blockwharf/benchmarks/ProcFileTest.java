package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class ProcFileTest {
    @Test
    void cpuTimeIsUserPlusSystemWhateverTheProgramIsCalled() {
        String stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 130 70 999 999 20 0 1";
        assertEquals(2_000_000_000L, ProcFile.cpuNanos(stat));
    }

    @Test
    void residentMemoryIsInTheStatusFile() {
        assertEquals(
                41_234,
                ProcFile.residentKib("Name:\tjava\nVmHWM:\t  50000 kB\nVmRSS:\t   41234 kB\n"));
    }

    @Test
    void aMissingKeyHasAnEmptyValue() {
        assertEquals("", ProcFile.value("a: b\n", "c"));
    }
}

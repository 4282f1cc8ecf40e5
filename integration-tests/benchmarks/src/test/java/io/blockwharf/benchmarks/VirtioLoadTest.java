package io.blockwharf.benchmarks;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;

class VirtioLoadTest {
    /** The order in which {@code virtio-load.c} prints its figures. */
    @Test
    void theDriversLineIsASample() {
        assertEquals(
                new Sample(10, 2000, 400, 300, 50, 60, 70),
                VirtioLoad.parse("10 2000 300 400 50 60 70"));
    }
}

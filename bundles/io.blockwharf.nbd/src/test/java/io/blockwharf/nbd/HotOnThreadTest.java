package io.blockwharf.nbd;

/** A thread of its own, everything in memory. */
class HotOnThreadTest extends TransmissionTest {
    HotOnThreadTest() {
        super(false, false);
    }
}

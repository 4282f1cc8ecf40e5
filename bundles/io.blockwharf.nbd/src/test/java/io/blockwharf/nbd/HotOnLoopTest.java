package io.blockwharf.nbd;

/** An iothread, everything in memory. */
class HotOnLoopTest extends TransmissionTest {
    HotOnLoopTest() {
        super(true, false);
    }
}

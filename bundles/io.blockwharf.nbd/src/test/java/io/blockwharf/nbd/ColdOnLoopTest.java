package io.blockwharf.nbd;

/** An iothread, everything on a slow device. */
class ColdOnLoopTest extends TransmissionTest {
    ColdOnLoopTest() {
        super(true, true);
    }
}

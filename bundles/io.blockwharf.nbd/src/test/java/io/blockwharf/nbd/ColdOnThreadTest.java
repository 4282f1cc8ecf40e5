package io.blockwharf.nbd;

/** A thread of its own, everything on a slow device. */
class ColdOnThreadTest extends TransmissionTest {
    ColdOnThreadTest() {
        super(false, true);
    }
}

package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.lang.foreign.Arena;

class DoorbellTest {
    /** Another descriptor of the same file, as a peer has it. */
    private static int duplicate(int fd) throws LinuxException {
        return LinuxException.check(Libc.dup2(fd, EventFd.open().fd()), "dup2");
    }

    @Test
    void everyRingCounts() throws Exception {
        try (var peer = EventFd.open();
                var bell = Doorbell.of(duplicate(peer.fd()))) {
            bell.ring();
            assertEquals(1, peer.clear());
            for (int i = 0; i < 1000; i++) {
                bell.ring();
            }
            assertEquals(1000, peer.clear());
        }
    }

    /** What a write(2) to the descriptor would wait for forever. */
    @Test
    @Timeout(60)
    void aPeerCannotHoldUpWhoRings() throws Exception {
        try (var peer = EventFd.open();
                var bell = Doorbell.of(duplicate(peer.fd()));
                var arena = Arena.ofConfined()) {
            var full = arena.allocateFrom(JAVA_LONG, -2L);
            peer.blocking(true);
            assertEquals(8, HotCalls.write(peer.fd(), full.address(), 8));
            bell.ring();
            bell.ring();
            assertTrue(peer.clear() != 0);
            bell.ring();
            assertEquals(1, peer.clear());
        }
    }

    @Test
    void onlyAnEventfdIsADoorbell() throws Exception {
        try (var file = MemFd.create("no eventfd", 4096)) {
            int fd = duplicate(file.fd());
            assertTrue(assertThrows(LinuxException.class, () -> Doorbell.of(fd)).is(Errnos.EINVAL));
        }
    }
}

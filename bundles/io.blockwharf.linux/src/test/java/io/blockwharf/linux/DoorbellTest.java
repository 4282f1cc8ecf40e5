package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.function.Executable;

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

    /** An epoll descriptor looks at what it waits for when it is waited for itself. */
    @Test
    void onlyAnEventfdIsADoorbell() throws Exception {
        try (var file = MemFd.create("no eventfd", 4096);
                var set = new Epoll(1)) {
            for (int other : new int[] {file.fd(), set.fd()}) {
                int fd = duplicate(other);
                assertRefused(() -> Doorbell.of(fd));
                int another = duplicate(other);
                assertRefused(() -> EventFd.of(another));
            }
        }
    }

    private static void assertRefused(Executable taking) {
        LinuxException refusal = assertThrows(LinuxException.class, taking);
        assertTrue(refusal.is(Errnos.EINVAL));
        assertEquals("The descriptor is no eventfd", refusal.getMessage());
    }
}

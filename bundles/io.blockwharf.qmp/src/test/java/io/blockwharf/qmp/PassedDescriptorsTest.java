package io.blockwharf.qmp;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.linux.Descriptor;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ReceivedDescriptors;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/** Which request a descriptor is for. */
class PassedDescriptorsTest {
    private final PassedDescriptors passed = new PassedDescriptors();
    private FdSocket[] pair;

    @BeforeEach
    void open() throws LinuxException {
        pair = FdSocket.pair();
    }

    @AfterEach
    void close() {
        pair[0].close();
        pair[1].close();
    }

    private Descriptor descriptor() throws LinuxException {
        try (ReceivedDescriptors received = new ReceivedDescriptors()) {
            MemorySegment segment = Arena.ofAuto().allocate(1);
            pair[0].sendWithDescriptors(segment, 0, 1, pair[0].fd());
            pair[1].receiveWithDescriptors(segment, 0, 1, 0, received);
            return received.takeOwned(0);
        }
    }

    private static boolean isOpen(Descriptor descriptor) {
        return descriptor.fd() >= 0;
    }

    @Test
    void eachRequestGetsWhatCameWithIt() throws LinuxException {
        Descriptor a = descriptor();
        Descriptor b = descriptor();
        passed.add(a);
        long first = passed.mark();
        passed.add(b);
        long second = passed.mark();
        assertSame(a, passed.claim(first).orElseThrow());
        assertSame(b, passed.claim(second).orElseThrow());
        assertEquals(Optional.empty(), passed.claim(second));
        a.close();
        b.close();
    }

    @Test
    void itMayComeBeforeItsRequest() throws LinuxException {
        Descriptor a = descriptor();
        passed.add(a);
        passed.mark(); // a request that does not want it
        assertSame(a, passed.claim(passed.mark()).orElseThrow());
        a.close();
    }

    @Test
    void whatNobodyClaimsIsClosedWhenTheNextOneComes() throws LinuxException {
        Descriptor a = descriptor();
        Descriptor b = descriptor();
        Descriptor c = descriptor();
        passed.add(a);
        passed.add(b);
        assertTrue(!isOpen(a) && isOpen(b));
        long unconcerned = passed.mark();
        passed.add(c);
        passed.settle(unconcerned);
        assertTrue(isOpen(b));
        passed.settle(passed.mark());
        assertTrue(!isOpen(b) && isOpen(c));
        passed.close();
        assertTrue(!isOpen(c));
        Descriptor late = descriptor();
        passed.add(late);
        assertTrue(!isOpen(late));
    }
}

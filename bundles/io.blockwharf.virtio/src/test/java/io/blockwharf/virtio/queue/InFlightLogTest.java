package io.blockwharf.virtio.queue;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** vhost-user specification, "Inflight I/O tracking". */
class InFlightLogTest {
    private final MemorySegment region = Arena.ofAuto().allocate(InFlightLog.byteSize(8), 64);

    @Test
    void whatWasTakenAndNotGivenBackIsPendingInItsOrder() throws Exception {
        var log = InFlightLog.open(region, 8, 0);
        log.taken(5);
        log.taken(2);
        log.taken(7);
        log.completing(2);
        log.publishing();
        log.published(1);
        log.taken(0);

        assertEquals(List.of(5, 7, 0), InFlightLog.open(region, 8, 1).pending());
    }

    @Test
    void deathBeforePublishingLeavesTheBatchPending() throws Exception {
        var log = InFlightLog.open(region, 8, 0);
        log.taken(1);
        log.taken(2);
        log.completing(1);
        log.completing(2);
        log.publishing();

        assertEquals(List.of(1, 2), InFlightLog.open(region, 8, 0).pending());
    }

    @Test
    void deathRightAfterPublishingDoesNotExecuteTwice() throws Exception {
        var log = InFlightLog.open(region, 8, 0);
        for (int head : new int[] {1, 2, 3, 4}) {
            log.taken(head);
        }
        log.completing(3);
        log.completing(1);
        log.completing(2);
        log.publishing();
        // The used ring shows index 3; the process died before it could say so in the log.

        var next = InFlightLog.open(region, 8, 3);
        assertEquals(List.of(4), next.pending());
        next.completing(4);
        next.publishing();
        next.published(4);
        assertEquals(List.of(), InFlightLog.open(region, 8, 4).pending());
    }

    @Test
    void aLogOfAnotherQueueIsRefused() throws Exception {
        InFlightLog.open(region, 8, 0);

        assertThrows(VirtqueueException.class, () -> InFlightLog.open(region, 4, 0));
        assertThrows(VirtqueueException.class, () -> InFlightLog.open(region, 16, 0));
    }

    @Test
    void aHostileLogTerminates() throws Exception {
        InFlightLog.open(region, 8, 0);
        region.asSlice(12).fill((byte) 0x01); // heads and links everywhere, all of them loops

        InFlightLog.open(region, 8, 0x4321).pending();
        region.asSlice(12).fill((byte) 0xff);
        InFlightLog.open(region, 8, 0).pending();
    }
}

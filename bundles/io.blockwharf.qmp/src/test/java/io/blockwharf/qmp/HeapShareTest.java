package io.blockwharf.qmp;

import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.util.concurrent.CompletableFuture;

@Timeout(60)
class HeapShareTest {
    @Test
    void anotherSessionWaitsUntilTheFirstHasGivenItBack() throws Exception {
        HeapShare first = new HeapShare();
        HeapShare second = new HeapShare();
        assertTrue(first.take());
        CompletableFuture<Boolean> taken = new CompletableFuture<>();
        Thread waiting = Thread.ofPlatform().start(() -> taken.complete(second.take()));
        while (waiting.getState() != Thread.State.TIMED_WAITING) {
            assertFalse(taken.isDone());
            Thread.onSpinWait();
        }
        first.giveBack();
        assertTrue(taken.get());
        first.giveBack(); // not what the second has
        Thread.currentThread().interrupt();
        assertFalse(first.take());
        assertTrue(Thread.interrupted());
        second.giveBack();
    }

    @Test
    void onlyWhatWasReadWithItHasIt() {
        HeapShare share = new HeapShare();
        assertFalse(share.read());
        assertTrue(share.take());
        assertTrue(share.read());
        assertFalse(share.read());
        share.giveBack();
    }
}

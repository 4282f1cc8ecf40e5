package io.blockwharf.virtio.blk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;

class RequestBudgetTest {
    private static int takeAll(RequestBudget.Share share) {
        int count = 0;
        for (; share.hasMore(); count++) {
            share.take();
        }
        return count;
    }

    @Test
    void aDeviceLeavesAsMuchToTheOthers() {
        var budget = new RequestBudget(1000);
        var first = budget.share();
        var second = budget.share();
        assertEquals(500, takeAll(first));
        assertEquals(250, takeAll(second));
        assertEquals(125, takeAll(budget.share()));
        first.giveBack(500);
        second.giveBack(250);
        assertTrue(takeAll(second) > 400);
    }
}

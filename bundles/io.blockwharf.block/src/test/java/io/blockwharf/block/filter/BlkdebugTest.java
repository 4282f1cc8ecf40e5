package io.blockwharf.block.filter;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugEvent;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugIOType;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugInjectErrorOptions;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugSetStateOptions;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.List;
import java.util.Optional;

/** QEMU's docs/devel/testing/blkdebug: events, states and errors. */
class BlkdebugTest {
    private static BlkdebugInjectErrorOptions error(
            BlkdebugEvent event, Long state, BlkdebugIOType type, Long errno, Long sector) {
        return new BlkdebugInjectErrorOptions(
                event,
                Optional.ofNullable(state),
                Optional.ofNullable(type),
                Optional.ofNullable(errno),
                Optional.ofNullable(sector),
                Optional.empty(),
                Optional.empty());
    }

    private static Errno result(BlkdebugRules rules, BlkdebugIOType type, long offset, long n) {
        try {
            rules.check(type, offset, n);
            return Errno.OK;
        } catch (BlockIoException e) {
            return e.errno();
        }
    }

    @ParameterizedTest(name = "rule for {0} at sector {1}, {2} {3}+{4}: {5}")
    @CsvSource({
        ", , READ, 0, 512, EIO",
        ", , FLUSH, 0, 0, EIO",
        ", , BLOCK_STATUS, 0, 512, OK",
        "BLOCK_STATUS, , BLOCK_STATUS, 0, 512, EIO",
        "WRITE, , READ, 0, 512, OK",
        "WRITE, , WRITE, 0, 512, EIO",
        ", 2, READ, 0, 1024, OK",
        ", 2, READ, 1024, 512, EIO",
        ", 2, READ, 512, 4096, EIO",
        ", 2, READ, 1536, 512, OK",
        ", 2, FLUSH, 0, 0, OK",
        ", -1, DISCARD, 4096, 512, EIO"
    })
    void whatFails(
            BlkdebugIOType of, Long sector, BlkdebugIOType type, long offset, long n, Errno errno) {
        BlkdebugRules rules =
                new BlkdebugRules(
                        List.of(error(BlkdebugEvent.NONE, null, of, null, sector)), List.of());
        assertEquals(errno, result(rules, type, offset, n));
    }

    @Test
    void aRuleOfAnEventTakesEffectWithIt() {
        BlkdebugRules rules =
                new BlkdebugRules(
                        List.of(error(BlkdebugEvent.WRITE_AIO, null, null, 28L, null)), List.of());
        assertEquals(Errno.OK, result(rules, BlkdebugIOType.READ, 0, 512));
        rules.happened(BlkdebugEvent.WRITE_AIO);
        assertEquals(Errno.ENOSPC, result(rules, BlkdebugIOType.WRITE, 0, 512));
        assertEquals(Errno.ENOSPC, result(rules, BlkdebugIOType.READ, 0, 512));
    }

    @Test
    void aStateIsReachedThroughAnEvent() {
        BlkdebugRules rules =
                new BlkdebugRules(
                        List.of(error(BlkdebugEvent.READ_AIO, 2L, null, null, null)),
                        List.of(
                                new BlkdebugSetStateOptions(
                                        BlkdebugEvent.FLUSH_TO_DISK, Optional.of(1L), 2)));
        rules.happened(BlkdebugEvent.READ_AIO);
        assertEquals(Errno.OK, result(rules, BlkdebugIOType.READ, 0, 512));
        rules.happened(BlkdebugEvent.FLUSH_TO_DISK);
        rules.happened(BlkdebugEvent.READ_AIO);
        assertEquals(Errno.EIO, result(rules, BlkdebugIOType.READ, 0, 512));
    }

    @Test
    void aRuleMayHoldOnce() {
        BlkdebugInjectErrorOptions once =
                new BlkdebugInjectErrorOptions(
                        BlkdebugEvent.READ_AIO,
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.empty(),
                        Optional.of(true),
                        Optional.empty());
        BlkdebugRules rules = new BlkdebugRules(List.of(once), List.of());
        rules.happened(BlkdebugEvent.READ_AIO);
        assertThrows(BlockIoException.class, () -> rules.check(BlkdebugIOType.READ, 0, 512));
        rules.happened(BlkdebugEvent.READ_AIO);
        assertDoesNotThrow(() -> rules.check(BlkdebugIOType.READ, 0, 512));
    }
}

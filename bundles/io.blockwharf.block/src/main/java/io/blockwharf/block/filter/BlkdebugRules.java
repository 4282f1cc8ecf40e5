package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugEvent;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugIOType;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugInjectErrorOptions;
import io.blockwharf.block.filter.BlkdebugOptions.BlkdebugSetStateOptions;

import java.util.List;
import java.util.stream.Stream;

/**
 * The state machine of a {@code blkdebug} node: QEMU's docs/devel/testing/blkdebug. Any number of
 * threads.
 */
final class BlkdebugRules {
    private static final long ANY_STATE = 0;
    private static final long FIRST_STATE = 1;
    private static final int SECTOR = 512;

    private final List<BlkdebugInjectErrorOptions> errors;
    private final List<BlkdebugSetStateOptions> changes;

    // Guarded by this

    /** Rules in effect; those with {@code once} go when they have failed a request. */
    private List<BlkdebugInjectErrorOptions> effective = List.of();

    private List<BlkdebugInjectErrorOptions> spent = List.of();
    private long state = FIRST_STATE;

    /** Rules of a node that is opened now. */
    BlkdebugRules(List<BlkdebugInjectErrorOptions> errors, List<BlkdebugSetStateOptions> changes) {
        this.errors = List.copyOf(errors);
        this.changes = List.copyOf(changes);
        happened(BlkdebugEvent.NONE);
    }

    /** Whether no request can ever fail. */
    boolean empty() {
        return errors.isEmpty();
    }

    /** Makes rules effective that waited for an event, and changes the state. */
    synchronized void happened(BlkdebugEvent event) {
        long before = state;
        List<BlkdebugInjectErrorOptions> now =
                errors.stream()
                        .filter(rule -> rule.event() == event)
                        .filter(rule -> fits(rule.state().orElse(ANY_STATE), before))
                        .filter(rule -> spent.stream().noneMatch(gone -> gone == rule))
                        .toList();
        if (!now.isEmpty()) {
            effective = now;
        }
        for (BlkdebugSetStateOptions change : changes) {
            if (change.event() == event && fits(change.state().orElse(ANY_STATE), before)) {
                state = change.newState();
            }
        }
    }

    private static boolean fits(long wanted, long state) {
        return wanted == ANY_STATE || wanted == state;
    }

    /**
     * Fails a request if a rule in effect says so.
     *
     * @param length bytes, 0 for a flush
     */
    synchronized void check(BlkdebugIOType type, long offset, long length) throws BlockIoException {
        for (BlkdebugInjectErrorOptions rule : effective) {
            if (matches(rule, type, offset, length)) {
                if (rule.once().orElse(false)) {
                    effective = without(effective, rule);
                    spent = Stream.concat(spent.stream(), Stream.of(rule)).toList();
                }
                Errno errno =
                        rule.errno()
                                .map(number -> Errno.of(Math.abs(number.intValue())))
                                .orElse(Errno.EIO);
                if (errno == Errno.OK) {
                    return;
                }
                throw new BlockIoException(errno, "error injected by blkdebug");
            }
        }
    }

    private static List<BlkdebugInjectErrorOptions> without(
            List<BlkdebugInjectErrorOptions> rules, BlkdebugInjectErrorOptions gone) {
        return rules.stream().filter(rule -> rule != gone).toList();
    }

    private static boolean matches(
            BlkdebugInjectErrorOptions rule, BlkdebugIOType type, long offset, long length) {
        boolean typeFits =
                rule.iotype().map(t -> t == type).orElse(type != BlkdebugIOType.BLOCK_STATUS);
        long sector = rule.sector().orElse(-1L);
        long position = sector * SECTOR;
        return typeFits && (sector < 0 || position >= offset && position - offset < length);
    }
}

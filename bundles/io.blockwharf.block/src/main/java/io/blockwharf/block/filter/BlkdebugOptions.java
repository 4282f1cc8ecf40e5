package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockdevRef;
import io.blockwharf.api.qmp.WireName;

import java.util.List;
import java.util.Optional;

/**
 * QAPI {@code BlockdevOptionsBlkdebug}, as far as it is about requests.
 *
 * @param image the node
 * @param align the alignment that requests must have, a power of two
 * @param maxTransfer bound of one read or write in bytes, a multiple of the alignment
 * @param injectError which requests fail
 * @param setState which requests change the state
 */
public record BlkdebugOptions(
        BlockdevRef image,
        Optional<Long> align,
        Optional<Integer> maxTransfer,
        Optional<List<BlkdebugInjectErrorOptions>> injectError,
        Optional<List<BlkdebugSetStateOptions>> setState) {

    /**
     * QAPI {@code BlkdebugEvent}: what a request begins with. QEMU has more of them, which format
     * drivers tell of their metadata.
     */
    public enum BlkdebugEvent {
        /** A read. */
        @WireName("read_aio")
        READ_AIO,
        /** A write. */
        @WireName("write_aio")
        WRITE_AIO,
        /** A flush. */
        @WireName("flush_to_os")
        FLUSH_TO_OS,
        /** The same, right after it. */
        @WireName("flush_to_disk")
        FLUSH_TO_DISK,
        /** A write, right after {@link #WRITE_AIO}. */
        PWRITEV,
        /** Zeroes are made. */
        @WireName("pwritev_zero")
        PWRITEV_ZERO,
        /** The node is opened. */
        NONE
    }

    /** QAPI {@code BlkdebugIOType}. */
    public enum BlkdebugIOType {
        /** Reads. */
        READ,
        /** Writes. */
        WRITE,
        /** Making zeroes. */
        WRITE_ZEROES,
        /** Discards. */
        DISCARD,
        /** Flushes. */
        FLUSH,
        /** Asking for the block status. */
        BLOCK_STATUS
    }

    /**
     * QAPI {@code BlkdebugInjectErrorOptions}.
     *
     * @param event what makes the rule effective, until another one becomes so
     * @param state only in this state; 0: in any (default)
     * @param iotype which requests fail (default: all but block status)
     * @param errno Linux's error number (default EIO)
     * @param sector only requests that touch this sector of 512 bytes; negative: all (default)
     * @param once whether the rule is spent then
     * @param immediately whether the request fails before anything else: always so here
     */
    public record BlkdebugInjectErrorOptions(
            BlkdebugEvent event,
            Optional<Long> state,
            Optional<BlkdebugIOType> iotype,
            Optional<Long> errno,
            Optional<Long> sector,
            Optional<Boolean> once,
            Optional<Boolean> immediately) {}

    /**
     * QAPI {@code BlkdebugSetStateOptions}.
     *
     * @param event what changes the state
     * @param state only in this state; 0: in any (default)
     * @param newState the state that follows
     */
    public record BlkdebugSetStateOptions(
            BlkdebugEvent event, Optional<Long> state, @WireName("new_state") long newState) {}
}

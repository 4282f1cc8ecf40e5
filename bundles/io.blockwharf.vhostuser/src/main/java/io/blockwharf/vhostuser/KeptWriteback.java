package io.blockwharf.vhostuser;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.util.Optional;

/**
 * What the driver has written to {@code writeback}, kept behind the vrings' logs in the memory that
 * the front end holds for us ("Inflight I/O tracking"): front ends do not repeat SET_CONFIG to the
 * next process, and the driver, which has switched its write cache off, flushes no more.
 *
 * <p>The memory may be the work of another back end, or of a hostile front end, which gets the
 * cache that it asks for. Used by the session's thread; access throws an {@link InternalError} if
 * the front end has truncated the memory.
 */
final class KeptWriteback {
    /** How much room it takes in bytes: a line of its own, so that no log shares it. */
    static final int BYTES = 64;

    private static final ValueLayout.OfLong U64 =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    // One store tells all, whenever the process is killed
    private static final long OFF = 0x303d_6563_772d_7762L; // "bw-wce=0"
    private static final long ON = 0x313d_6563_772d_7762L; // "bw-wce=1"

    private final MemorySegment at;

    private KeptWriteback(MemorySegment at) {
        this.at = at;
    }

    /**
     * Makes one.
     *
     * @param all the memory, which ends with the room for it
     */
    static KeptWriteback create(MemorySegment all, boolean writeback) {
        var made = new KeptWriteback(all.asSlice(all.byteSize() - BYTES));
        made.keep(writeback);
        return made;
    }

    /**
     * The one that an earlier process has made.
     *
     * @param logs how many bytes the vrings' logs take if we have laid them out
     */
    static Optional<KeptWriteback> find(MemorySegment all, long logs) {
        if (all.byteSize() != logs + BYTES) {
            return Optional.empty();
        }
        long mark = all.get(U64, logs);
        return mark == OFF || mark == ON
                ? Optional.of(new KeptWriteback(all.asSlice(logs)))
                : Optional.empty();
    }

    /** What the driver has written last, or the default. */
    boolean writeback() {
        return at.get(U64, 0) != OFF;
    }

    /** From now on the next process finds this. */
    void keep(boolean writeback) {
        at.set(U64, 0, writeback ? ON : OFF);
    }
}

package io.blockwharf.virtio.queue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.nio.ByteOrder;

/**
 * Little-endian words in shared memory (VIRTIO 1.3 section 1.4). The plain accessors bear any
 * alignment, for tables whose address the driver chooses freely; the {@code VarHandle}s need
 * natural alignment and are used on the rings, whose addresses are checked.
 */
final class Le {
    static final ValueLayout.OfLong U64 =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfInt U32 =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final ValueLayout.OfShort U16 =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    static final VarHandle ATOMIC_16 =
            ValueLayout.JAVA_SHORT.withOrder(ByteOrder.LITTLE_ENDIAN).varHandle();
    static final VarHandle ATOMIC_64 =
            ValueLayout.JAVA_LONG.withOrder(ByteOrder.LITTLE_ENDIAN).varHandle();

    private Le() {}

    /**
     * Stores 16 bits that whoever sees them sees together with all that was stored before.
     *
     * <p>A plain store behind a barrier, although there are release stores: until they are compiled
     * those are an exchange of 16 bits in the virtual machine, which (JDK 25, x86) ends itself
     * instead of throwing an {@link InternalError} when the memory is gone because its owner has
     * truncated it.
     *
     * @param offset a multiple of 2
     */
    static void release16(MemorySegment memory, long offset, short value) {
        VarHandle.releaseFence();
        memory.set(U16, offset, value);
    }
}

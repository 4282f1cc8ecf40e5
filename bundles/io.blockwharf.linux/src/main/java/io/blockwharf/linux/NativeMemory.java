package io.blockwharf.linux;

import java.lang.foreign.MemorySegment;

/**
 * Memory outside the heap that its owner gives back, by malloc(3). A shared arena of the JDK has
 * every thread of the process stop when it is closed: with a thousand clients, a thousand threads,
 * and their ends take minutes. Here nothing checks that nobody uses the memory any more, so the
 * owner forgets the segment when it closes this. Not thread-safe.
 */
public final class NativeMemory implements AutoCloseable {
    private final MemorySegment segment;
    private long address;

    private NativeMemory(long address, MemorySegment segment) {
        this.address = address;
        this.segment = segment;
    }

    /**
     * Zeroed memory.
     *
     * @param alignment a power of two
     * @throws OutOfMemoryError if there is none
     */
    @SuppressWarnings("restricted")
    public static NativeMemory allocate(long bytes, long alignment) {
        long address = Libc.calloc(1, Math.addExact(bytes, alignment - 1));
        if (address == 0) {
            throw new OutOfMemoryError("no " + bytes + " bytes of native memory");
        }
        long aligned = address + alignment - 1 & -alignment;
        return new NativeMemory(address, MemorySegment.ofAddress(aligned).reinterpret(bytes));
    }

    /** All of it, as long as this is not closed. */
    public MemorySegment segment() {
        return segment;
    }

    /** Idempotent. */
    @Override
    public void close() {
        if (address != 0) {
            Libc.free(address);
            address = 0;
        }
    }
}

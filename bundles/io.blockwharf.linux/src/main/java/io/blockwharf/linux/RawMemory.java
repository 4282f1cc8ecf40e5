package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.Objects;

/**
 * Native memory by address. The calls take addresses as {@code long} (measured: a segment argument
 * or a JNA {@code Pointer} costs more), so this is the one place where segments become addresses,
 * after the checks that the JDK would have made.
 */
final class RawMemory {
    /** All of the address space; an address is an offset in it. */
    @SuppressWarnings("restricted")
    static final MemorySegment ALL = MemorySegment.NULL.reinterpret(Long.MAX_VALUE);

    private RawMemory() {}

    /**
     * The address of {@code length} bytes at {@code offset} of a native segment that is alive now.
     * That it stays alive until the call returns is the caller's part.
     *
     * @throws IndexOutOfBoundsException if the range is not inside the segment
     * @throws IllegalArgumentException if the segment is on the heap
     * @throws IllegalStateException if the segment's arena has been closed
     */
    static long address(MemorySegment segment, long offset, long length) {
        Objects.checkFromIndexSize(offset, length, segment.byteSize());
        if (!segment.isNative()) {
            throw new IllegalArgumentException("a native segment is needed");
        }
        if (!segment.scope().isAlive()) {
            throw new IllegalStateException("the segment's arena has been closed");
        }
        return segment.address() + offset;
    }

    /** Memory for the argument of one rare call, zeroed. */
    static MemorySegment argument(Arena arena, long bytes) {
        return arena.allocate(bytes, 8);
    }

    /** The NUL-terminated UTF-8 string at {@code address}, empty for address 0. */
    static String string(long address) {
        if (address == 0) {
            return "";
        }
        int length = 0;
        while (ALL.get(JAVA_BYTE, address + length) != 0) {
            length++;
        }
        return string(address, length);
    }

    /** {@code length} bytes of UTF-8 at {@code address}. */
    static String string(long address, int length) {
        byte[] bytes = new byte[length];
        MemorySegment.copy(ALL, JAVA_BYTE, address, bytes, 0, length);
        return new String(bytes, StandardCharsets.UTF_8);
    }
}

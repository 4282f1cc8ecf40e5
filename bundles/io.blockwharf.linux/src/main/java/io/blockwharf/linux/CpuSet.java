package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.BitSet;

/** The processors that a thread may run on (sched_setaffinity(2)). */
public final class CpuSet {
    /** As many as the C library's cpu_set_t has. */
    private static final int MAX_CPUS = 1024;

    private CpuSet() {}

    /** The numbers of the processors that this thread may run on. */
    public static BitSet ofThisThread() throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = RawMemory.argument(arena, MAX_CPUS / 8);
            LinuxException.check(
                    Libc.sched_getaffinity(0, mask.byteSize(), mask.address()),
                    "sched_getaffinity");
            return BitSet.valueOf(mask.toArray(JAVA_BYTE));
        }
    }

    /** Keeps this platform thread, and threads that it starts from now on, on these processors. */
    public static void pinThisThread(BitSet cpus) throws LinuxException {
        byte[] bits = cpus.toByteArray();
        if (bits.length > MAX_CPUS / 8) {
            throw new LinuxException("sched_setaffinity", Errnos.EINVAL);
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment mask = RawMemory.argument(arena, MAX_CPUS / 8);
            MemorySegment.copy(bits, 0, mask, JAVA_BYTE, 0, bits.length);
            LinuxException.check(
                    Libc.sched_setaffinity(0, mask.byteSize(), mask.address()),
                    "sched_setaffinity");
        }
    }
}

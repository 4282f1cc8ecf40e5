package io.blockwharf.virtio.queue;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/** Guest memory for tests: two regions with a gap between them, and one that is read-only. */
public class SharedMemory extends GuestMemory {
    /** The driver's address of the first region. */
    public static final long BASE = 0x1_0000_0000L;

    /** The size of the first region in bytes. */
    public static final int BYTES = 1 << 20;

    /** The second region follows the first one, with memory elsewhere. */
    public static final long SECOND = BASE + BYTES;

    /** The device may not write here. */
    public static final long READ_ONLY = 0x4000_0000L;

    private final List<Region> regions;

    /** Memory that lives as long as the arena. */
    public SharedMemory(Arena arena) {
        regions =
                List.of(
                        new Region(BASE, arena.allocate(BYTES, 4096), true),
                        new Region(SECOND, arena.allocate(BYTES, 4096), true),
                        new Region(READ_ONLY, arena.allocate(4096, 4096), false));
    }

    @Override
    public Region find(long address) {
        return regions.stream().filter(r -> r.contains(address)).findFirst().orElse(Region.NONE);
    }

    /** The first region's bytes. */
    public MemorySegment bytes() {
        return regions.get(0).bytes();
    }

    /** The bytes that the device may not write. */
    public MemorySegment readOnly() {
        return regions.get(2).bytes();
    }
}

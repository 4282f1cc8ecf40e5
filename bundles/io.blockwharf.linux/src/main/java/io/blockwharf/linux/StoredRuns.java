package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;
import java.util.Optional;

/**
 * Which bytes of a file are stored, as the file system's map tells for many runs at once
 * (FS_IOC_FIEMAP). Only of ext4 and XFS, whose maps tell of data that is not allocated yet; and
 * only up to what is allocated but unwritten, because that may be dirty in the page cache.
 *
 * @param bounds beginnings and ends of stored runs, by turns, ascending; between them are holes
 * @param from first byte that this tells about
 * @param known first byte that it does not; {@link Long#MAX_VALUE} if there is none
 */
public record StoredRuns(long[] bounds, long from, long known) {
    private static final long FS_IOC_FIEMAP = 0xc020660bL;
    private static final int HEADER_BYTES = 32;
    private static final int EXTENT_BYTES = 56;

    /** Extents that are asked for at once: 56 KiB, a tenth of a millisecond. */
    private static final int EXTENTS = 1024;

    private static final int LAST = 1;

    /** FIEMAP_EXTENT_UNWRITTEN and FIEMAP_EXTENT_NOT_ALIGNED. */
    private static final int AMBIGUOUS = 0x800 | 0x100;

    static Optional<StoredRuns> of(int fd, long position) {
        FileSystemType type = FileSystemType.of(fd);
        if (type != FileSystemType.EXT4 && type != FileSystemType.XFS) {
            return Optional.empty();
        }
        try (Arena arena = Arena.ofConfined()) {
            // struct fiemap: start 0, length 8, flags 16, mapped 20, count 24; extents from 32 on
            MemorySegment map =
                    RawMemory.argument(arena, HEADER_BYTES + (long) EXTENTS * EXTENT_BYTES);
            map.set(JAVA_LONG, 0, position);
            map.set(JAVA_LONG, 8, Long.MAX_VALUE - position);
            map.set(JAVA_INT, 24, EXTENTS);
            return Libc.ioctl(fd, FS_IOC_FIEMAP, map.address()) < 0
                    ? Optional.empty()
                    : read(map, position);
        }
    }

    /** struct fiemap_extent: logical 0, length 16, flags 40. */
    private static Optional<StoredRuns> read(MemorySegment map, long position) {
        int mapped = map.get(JAVA_INT, 20);
        long[] bounds = new long[2 * mapped];
        int count = 0;
        long known = mapped == 0 ? Long.MAX_VALUE : position;
        for (int i = 0; i < mapped; i++) {
            long at = HEADER_BYTES + (long) i * EXTENT_BYTES;
            long start = Math.max(position, map.get(JAVA_LONG, at));
            long end = map.get(JAVA_LONG, at) + map.get(JAVA_LONG, at + 16);
            int flags = map.get(JAVA_INT, at + 40);
            if ((flags & AMBIGUOUS) != 0) {
                known = start;
                break;
            }
            if (count > 0 && bounds[count - 1] == start) {
                count--; // goes on
            } else {
                bounds[count++] = start;
            }
            bounds[count++] = end;
            known = (flags & LAST) != 0 ? Long.MAX_VALUE : end;
        }
        return known == position
                ? Optional.empty()
                : Optional.of(new StoredRuns(Arrays.copyOf(bounds, count), position, known));
    }
}

package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/** The kinds of file systems that are treated in ways of their own (statfs(2)). */
enum FileSystemType {
    EXT4(0xef53),
    XFS(0x58465342),
    TMPFS(0x01021994),
    FUSE(0x65735546),
    OTHER(0);

    private final long magic;

    FileSystemType(long magic) {
        this.magic = magic;
    }

    /** The one that a file is in; {@link #OTHER} if it cannot be told. f_type is at 0. */
    static FileSystemType of(int fd) {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment statfs = RawMemory.argument(arena, 256);
            if (Libc.fstatfs(fd, statfs.address()) < 0) {
                return OTHER;
            }
            long type = statfs.get(JAVA_LONG, 0);
            for (FileSystemType known : values()) {
                if (known.magic == type) {
                    return known;
                }
            }
            return OTHER;
        }
    }
}

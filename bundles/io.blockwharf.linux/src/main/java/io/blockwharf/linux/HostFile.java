package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.ref.Reference;
import java.util.Arrays;
import java.util.EnumSet;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;

/**
 * An open regular file, block device or character device of this host, read and written at
 * positions.
 *
 * <p>Any number of threads may use it at once, but for {@link #close()}. Segments must be native
 * and stay alive until the call returns. Positions and lengths are bytes. Transfers allocate
 * nothing; they occupy a platform thread while the disk works.
 */
public final class HostFile implements AutoCloseable {

    /** How a file is opened; without any, for reading. */
    public enum Flag {
        /** For reading and writing. */
        WRITE(2),
        /** For writing alone, at the end ({@code O_APPEND}) or wherever positions say. */
        WRITE_ONLY(1),
        /** Made if it does not exist, with permissions 0644 less the umask. */
        CREATE(0x40),
        /** With {@link #CREATE}: it must not exist. */
        EXCLUSIVE(0x80),
        /** Emptied. */
        TRUNCATE(0x200),
        /** Without the page cache; see {@link HostFile#directAlignment()}. */
        DIRECT(O_DIRECT),
        /** Every write goes to the end. */
        APPEND(0x400),
        /** Every write is on the disk when it returns. */
        DATA_SYNC(0x1000),
        /** A terminal does not become the process's own. */
        NO_TERMINAL(0x100),
        /** Opening does not wait for a device or a FIFO. */
        NON_BLOCKING(0x800);

        final int bits;

        Flag(int bits) {
            this.bits = bits;
        }
    }

    /** What sort of file it is. */
    public enum Kind {
        REGULAR,
        BLOCK_DEVICE,
        CHARACTER_DEVICE,
        /** A directory, FIFO or socket. */
        OTHER
    }

    /**
     * What O_DIRECT demands.
     *
     * @param memory alignment of buffer addresses, a power of two
     * @param offset alignment of positions and lengths, a power of two
     */
    public record Alignment(int memory, int offset) {}

    /** Whether the file system answers RWF_NOWAIT. */
    private enum Nowait {
        UNTRIED,
        WORKS,
        MISSING;

        /** By the result of a call. */
        static Nowait shownBy(long result) {
            return result == -Errnos.EOPNOTSUPP
                    ? MISSING
                    : result >= 0 || result == -Errnos.EAGAIN ? WORKS : UNTRIED;
        }
    }

    /** Result of a transfer that would have had to wait for the disk. */
    public static final long WOULD_BLOCK = -1;

    static final int O_DIRECT = System.getProperty("os.arch").equals("aarch64") ? 0x10000 : 0x4000;

    private static final int O_NOATIME = 0x40000;

    private static final int RWF_DSYNC = 2;
    private static final int RWF_NOWAIT = 8;
    private static final int SEEK_DATA = 3;
    private static final int SEEK_HOLE = 4;

    /** FALLOC_FL_PUNCH_HOLE and FALLOC_FL_ZERO_RANGE, each with FALLOC_FL_KEEP_SIZE. */
    static final int PUNCH_HOLE = 2 | 1;

    static final int ZERO_RANGE = 0x10 | 1;
    private static final int F_RDLCK = 0;
    private static final int F_WRLCK = 1;
    private static final int F_UNLCK = 2;
    private static final int FADV_WILLNEED = 3;
    private static final int FADV_DONTNEED = 4;
    private static final long BLKROGET = 0x125e;
    private static final long BLKSSZGET = 0x1268;
    private static final long BLKDISCARD = 0x1277;
    private static final long BLKPBSZGET = 0x127b;
    private static final long BLKZEROOUT = 0x127f;
    private static final long BLKGETSIZE64 = 0x80081272L;

    private final Descriptor descriptor;
    private final Kind kind;
    private final boolean inMemory;

    /** Where the descriptor is a duplicate from. Changed by {@link #exchange} alone. */
    private Optional<FdSets.Duplicate> fromSet;

    /** What reading has shown. Races agree. */
    private Nowait nowait = Nowait.UNTRIED;

    private HostFile(int fd, Optional<FdSets.Duplicate> fromSet) throws LinuxException {
        descriptor = new Descriptor(fd);
        this.fromSet = fromSet;
        try {
            kind = kindOf(FileStatus.of(fd));
            inMemory = kind == Kind.REGULAR && FileSystemType.of(fd) == FileSystemType.TMPFS;
        } catch (LinuxException e) {
            close();
            throw e;
        }
    }

    /**
     * Opens a file by its path.
     *
     * @throws LinuxException {@code "Could not open 'P': ..."}
     */
    public static HostFile open(String path, Flag... flags) throws LinuxException {
        return open(path, flags.length == 0 ? Set.of() : EnumSet.copyOf(Arrays.asList(flags)));
    }

    /**
     * Opens a file by its path. {@code /dev/fdset/N} means a descriptor of {@link FdSets}, which is
     * duplicated: position and flags are shared with whoever has it, too.
     *
     * @throws LinuxException {@code "Could not open 'P': ..."}
     */
    public static HostFile open(String path, Set<Flag> flags) throws LinuxException {
        int bits = 0;
        for (Flag flag : flags) {
            bits |= flag.bits;
        }
        if (FdSets.isPath(path)) {
            FdSets.Duplicate duplicate = FdSets.ofProcess().open(path, bits);
            return new HostFile(duplicate.fd(), Optional.of(duplicate));
        }
        int fd = Descriptor.open(path, bits, 0644);
        if (fd < 0) {
            throw new LinuxException("Could not open '" + path + "'", -fd);
        }
        return new HostFile(fd, Optional.empty());
    }

    /**
     * What lies at a path, symbolic links followed. Nothing is opened.
     *
     * @throws LinuxException {@code "Failed to stat 'P': ..."}
     */
    public static Kind kind(String path) throws LinuxException {
        try {
            return kindOf(FileStatus.of(path));
        } catch (LinuxException e) {
            throw new LinuxException("Failed to stat '" + path + "'", e.errno());
        }
    }

    private static Kind kindOf(FileStatus status) {
        return switch (status.type()) {
            case FileStatus.S_IFREG -> Kind.REGULAR;
            case FileStatus.S_IFBLK -> Kind.BLOCK_DEVICE;
            case FileStatus.S_IFCHR -> Kind.CHARACTER_DEVICE;
            default -> Kind.OTHER;
        };
    }

    /** Takes over a descriptor; it is closed with this object. */
    public static HostFile of(int fd) throws LinuxException {
        Descriptor.closeOnExec(fd);
        return new HostFile(fd, Optional.empty());
    }

    /**
     * Opens the same file once more, even if its name is gone or another file's by now. The new one
     * has locks and flags of its own.
     */
    public HostFile reopen(Flag... flags) throws LinuxException {
        return open("/proc/self/fd/" + fd(), flags);
    }

    /**
     * Opens the same file with other flags, for {@link #exchange}. What came from a set (see {@link
     * FdSets}) comes from there again, because its members say what may be done; anything else as
     * by {@link #reopen}.
     *
     * @param name what messages call the file
     * @throws LinuxException also if the set leads to another file by now
     */
    public HostFile successor(String name, Set<Flag> flags) throws LinuxException {
        if (fromSet.isEmpty()) {
            try {
                return reopen(flags.toArray(Flag[]::new));
            } catch (LinuxException e) {
                throw new LinuxException("Could not open '" + name + "'", e.errno());
            }
        }
        HostFile next = open(fromSet.get().path(), flags);
        try {
            if (!next.identity().equals(identity())) {
                throw LinuxException.sentence("'" + name + "' is another file now", Errnos.ENOENT);
            }
            return next;
        } catch (LinuxException e) {
            next.close();
            throw e;
        }
    }

    /**
     * Exchanges the open files of two objects for the same file, with their flags and locks. The
     * number of this descriptor is never closed (dup3(2)): who sends from it at the same time goes
     * on with the one or the other.
     */
    public void exchange(HostFile other) throws LinuxException {
        int kept = LinuxException.check(Libc.fcntl(fd(), Libc.F_DUPFD_CLOEXEC, 0), "fcntl");
        try {
            LinuxException.check(Libc.dup3(other.fd(), fd(), Libc.O_CLOEXEC), "dup3");
            LinuxException.check(Libc.dup3(kept, other.fd(), Libc.O_CLOEXEC), "dup3");
        } finally {
            Libc.close(kept);
        }
        Optional<FdSets.Duplicate> before = fromSet;
        fromSet = other.fromSet;
        other.fromSet = before;
    }

    /**
     * Switches direct I/O (O_DIRECT) on or off.
     *
     * @throws LinuxException EINVAL if the file system has none
     */
    public void direct(boolean on) throws LinuxException {
        int flags = LinuxException.check(Libc.fcntl(fd(), Libc.F_GETFL, 0), "fcntl F_GETFL");
        int wanted = on ? flags | O_DIRECT : flags & ~O_DIRECT;
        LinuxException.check(Libc.fcntl(fd(), Libc.F_SETFL, wanted), "fcntl F_SETFL");
    }

    /**
     * Spares reads through this object the bookkeeping of the file's access time (O_NOATIME), a
     * twentieth of a 4 KiB read. Only the file's owner may ask for it; for others nothing changes.
     */
    public void leaveAccessTime() {
        int flags = Libc.fcntl(fd(), Libc.F_GETFL, 0);
        if (flags >= 0) {
            Libc.fcntl(fd(), Libc.F_SETFL, flags | O_NOATIME);
        }
    }

    /** The descriptor's number, for {@link IoUring} and {@link FdSocket#sendFile}; -1 if closed. */
    public int fd() {
        return descriptor.fd();
    }

    public Kind kind() {
        return kind;
    }

    /** Length of a regular file, capacity of a block device. */
    public long length() throws LinuxException {
        if (kind == Kind.BLOCK_DEVICE) {
            return ask(BLKGETSIZE64, "ioctl BLKGETSIZE64");
        }
        return FileStatus.of(fd()).size();
    }

    /** Bytes of the disk that the file takes. */
    public long allocatedBytes() throws LinuxException {
        return FileStatus.of(fd()).allocated();
    }

    public FileIdentity identity() throws LinuxException {
        return FileStatus.of(fd()).identity();
    }

    /**
     * Reads until {@code length} bytes are there or the file ends.
     *
     * @return bytes read; fewer than {@code length} only at the end of the file
     */
    public long read(long position, MemorySegment segment, long offset, long length)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long done = 0;
        while (done < length) {
            long n = HotCalls.pread(fd(), address + done, length - done, position + done);
            if (n == 0 || n == -Errnos.EINVAL && done > 0) {
                break; // direct I/O has no aligned position behind a file's odd end
            }
            done += LinuxException.checkHot(n, "pread");
        }
        Reference.reachabilityFence(segment);
        return done;
    }

    /** Writes all of {@code length} bytes. */
    public void write(long position, MemorySegment segment, long offset, long length)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        long done = 0;
        while (done < length) {
            long n = HotCalls.pwrite(fd(), address + done, length - done, position + done);
            done += progress(n, "pwrite");
        }
        Reference.reachabilityFence(segment);
    }

    /** Writes all of {@code length} bytes; they are on the disk when it returns (RWF_DSYNC). */
    public void writeDurably(long position, MemorySegment segment, long offset, long length)
            throws LinuxException {
        long address = RawMemory.address(segment, offset, length);
        Scratch scratch = Scratch.ofThread();
        long done = 0;
        while (done < length) {
            long iovec = scratch.iovec(address + done, length - done);
            long n = HotCalls.pwritev2(fd(), iovec, 1, position + done, RWF_DSYNC);
            done += progress(n, "pwritev2");
        }
        Reference.reachabilityFence(segment);
    }

    private static long progress(long n, String call) throws LinuxException {
        if (n == 0) {
            throw new LinuxException(call, Errnos.EIO); // nothing written and no reason given
        }
        return LinuxException.checkHot(n, call);
    }

    /**
     * Reads what needs no waiting for the disk (RWF_NOWAIT), and anything {@link #inMemory}.
     *
     * @return bytes read, 0 at the end of the file, fewer than {@code length} where the page cache
     *     or the file ends, {@link #WOULD_BLOCK} if there is nothing, the file system cannot tell,
     *     or it fails: a read that may wait says why
     */
    public long tryRead(long position, MemorySegment segment, long offset, long length) {
        long address = RawMemory.address(segment, offset, length);
        long iovec = Scratch.ofThread().iovec(address, length);
        long n = nowaitRead(position, iovec, 1);
        Reference.reachabilityFence(segment);
        return n;
    }

    /**
     * {@link #tryRead} into {@code count} ranges.
     *
     * @param iovecs {@code struct iovec[]}, at least {@code count} of them, at most 1024
     */
    public long tryRead(long position, MemorySegment iovecs, int count) {
        long n = nowaitRead(position, RawMemory.address(iovecs, 0, 16L * count), count);
        Reference.reachabilityFence(iovecs);
        return n;
    }

    /**
     * Whether the file is in a tmpfs, which has no disk but swap to wait for, and refuses
     * RWF_NOWAIT (so that a ring leaves each of its requests to another thread).
     */
    public boolean inMemory() {
        return inMemory;
    }

    private long nowaitRead(long position, long iovecs, int count) {
        int flags = inMemory ? 0 : RWF_NOWAIT;
        return switch (nowait) {
            case MISSING -> WOULD_BLOCK;
            case WORKS -> {
                long n = HotCalls.tryPreadv2(fd(), iovecs, count, position, flags);
                yield n < 0 ? WOULD_BLOCK : n;
            }
            case UNTRIED -> {
                long n = HotCalls.preadv2(fd(), iovecs, count, position, flags);
                nowait = Nowait.shownBy(n);
                yield n < 0 ? WOULD_BLOCK : n;
            }
        };
    }

    /**
     * Reads into {@code count} ranges with one call.
     *
     * @param iovecs {@code struct iovec[]}, at least {@code count} of them, at most 1024
     * @return bytes read, 0 at the end of the file; may be fewer than the ranges have
     */
    public long read(long position, MemorySegment iovecs, int count) throws LinuxException {
        long address = RawMemory.address(iovecs, 0, 16L * count);
        long n = HotCalls.preadv2(fd(), address, count, position, 0);
        Reference.reachabilityFence(iovecs);
        return LinuxException.checkHot(n, "preadv2");
    }

    /**
     * Writes {@code count} ranges with one call.
     *
     * @param iovecs {@code struct iovec[]}, at least {@code count} of them, at most 1024
     * @param durably whether the bytes are on the disk when it returns (RWF_DSYNC)
     * @return bytes written; may be fewer than the ranges have
     */
    public long write(long position, MemorySegment iovecs, int count, boolean durably)
            throws LinuxException {
        long address = RawMemory.address(iovecs, 0, 16L * count);
        int flags = durably ? RWF_DSYNC : 0;
        long n = HotCalls.pwritev2(fd(), address, count, position, flags);
        Reference.reachabilityFence(iovecs);
        return LinuxException.checkHot(n, "pwritev2");
    }

    /** Waits until what was written is on the disk, with the metadata that reading it needs. */
    public void syncData() throws LinuxException {
        LinuxException.check(Libc.fdatasync(fd()), "fdatasync");
    }

    /** Waits until what was written is on the disk, with all metadata. */
    public void sync() throws LinuxException {
        LinuxException.check(Libc.fsync(fd()), "fsync");
    }

    /** Makes the file {@code length} bytes long; what is added reads as zeroes. */
    public void truncate(long length) throws LinuxException {
        LinuxException.check(Libc.ftruncate(fd(), length), "ftruncate");
    }

    /** Allocates disk space; the file grows if the range goes beyond its end. */
    public void allocate(long position, long length) throws LinuxException {
        fallocate(0, position, length, "fallocate");
    }

    /**
     * Frees the disk space of a range, which reads as zeroes then. Never changes the length.
     *
     * @throws LinuxException EOPNOTSUPP if the file system cannot
     */
    public void punchHole(long position, long length) throws LinuxException {
        fallocate(PUNCH_HOLE, position, length, "fallocate PUNCH_HOLE");
    }

    /**
     * Makes a range read as zeroes and keeps it allocated. Never changes the length.
     *
     * @throws LinuxException EOPNOTSUPP if the file system cannot
     */
    public void zeroRange(long position, long length) throws LinuxException {
        fallocate(ZERO_RANGE, position, length, "fallocate ZERO_RANGE");
    }

    private void fallocate(int mode, long position, long length, String what)
            throws LinuxException {
        int result;
        do {
            result = Libc.fallocate(fd(), mode, position, length);
        } while (result < 0 && Native.getLastError() == Errnos.EINTR);
        LinuxException.check(result, what);
    }

    /**
     * The first position at or after {@code position} that has data.
     *
     * @return empty if only a hole follows, or the file ends before
     */
    public OptionalLong seekData(long position) throws LinuxException {
        long found = seek(position, SEEK_DATA);
        return found < 0 ? OptionalLong.empty() : OptionalLong.of(found);
    }

    /**
     * The first position at or after {@code position} that is in a hole; the end of the file counts
     * as one.
     *
     * @return empty if the file ends before {@code position}
     */
    public OptionalLong seekHole(long position) throws LinuxException {
        long found = seek(position, SEEK_HOLE);
        return found < 0 ? OptionalLong.empty() : OptionalLong.of(found);
    }

    /**
     * Asks the file system for many runs at once, without waiting for anything to be written.
     *
     * @param position of the first byte of interest
     * @return empty if the file system's map cannot be trusted, or says nothing about {@code
     *     position}
     */
    public Optional<StoredRuns> storedRuns(long position) {
        return kind == Kind.REGULAR ? StoredRuns.of(fd(), position) : Optional.empty();
    }

    /** Moves the file offset, which nothing here uses: safe beside any other call. */
    private long seek(long position, int whence) throws LinuxException {
        long n = HotCalls.lseek(fd(), position, whence);
        return n == -Errnos.ENXIO ? -1 : LinuxException.checkHot(n, "lseek");
    }

    /**
     * Locks a range of bytes for this open file (open file description lock, fcntl(2)): against
     * other open files, of this process too.
     *
     * @param exclusive no other lock may be there; else none that is exclusive
     * @return false if another open file has a lock in the way
     */
    public boolean tryLock(long position, long length, boolean exclusive) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment flock = flock(arena, exclusive ? F_WRLCK : F_RDLCK, position, length);
            if (Libc.fcntl(fd(), Libc.F_OFD_SETLK, flock.address()) == 0) {
                return true;
            }
            int errno = Native.getLastError();
            if (errno == Errnos.EAGAIN || errno == Errnos.EACCES) {
                return false;
            }
            throw new LinuxException("fcntl F_OFD_SETLK", errno);
        }
    }

    /** Releases this open file's locks in a range of bytes. */
    public void unlock(long position, long length) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment flock = flock(arena, F_UNLCK, position, length);
            LinuxException.check(
                    Libc.fcntl(fd(), Libc.F_OFD_SETLK, flock.address()), "fcntl F_OFD_SETLK");
        }
    }

    /** Whether {@link #tryLock} would fail now because of another open file. */
    public boolean isLockedByOther(long position, long length, boolean exclusive)
            throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment flock = flock(arena, exclusive ? F_WRLCK : F_RDLCK, position, length);
            LinuxException.check(
                    Libc.fcntl(fd(), Libc.F_OFD_GETLK, flock.address()), "fcntl F_OFD_GETLK");
            return flock.get(JAVA_SHORT, 0) != F_UNLCK;
        }
    }

    /** struct flock: l_type at 0, l_whence (0: from the start) at 2, l_start at 8, l_len at 16. */
    private static MemorySegment flock(Arena arena, int type, long position, long length) {
        MemorySegment flock = RawMemory.argument(arena, 32);
        flock.set(JAVA_SHORT, 0, (short) type);
        flock.set(JAVA_LONG, 8, position);
        flock.set(JAVA_LONG, 16, length);
        return flock;
    }

    /** Tells a block device that a range is not needed any more; what it reads as is open. */
    public void discardBlocks(long position, long length) throws LinuxException {
        range(BLKDISCARD, position, length, "ioctl BLKDISCARD");
    }

    /** Makes a range of a block device read as zeroes, by the device itself if it can. */
    public void zeroBlocks(long position, long length) throws LinuxException {
        range(BLKZEROOUT, position, length, "ioctl BLKZEROOUT");
    }

    private void range(long request, long position, long length, String what)
            throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment range = RawMemory.argument(arena, 16);
            range.set(JAVA_LONG, 0, position);
            range.set(JAVA_LONG, 8, length);
            LinuxException.check(Libc.ioctl(fd(), request, range.address()), what);
        }
    }

    /** Whether a block device refuses writes, although it can be opened for them (BLKROGET). */
    public boolean isReadOnlyDevice() throws LinuxException {
        return ask(BLKROGET, "ioctl BLKROGET") != 0;
    }

    /** Bytes that a block device is addressed by. */
    public int logicalBlockSize() throws LinuxException {
        return (int) ask(BLKSSZGET, "ioctl BLKSSZGET");
    }

    /** Bytes that a block device writes without reading first. */
    public int physicalBlockSize() throws LinuxException {
        return (int) ask(BLKPBSZGET, "ioctl BLKPBSZGET");
    }

    /** The number that an ioctl stores; int and long alike, for the memory is zero before. */
    private long ask(long request, String what) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment number = RawMemory.argument(arena, 8);
            LinuxException.check(Libc.ioctl(fd(), request, number.address()), what);
            return request == BLKGETSIZE64 ? number.get(JAVA_LONG, 0) : number.get(JAVA_INT, 0);
        }
    }

    /**
     * What direct I/O on this file demands, whether it was opened for it or not: what the kernel
     * says (statx, Linux 6.1), else what reading the file shows, else 4096.
     *
     * @return empty if the file system has no direct I/O
     */
    public Optional<Alignment> directAlignment() throws LinuxException {
        FileStatus status = FileStatus.of(fd());
        if (status.directOffset() != 0) {
            return Optional.of(new Alignment(status.directMemory(), status.directOffset()));
        }
        if (kind == Kind.BLOCK_DEVICE) {
            int block = logicalBlockSize();
            return Optional.of(new Alignment(block, block));
        }
        try (HostFile direct = reopen(Flag.DIRECT);
                Arena arena = Arena.ofConfined()) {
            MemorySegment buffer = arena.allocate(8192, 4096);
            for (int alignment = 512; alignment < 4096; alignment *= 2) {
                if (direct.accepts(buffer.asSlice(alignment), alignment)) {
                    return Optional.of(new Alignment(alignment, alignment));
                }
            }
            return Optional.of(new Alignment(4096, 4096));
        } catch (LinuxException e) {
            if (e.is(Errnos.EINVAL)) { // open(2): O_DIRECT is not supported
                return Optional.empty();
            }
            throw e;
        }
    }

    private boolean accepts(MemorySegment buffer, int alignment) {
        // An empty file accepts everything: then nothing is known
        return HotCalls.pread(fd(), buffer.address(), alignment, alignment) > 0;
    }

    /** Drops clean cached pages of a range; {@code length} 0 means to the end. */
    public void dropCache(long position, long length) throws LinuxException {
        advise(position, length, FADV_DONTNEED);
    }

    /** Starts to read a range into the page cache; {@code length} 0 means to the end. */
    public void readAhead(long position, long length) throws LinuxException {
        advise(position, length, FADV_WILLNEED);
    }

    private void advise(long position, long length, int advice) throws LinuxException {
        int errno = Libc.posix_fadvise(fd(), position, length, advice);
        if (errno != 0) {
            throw new LinuxException("posix_fadvise", errno);
        }
    }

    /** Gives the descriptor away: the caller closes it. */
    public int release() {
        fromSet.ifPresent(FdSets.Duplicate::close);
        return descriptor.release();
    }

    /** Closes the file and with it its locks. Idempotent. Not while another thread uses it. */
    @Override
    public void close() {
        descriptor.close();
        fromSet.ifPresent(FdSets.Duplicate::close);
    }
}

package io.blockwharf.block;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.api.block.Permission;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.block.FileOptions.Aio;
import io.blockwharf.block.FileOptions.OnOffAuto;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.IoUring;
import io.blockwharf.linux.LinuxException;

import java.io.File;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.Predicate;

/**
 * A file or device of the host as an image: block/file-posix.c is the reference. Any number of
 * threads may use it; nothing is allocated per read, write or question.
 */
final class FileImage implements BlockImage {
    private static final long PAGE = 4096;

    /** Zeroes to write where the host has no better way, and how much of them at once. */
    private static final MemorySegment ZEROES = Arena.global().allocate(1 << 20, PAGE);

    /**
     * How the file is open.
     *
     * @param whole the file as its own run of bytes in itself, of any length; empty if it is not
     *     cached
     */
    private record Mode(
            boolean readOnly, boolean direct, BlockLimits limits, Optional<HostExtent> whole) {}

    private final HostFile file;
    private final String filename;
    private final Aio aio;
    private final int maxBatch;
    private final Optional<ImageLocks> locks;
    private final FileExtents extents;

    /** Replaced by {@link #reconfigure} alone. */
    private volatile Mode mode;

    /** What is to be done when the node is active again. */
    private boolean dropsCache;

    private volatile long length;

    // What the file system or device turned out not to have
    private volatile boolean punches = true;
    private volatile boolean zeroes = true;
    private volatile boolean discards = true;

    /** Set for good when the page cache could not be written back; null before. */
    private volatile BlockIoException lost;

    private FileImage(
            NodeSpec<FileOptions> spec,
            HostFile file,
            boolean readOnly,
            Aio aio,
            Optional<ImageLocks> locks)
            throws LinuxException {
        this.file = file;
        this.aio = aio;
        this.locks = locks;
        filename = spec.options().filename();
        maxBatch = (int) Math.min(spec.options().aioMaxBatch().orElse(0L), Integer.MAX_VALUE);
        dropsCache = spec.options().dropCache().orElse(true);
        boolean direct = spec.flags().direct();
        mode = mode(file.fd(), readOnly, direct, limits(file, direct));
        extents = new FileExtents(file);
        length = file.length();
    }

    private static Mode mode(int fd, boolean readOnly, boolean direct, BlockLimits limits) {
        return new Mode(
                readOnly,
                direct,
                limits,
                direct ? Optional.empty() : Optional.of(new HostExtent(fd, 0, 0, Long.MAX_VALUE)));
    }

    /**
     * Opens an image.
     *
     * @param driver its name
     * @param fits what the driver is for
     * @param complaint about anything else; the file name is put in
     */
    static FileImage open(
            String driver,
            NodeSpec<FileOptions> spec,
            Predicate<HostFile.Kind> fits,
            String complaint) {
        FileOptions options = spec.options();
        if (options.filename().isEmpty()) {
            throw QmpException.generic("The '%s' block driver requires a file name", driver);
        }
        OpenFlags flags = spec.flags();
        Aio aio = aio(options, flags.direct());
        if (!flags.readOnly() && new File(options.filename()).isDirectory()) {
            throw QmpException.generic("Could not open '%s': Is a directory", options.filename());
        }
        checkKind(options.filename(), fits, complaint);
        boolean readOnly = flags.readOnly();
        HostFile file;
        try {
            file = open(options.filename(), readOnly, flags.direct());
        } catch (LinuxException e) {
            if (!isForbidden(e) || readOnly || !flags.autoReadOnly()) {
                throw unusable(options.filename(), flags.direct(), e);
            }
            try {
                readOnly = true;
                file = open(options.filename(), true, flags.direct());
            } catch (LinuxException again) {
                throw unusable(options.filename(), flags.direct(), again);
            }
        }
        try {
            if (!fits.test(file.kind())) {
                throw QmpException.generic(complaint, options.filename());
            }
            if (!readOnly && isReadOnlyDevice(file)) {
                if (!flags.autoReadOnly()) {
                    throw notWritable();
                }
                readOnly = true;
            }
            Optional<ImageLocks> locks =
                    isLocked(spec)
                            ? Optional.of(new ImageLocks(file, options.filename()))
                            : Optional.empty();
            return new FileImage(spec, file, readOnly, aio, locks);
        } catch (LinuxException e) {
            file.close();
            throw new QmpException(
                    "Could not open '" + options.filename() + "': " + e.getMessage(), e);
        } catch (RuntimeException e) {
            file.close();
            throw e;
        }
    }

    /** Before it is opened: to open a FIFO may wait for ever. */
    private static void checkKind(
            String filename, Predicate<HostFile.Kind> fits, String complaint) {
        HostFile.Kind kind;
        try {
            kind = HostFile.kind(filename);
        } catch (LinuxException e) {
            return; // to be reported by opening it
        }
        if (!fits.test(kind)) {
            throw QmpException.generic(complaint, filename);
        }
    }

    private static HostFile open(String filename, boolean readOnly, boolean direct)
            throws LinuxException {
        HostFile file = HostFile.open(filename, flags(readOnly, direct));
        file.leaveAccessTime();
        return file;
    }

    private static Set<HostFile.Flag> flags(boolean readOnly, boolean direct) {
        Set<HostFile.Flag> flags = EnumSet.noneOf(HostFile.Flag.class);
        if (!readOnly) {
            flags.add(HostFile.Flag.WRITE);
        }
        if (direct) {
            flags.add(HostFile.Flag.DIRECT);
        }
        return flags;
    }

    private static boolean isLocked(NodeSpec<FileOptions> spec) {
        boolean wanted = spec.options().locking().orElse(OnOffAuto.AUTO) != OnOffAuto.OFF;
        return wanted && !spec.flags().forceShare();
    }

    /** Whether it is writing that may not be done. */
    private static boolean isForbidden(LinuxException e) {
        return e.is(Errnos.EACCES) || e.is(Errnos.EPERM) || e.is(Errnos.EROFS);
    }

    private static boolean isReadOnlyDevice(HostFile file) throws LinuxException {
        return file.kind() == HostFile.Kind.BLOCK_DEVICE && file.isReadOnlyDevice();
    }

    private static QmpException notWritable() {
        return QmpException.generic("The device is not writable: Permission denied");
    }

    private static QmpException unusable(String filename, boolean direct, LinuxException e) {
        if (direct && e.is(Errnos.EINVAL)) { // open(2), "O_DIRECT"
            return new QmpException(
                    "Could not open '" + filename + "': filesystem does not support O_DIRECT", e);
        }
        return new QmpException(e.getMessage(), e);
    }

    private static Aio aio(FileOptions options, boolean direct) {
        if (options.aio().isEmpty()) {
            return IoUring.available() ? Aio.IO_URING : Aio.THREADS;
        }
        return switch (options.aio().get()) {
            case THREADS -> Aio.THREADS;
            case NATIVE -> {
                if (!direct) {
                    throw QmpException.generic(
                            "aio=native was specified, but it requires cache.direct=on, which was"
                                    + " not specified.");
                }
                yield IoUring.available() ? Aio.IO_URING : Aio.THREADS;
            }
            case IO_URING -> {
                if (!IoUring.available()) {
                    throw QmpException.generic(
                            "Unable to use io_uring: failed to init linux io_uring ring");
                }
                yield Aio.IO_URING;
            }
        };
    }

    private static BlockLimits limits(HostFile file, boolean direct) throws LinuxException {
        long max = BlockLimits.NONE.maxTransfer();
        int discard =
                file.kind() == HostFile.Kind.BLOCK_DEVICE ? file.logicalBlockSize() : (int) PAGE;
        if (!direct) {
            return new BlockLimits(1, 1, 0, max, discard);
        }
        HostFile.Alignment alignment =
                file.directAlignment().orElse(new HostFile.Alignment((int) PAGE, (int) PAGE));
        return new BlockLimits(
                alignment.offset(),
                alignment.memory(),
                0,
                max,
                Math.max(discard, alignment.offset()));
    }

    // --- Other options -----------------------------------------------------------------------

    /**
     * Opens the file for writing or no longer for writing, and past the page cache or through it,
     * by what {@code spec} says; it stays the same file, whatever its name leads to by now, and
     * keeps the number of its descriptor and its locks. No request is under way.
     *
     * @throws QmpException with everything as it was
     */
    void reconfigure(NodeSpec<FileOptions> spec) {
        OpenFlags flags = spec.flags();
        if (isLocked(spec) != locks.isPresent()) {
            throw QmpException.generic("Cannot change the option 'force-share'");
        }
        try {
            Mode before = mode;
            long bytes = file.length();
            BlockLimits limits = limits(file, flags.direct());
            boolean readOnly = flags.readOnly();
            if (readOnly == before.readOnly || !replaced(readOnly, flags)) {
                readOnly = before.readOnly; // also where writing is not possible and need not be
                if (flags.direct() != before.direct) {
                    file.direct(flags.direct());
                }
            }
            mode = mode(file.fd(), readOnly, flags.direct(), limits);
            length = bytes;
            dropsCache = spec.options().dropCache().orElse(true);
            extents.changed();
        } catch (LinuxException e) {
            throw unusable(filename, flags.direct(), e);
        }
    }

    /**
     * Puts the file, opened for the other kind of access, in the place of the one that is open. The
     * locks are on both before the old one loses them: nobody finds the image unlocked.
     *
     * @return false if it is to be written where that is possible, and it is not
     */
    private boolean replaced(boolean readOnly, OpenFlags flags) throws LinuxException {
        try (HostFile next = file.successor(filename, flags(readOnly, flags.direct()))) {
            next.leaveAccessTime();
            if (!readOnly && isReadOnlyDevice(next)) {
                if (flags.autoReadOnly()) {
                    return false;
                }
                throw notWritable();
            }
            locks.ifPresent(held -> held.copyTo(next));
            try {
                file.exchange(next);
            } finally {
                locks.ifPresent(held -> held.takeFrom(next));
            }
            return true;
        } catch (LinuxException e) {
            if (!readOnly && flags.autoReadOnly() && isForbidden(e)) {
                return false;
            }
            throw e;
        }
    }

    /** Whether there is a page cache between this and the disk. */
    boolean cached() {
        return !mode.direct;
    }

    HostFile file() {
        return file;
    }

    @Override
    public Optional<Boolean> dirty() {
        return Optional.of(false);
    }

    @Override
    public String filename() {
        return filename;
    }

    @Override
    public boolean readOnly() {
        return mode.readOnly;
    }

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return mode.limits;
    }

    @Override
    public Optional<Long> allocatedSize() {
        try {
            return Optional.of(file.allocatedBytes());
        } catch (LinuxException e) {
            return Optional.empty();
        }
    }

    @Override
    public Map<String, Object> details() {
        Map<String, Object> details = new LinkedHashMap<>();
        details.put("aio", aio == Aio.IO_URING ? "io_uring" : "threads");
        details.put("cache.direct", mode.direct);
        details.put("locked", locks.isPresent());
        return details;
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {
        if (locks.isPresent()) {
            locks.get().change(taken, shared);
        }
    }

    /** Another host may have written the disk below our page cache. */
    @Override
    public void active(boolean active) {
        if (!active) {
            return;
        }
        try {
            if (dropsCache && !mode.direct) {
                file.dropCache(0, 0);
            }
            measure();
        } catch (LinuxException | BlockIoException e) {
            throw new QmpException("Could not refresh '" + filename + "': " + e.getMessage(), e);
        }
    }

    static BlockIoException failed(LinuxException e) {
        return new BlockIoException(Errno.of(e.errno()), e.getMessage(), e);
    }

    // --- Reading and writing -----------------------------------------------------------------

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        try {
            long done;
            if (into.count() == 1) {
                done = file.read(offset, into.base(0), into.offset(0), into.length(0));
            } else {
                done = file.read(offset, into.entries(), into.count());
            }
            if (done < into.byteCount()) {
                readRest(offset, into, done);
            }
        } catch (LinuxException e) {
            throw failed(e);
        }
    }

    /**
     * Reads what a call has left over. Behind the file's end, which another process may have moved,
     * there are zeroes.
     */
    void readRest(long offset, IoVector into, long had) throws LinuxException {
        IoVector rest = new IoVector(Arena.ofAuto(), into.count());
        long done = had;
        while (done < into.byteCount()) {
            rest.slice(into, done, into.byteCount() - done);
            long n;
            try {
                n = file.read(offset + done, rest.entries(), rest.count());
            } catch (LinuxException e) {
                if (!mode.direct || done == 0 || !e.is(Errnos.EINVAL)) {
                    throw e;
                }
                n = 0; // direct I/O has no aligned position behind a file's odd end
            }
            if (n == 0) {
                rest.fillZero();
                return;
            }
            done += n;
        }
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        boolean durably = (flags & RequestFlags.FUA) != 0;
        try {
            if (from.count() != 1) {
                long done = file.write(offset, from.entries(), from.count(), durably);
                if (done < from.byteCount()) {
                    writeRest(offset, from, done, durably);
                }
            } else if (durably) {
                file.writeDurably(offset, from.base(0), from.offset(0), from.length(0));
            } else {
                file.write(offset, from.base(0), from.offset(0), from.length(0));
            }
        } catch (LinuxException e) {
            throw failed(e);
        } finally {
            extents.written(offset, from.byteCount());
        }
    }

    /** Writes what a call has left over, or learns why it did. */
    void writeRest(long offset, IoVector from, long had, boolean durably) throws LinuxException {
        IoVector rest = new IoVector(Arena.ofAuto(), from.count());
        long done = had;
        while (done < from.byteCount()) {
            rest.slice(from, done, from.byteCount() - done);
            long n = file.write(offset + done, rest.entries(), rest.count(), durably);
            if (n == 0) {
                throw new LinuxException("pwritev2", Errnos.EIO);
            }
            done += n;
        }
    }

    @Override
    public boolean tryRead(long offset, IoVector into) {
        if (mode.direct) {
            return false; // RWF_NOWAIT does not keep direct I/O from waiting for the disk
        }
        long n =
                into.count() == 1
                        ? file.tryRead(offset, into.base(0), into.offset(0), into.length(0))
                        : file.tryRead(offset, into.entries(), into.count());
        return n == into.byteCount();
    }

    /**
     * Writes whole pages into the page cache, which waits for nothing but memory. Parts of pages
     * may have to be read first, and direct and durable writes wait for the disk.
     */
    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        if (mode.direct
                || (flags & RequestFlags.FUA) != 0
                || ((offset | from.byteCount()) & PAGE - 1) != 0) {
            return false;
        }
        write(offset, from, 0);
        return true;
    }

    /** A queue's write has been completed. */
    void written(long offset, long bytes) {
        extents.written(offset, bytes);
    }

    // --- Flushing ----------------------------------------------------------------------------

    /**
     * What is lost stays lost: after a failed fdatasync the kernel calls pages clean that are not
     * on the disk, and the next one would succeed.
     */
    @Override
    public void flush() throws BlockIoException {
        BlockIoException before = lost;
        if (before != null) {
            throw new BlockIoException(before.errno(), before.getMessage(), before);
        }
        try {
            file.syncData();
        } catch (LinuxException e) {
            throw flushFailed(e);
        }
    }

    /** Whether an earlier flush has failed. */
    boolean isLost() {
        return lost != null;
    }

    BlockIoException flushFailed(LinuxException e) {
        BlockIoException failure = failed(e);
        if (!mode.direct) {
            lost = failure;
        }
        return failure;
    }

    // --- Discarding and zeroing --------------------------------------------------------------

    /** What {@link IoUring} can do of a discard or a zero request by itself. */
    enum Fallocate {
        PUNCH,
        ZERO,
        /** Nothing: the synchronous method has to do it. */
        NONE
    }

    /** How to discard with fallocate. */
    Fallocate discardWay() {
        boolean regular = file.kind() == HostFile.Kind.REGULAR;
        return regular && punches ? Fallocate.PUNCH : Fallocate.NONE;
    }

    /** How to zero with fallocate: block devices have it, too, for whole blocks. */
    Fallocate zeroWay(long offset, long bytes, int flags) {
        if (((offset | bytes) & mode.limits.discardAlignment() - 1) != 0
                && file.kind() != HostFile.Kind.REGULAR) {
            return Fallocate.NONE;
        }
        if ((flags & RequestFlags.MAY_UNMAP) != 0 && punches) {
            return Fallocate.PUNCH;
        }
        boolean mayBeSlow = file.kind() != HostFile.Kind.REGULAR;
        boolean notSlow = (flags & RequestFlags.NO_FALLBACK) != 0;
        return zeroes && !(mayBeSlow && notSlow) ? Fallocate.ZERO : Fallocate.NONE;
    }

    /**
     * Whether an error means that the host has no such thing, so that it need not be asked again.
     */
    boolean isMissing(Fallocate way, int errno) {
        boolean missing =
                errno == Errnos.EOPNOTSUPP || errno == Errnos.ENOSYS || errno == Errnos.ENODEV;
        if (missing && way == Fallocate.PUNCH) {
            punches = false;
        } else if (missing) {
            zeroes = false;
        }
        return missing;
    }

    /** A range was punched or zeroed. */
    void changed() {
        extents.changed();
    }

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        if (bytes == 0) {
            return;
        }
        try {
            if (file.kind() == HostFile.Kind.BLOCK_DEVICE) {
                discardBlocks(offset, bytes);
            } else if (discardWay() == Fallocate.PUNCH) {
                file.punchHole(offset, bytes);
            }
        } catch (LinuxException e) {
            if (file.kind() == HostFile.Kind.BLOCK_DEVICE
                    && (e.is(Errnos.EOPNOTSUPP) || e.is(Errnos.ENOTTY))) {
                discards = false;
            } else if (!isMissing(Fallocate.PUNCH, e.errno())) {
                throw failed(e);
            }
        } finally {
            extents.changed();
        }
    }

    /** Whole blocks inside the range: a discard is advice. */
    private void discardBlocks(long offset, long bytes) throws LinuxException {
        long block = mode.limits.discardAlignment();
        long from = (offset + block - 1) & -block;
        long to = (offset + bytes) & -block;
        if (discards && from < to) {
            file.discardBlocks(from, to - from);
        }
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        if (bytes == 0) {
            return;
        }
        try {
            if (!zeroedByHost(offset, bytes, flags)) {
                if ((flags & RequestFlags.NO_FALLBACK) != 0) {
                    throw new BlockIoException(
                            Errno.ENOTSUP, "the host has no faster way than to write zeroes");
                }
                writeZeroBytes(offset, bytes);
            }
            if ((flags & RequestFlags.FUA) != 0) {
                flush();
            }
        } catch (LinuxException e) {
            throw failed(e);
        } finally {
            extents.changed();
        }
    }

    /** Tries the ways that {@link #zeroWay} names until one is there or none is left. */
    private boolean zeroedByHost(long offset, long bytes, int flags) throws LinuxException {
        Fallocate way;
        while ((way = zeroWay(offset, bytes, flags)) != Fallocate.NONE) {
            try {
                if (way == Fallocate.PUNCH) {
                    file.punchHole(offset, bytes);
                } else {
                    file.zeroRange(offset, bytes);
                }
                return true;
            } catch (LinuxException e) {
                if (!isMissing(way, e.errno())) {
                    throw e;
                }
            }
        }
        return false;
    }

    private void writeZeroBytes(long offset, long bytes) throws LinuxException {
        long done = 0;
        while (done < bytes) {
            long n = Math.min(bytes - done, ZEROES.byteSize());
            file.write(offset + done, ZEROES, 0, n);
            done += n;
        }
    }

    // --- Past the requests -------------------------------------------------------------------

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        return extents.at(offset, length);
    }

    @Override
    public void extents(long offset, long bytes, ExtentSink to) throws BlockIoException {
        extents.tell(offset, bytes, length, to);
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long bytes) {
        return mode.whole;
    }

    @Override
    public Optional<DirectAccess> directAccess(boolean write) {
        Mode now = mode;
        if (now.direct || file.kind() != HostFile.Kind.REGULAR || write && now.readOnly) {
            return Optional.empty();
        }
        return Optional.of(
                new DirectAccess() {
                    @Override
                    public int fd() {
                        return file.fd();
                    }

                    @Override
                    public void sizeChanged() throws BlockIoException {
                        measure();
                    }

                    @Override
                    public void close() {
                        extents.changed(); // nobody has told what was written
                    }
                });
    }

    private void measure() throws BlockIoException {
        try {
            length = file.length();
        } catch (LinuxException e) {
            throw failed(e);
        } finally {
            extents.changed();
        }
    }

    @Override
    public void resize(long bytes) throws BlockIoException {
        if (file.kind() == HostFile.Kind.REGULAR) {
            try {
                file.truncate(bytes);
            } catch (LinuxException e) {
                throw failed(e);
            } finally {
                measure();
            }
            return;
        }
        measure(); // the device may have been resized: that is taken over
        if (bytes != length) {
            throw bytes > length
                    ? new BlockIoException(Errno.EINVAL, "Cannot grow device files")
                    : new BlockIoException(Errno.ENOTSUP, "Cannot resize device files");
        }
    }

    @Override
    public Optional<BlockQueue> openQueue(int depth) {
        if (aio == Aio.THREADS) {
            return Optional.empty();
        }
        try {
            return Optional.of(new RingQueue(this, depth, maxBatch));
        } catch (LinuxException e) {
            // Too many rings for RLIMIT_MEMLOCK of an old kernel, for example: threads serve as
            // well
            return Optional.empty();
        }
    }

    @Override
    public void close() {
        file.close();
    }
}

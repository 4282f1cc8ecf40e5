package io.blockwharf.fuse;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.fuse.wire.Attributes;
import io.blockwharf.fuse.wire.Reply;
import io.blockwharf.fuse.wire.Request;

import java.time.Instant;

/**
 * The file: what each request means for the node. QEMU 11's block/export/fuse.c is the model; where
 * the two differ README.md says why. Any number of queues call it at once.
 *
 * <p>An answer is the number of bytes of the reply's body, or a negated error number, or one of
 * {@link #LATER} and {@link #NONE}.
 */
final class FuseFile {
    /** The request goes on in the slot's block queue; {@link #end} gives the answer. */
    static final int LATER = Integer.MIN_VALUE;

    /** There is no reply to this request. */
    static final int NONE = Integer.MIN_VALUE + 1;

    /** How long the kernel may use attributes unasked: as QEMU's. A resize invalidates them. */
    private static final int ATTRIBUTES_VALID_SECONDS = 1;

    private static final int MIN_BLOCK_SIZE = 4096;
    private static final int OWNER_WRITE = 0200;
    private static final int OWNER_READ = 0400;
    private static final int NOT_OWNER = 0077;
    private static final int ANY_WRITE = 0222;
    private static final int PERMISSIONS = 07777;
    private static final int ACCESS_MODE = 3; // O_ACCMODE

    /** File handles tell what the file was opened for. */
    private static final long HANDLE_READ = 1;

    private static final long HANDLE_WRITE = 2;

    private final BlockNode node;
    private final boolean writable;
    private final boolean growable;
    private final boolean allowOther;
    private final int maxTransfer;
    private final int blockSize;
    private final Passthrough passthrough;
    private final Object sizeLock = new Object();

    private volatile int permissions;
    private volatile int uid;
    private volatile int gid;

    /** Milliseconds since 1970. */
    private volatile long changed = System.currentTimeMillis();

    private volatile boolean closing;
    private volatile boolean revoked;

    /** Open files; guarded by itself. */
    private final Object opensLock = new Object();

    private int opens;
    private int opensForWriting;

    FuseFile(
            BlockNode node,
            boolean writable,
            boolean growable,
            boolean allowOther,
            int uid,
            int gid,
            int maxTransfer,
            Passthrough passthrough) {
        this.node = node;
        this.writable = writable;
        this.growable = growable;
        this.allowOther = allowOther;
        this.uid = uid;
        this.gid = gid;
        this.maxTransfer = maxTransfer;
        this.passthrough = passthrough;
        permissions = OWNER_READ | (writable ? OWNER_WRITE : 0);
        blockSize = Math.max(MIN_BLOCK_SIZE, node.limits().requestAlignment());
    }

    /** From now on new requests are refused. */
    void close() {
        closing = true;
    }

    /**
     * From now on the file is said to be a directory: whoever still has it open gets EIO from the
     * kernel, even for reads and writes that never come here (fs/fuse: fuse_make_bad).
     */
    void revoke() {
        revoked = true;
    }

    /** How many times the file is open: each open(2), and each mapping that outlives it. */
    int opens() {
        synchronized (opensLock) {
            return opens;
        }
    }

    /**
     * Whether the file is open. The kernel reports a close without waiting for an answer, so that
     * the news may be on its way: waits a moment for it.
     */
    boolean open(long patienceMillis) {
        long deadline = System.nanoTime() + patienceMillis * 1_000_000;
        synchronized (opensLock) {
            while (opens > 0) {
                long rest = deadline - System.nanoTime();
                if (rest <= 0) {
                    return true;
                }
                try {
                    opensLock.wait(rest / 1_000_000, (int) (rest % 1_000_000));
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                    return true;
                }
            }
            return false;
        }
    }

    /** Whether a request may take long without going through the slot's block queue. */
    static boolean isSlow(Request request) {
        return switch (request.opcode()) {
            case SETATTR, FALLOCATE, LSEEK -> true;
            default -> false;
        };
    }

    /** Begins a request, and mostly finishes it. */
    int begin(Slot slot) {
        if (closing && slot.opcode.answered() && !served(slot)) {
            return -FuseErrors.ENOTCONN;
        }
        try {
            return switch (slot.opcode) {
                case READ -> read(slot);
                case WRITE -> write(slot);
                case GETATTR -> attributes(slot);
                case SETATTR -> setAttributes(slot);
                case OPEN -> openFile(slot);
                case RELEASE -> release(slot.request.fileHandle());
                case FLUSH -> flush(slot, slot.request.fileHandle());
                case FSYNC -> flush(slot, HANDLE_WRITE);
                case FALLOCATE -> allocate(slot);
                case LSEEK -> seek(slot);
                case STATFS -> Reply.fileSystem(slot.data, slot.dataAt, node.length(), blockSize);
                case LOOKUP -> -Errno.ENOENT.number();
                case DESTROY -> 0;
                case FORGET, BATCH_FORGET -> NONE;
                // Requests end by themselves, and the kernel takes no answer for "ignored".
                case INTERRUPT -> NONE;
                // Said once, the kernel does not ask again and takes the file for always ready.
                case POLL, UNKNOWN -> -FuseErrors.ENOSYS;
                case INIT, INVALID -> -Errno.EIO.number();
            };
        } catch (BlockIoException e) {
            return -FuseErrors.of(e.errno());
        }
    }

    /** What is answered while the export closes. */
    private boolean served(Slot slot) {
        return switch (slot.opcode) {
            case RELEASE, DESTROY -> true;
            case GETATTR -> revoked;
            default -> false;
        };
    }

    /** The answer to a request that was begun with {@link #LATER}. */
    int end(Slot slot, Errno result) {
        if (result != Errno.OK) {
            return -FuseErrors.of(result);
        }
        return switch (slot.opcode) {
            case READ -> slot.transfer;
            case WRITE -> Reply.written(slot.data, slot.dataAt, slot.transfer);
            default -> 0;
        };
    }

    /**
     * The answer did not reach anybody: the request was interrupted, or the file system aborted.
     */
    void undo(Slot slot) {
        if (slot.opcode == io.blockwharf.fuse.wire.Opcode.OPEN) {
            release(slot.transfer);
        }
    }

    private int read(Slot slot) throws BlockIoException {
        long offset = slot.request.offset();
        long size = slot.request.size();
        if (offset < 0 || size > maxTransfer) {
            return -Errno.EINVAL.number();
        }
        long length = node.length();
        if (offset >= length) {
            return 0;
        }
        slot.transfer = (int) Math.min(size, length - offset);
        slot.vector.set(slot.data, slot.dataAt, slot.transfer);
        if (node.tryRead(offset, slot.vector)) {
            return slot.transfer;
        }
        slot.later.blockQueue().read(slot.number, offset, slot.vector);
        return LATER;
    }

    private int write(Slot slot) throws BlockIoException {
        long offset = slot.request.offset();
        long size = slot.request.size();
        if (!writable) {
            return -Errno.EACCES.number();
        }
        if (offset < 0 || size > maxTransfer) {
            return -Errno.EINVAL.number();
        }
        if (offset > Long.MAX_VALUE - size) {
            return -Errno.EFBIG.number();
        }
        long length = node.length();
        if (size > 0 && offset + size > length) {
            if (growable) {
                grow(offset + size);
            } else if (offset >= length) {
                return -Errno.ENOSPC.number();
            } else {
                size = length - offset;
            }
        }
        slot.transfer = (int) size;
        if (size == 0) {
            return Reply.written(slot.data, slot.dataAt, 0);
        }
        changed = System.currentTimeMillis();
        slot.vector.set(slot.data, slot.dataAt, size);
        if (node.tryWrite(offset, slot.vector, 0)) {
            return Reply.written(slot.data, slot.dataAt, slot.transfer);
        }
        slot.later.blockQueue().write(slot.number, offset, slot.vector, 0);
        return LATER;
    }

    /** Makes the node at least that long; two writers past the end must not shorten it. */
    private void grow(long length) throws BlockIoException {
        synchronized (sizeLock) {
            passthrough.refreshSize();
            if (node.length() < length) {
                node.resize(length);
            }
        }
    }

    private void resize(long length) throws BlockIoException {
        synchronized (sizeLock) {
            node.resize(length);
        }
        changed = System.currentTimeMillis();
    }

    private int flush(Slot slot, long handle) {
        if (!writable || handle == HANDLE_READ) {
            return 0; // Nothing was written through it.
        }
        slot.later.blockQueue().flush(slot.number);
        return LATER;
    }

    private int attributes(Slot slot) throws BlockIoException {
        passthrough.refreshSize();
        long size = node.length();
        boolean writtenElsewhere;
        synchronized (opensLock) {
            writtenElsewhere = opensForWriting > 0 && passthrough.active();
        }
        return Reply.attributes(
                slot.data,
                slot.dataAt,
                ATTRIBUTES_VALID_SECONDS,
                new Attributes(
                        size,
                        Math.ceilDiv(node.allocatedSize().orElse(size), 512L),
                        writtenElsewhere ? Instant.now() : Instant.ofEpochMilli(changed),
                        (revoked ? Attributes.DIRECTORY : Attributes.REGULAR_FILE) | permissions,
                        uid,
                        gid,
                        blockSize));
    }

    private int setAttributes(Slot slot) throws BlockIoException {
        Request request = slot.request;
        int what = request.attributesToSet() & ~Request.SET_NOTHING;
        int supported = Request.SET_SIZE | Request.SET_MODE;
        if (allowOther) {
            supported |= Request.SET_UID | Request.SET_GID;
        }
        if ((what & ~supported) != 0) {
            return -Errno.ENOTSUP.number();
        }
        // All checks come before the first change.
        int mode = request.newMode();
        int newUid = request.newUid();
        int newGid = request.newGid();
        if ((what & Request.SET_MODE) != 0) {
            if (!allowOther && (mode & NOT_OWNER) != 0) {
                return -Errno.EPERM.number(); // They could not use what they are allowed.
            }
            if (!writable && (mode & ANY_WRITE) != 0) {
                return -Errno.EROFS.number();
            }
        }
        if ((what & Request.SET_SIZE) != 0) {
            if (!writable) {
                return -Errno.EACCES.number();
            }
            if (request.newSize() < 0) {
                return -Errno.EFBIG.number();
            }
            resize(request.newSize());
        }
        if ((what & Request.SET_MODE) != 0) {
            permissions = mode & PERMISSIONS;
        }
        if ((what & Request.SET_UID) != 0) {
            uid = newUid;
        }
        if ((what & Request.SET_GID) != 0) {
            gid = newGid;
        }
        return attributes(slot);
    }

    private int openFile(Slot slot) {
        boolean write = (slot.request.openFlags() & ACCESS_MODE) != 0;
        if (write && !writable) {
            return -Errno.EROFS.number(); // Even for root, whom permissions do not stop.
        }
        long handle = write ? HANDLE_WRITE : HANDLE_READ;
        slot.transfer = (int) handle;
        synchronized (opensLock) {
            if (opens == 0) {
                passthrough.begin();
            }
            opens++;
            if (write) {
                opensForWriting++;
            }
            int backing = passthrough.backingId();
            int flags = backing == 0 ? 0 : Reply.OPEN_PASSTHROUGH;
            if (backing == 0 || write && !growable) {
                // The kernel would let a write through it extend the image.
                flags |= Reply.OPEN_DIRECT_IO | Reply.OPEN_PARALLEL_DIRECT_WRITES;
            }
            return Reply.open(slot.data, slot.dataAt, handle, flags, backing);
        }
    }

    private int release(long handle) {
        synchronized (opensLock) {
            opens--;
            if (handle == HANDLE_WRITE) {
                opensForWriting--;
            }
            if (opens == 0) {
                passthrough.end();
            }
            opensLock.notifyAll();
        }
        return 0;
    }

    /** fallocate(2). */
    private int allocate(Slot slot) throws BlockIoException {
        long offset = slot.request.offset();
        long length = slot.request.length();
        int mode = slot.request.allocationMode();
        if (!writable) {
            return -Errno.EACCES.number();
        }
        if (offset < 0 || length <= 0) {
            return -Errno.EINVAL.number();
        }
        if (offset > Long.MAX_VALUE - length) {
            return -Errno.EFBIG.number();
        }
        if (mode == 0) {
            return preallocate(offset, length);
        }
        boolean keepSize = (mode & Request.KEEP_SIZE) != 0;
        return switch (mode & ~Request.KEEP_SIZE) {
            case Request.PUNCH_HOLE ->
                    keepSize
                            ? zero(
                                    offset,
                                    length,
                                    RequestFlags.MAY_UNMAP | RequestFlags.NO_FALLBACK)
                            : -Errno.EINVAL.number();
            case Request.ZERO_RANGE -> {
                if (!keepSize && offset + length > node.length()) {
                    grow(offset + length);
                }
                yield zero(offset, length, 0);
            }
            default -> -Errno.ENOTSUP.number();
        };
    }

    /**
     * Only what makes the file longer can be preallocated: the block layer has no way to allocate
     * what may hold data. The C library emulates the rest by writing.
     */
    private int preallocate(long offset, long length) throws BlockIoException {
        synchronized (sizeLock) {
            passthrough.refreshSize();
            if (offset < node.length()) {
                return -Errno.ENOTSUP.number();
            }
            node.resize(offset + length);
        }
        return zero(offset, length, 0);
    }

    private int zero(long offset, long length, int flags) throws BlockIoException {
        long size = node.length();
        if (offset < size) {
            node.writeZeroes(offset, Math.min(length, size - offset), flags);
            changed = System.currentTimeMillis();
        }
        return 0;
    }

    /** lseek(2), SEEK_DATA and SEEK_HOLE. The end of the file counts as a hole. */
    private int seek(Slot slot) throws BlockIoException {
        long position = slot.request.offset();
        int whence = slot.request.whence();
        if (whence != Request.SEEK_DATA && whence != Request.SEEK_HOLE) {
            return -Errno.EINVAL.number();
        }
        passthrough.refreshSize();
        long length = node.length();
        if (position < 0 || position >= length) {
            return -Errno.ENXIO.number();
        }
        while (position < length) {
            Extent extent = node.extentAt(position, length - position);
            // A hole has to read as zeroes; what is neither stored nor zero counts as data.
            boolean hole = extent.zero() && !extent.data();
            if (hole == (whence == Request.SEEK_HOLE)) {
                return Reply.position(slot.data, slot.dataAt, position);
            }
            position = Math.max(extent.end(), position + 1);
        }
        return whence == Request.SEEK_HOLE
                ? Reply.position(slot.data, slot.dataAt, length)
                : -Errno.ENXIO.number();
    }
}

package io.blockwharf.fuse;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.testing.TestQueue;

import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;

/**
 * A node on a file of the host. Tests can make requests fail, or make them wait: then they go
 * through the queue, whose threads pass the gate.
 */
final class FileNode implements BlockNode {
    /** What requests pass on the queue's threads. */
    interface Gate {
        void pass() throws InterruptedException;
    }

    final HostFile file;
    final List<Runnable> listeners = new CopyOnWriteArrayList<>();
    volatile Gate gate;
    volatile Errno failure = Errno.OK;
    volatile boolean direct;
    volatile int directAccesses;
    volatile int flushes;
    volatile long size;
    volatile long maxSize = Long.MAX_VALUE;
    Set<Permission> taken = Set.of();

    FileNode(Path path) throws LinuxException {
        file = HostFile.open(path.toString(), HostFile.Flag.WRITE);
        size = file.length();
    }

    private interface Call {
        void run() throws LinuxException;
    }

    private void io(Call call) throws BlockIoException {
        if (failure != Errno.OK) {
            throw new BlockIoException(failure, "as told");
        }
        try {
            call.run();
        } catch (LinuxException e) {
            throw new BlockIoException(Errno.of(e.errno()), e.getMessage(), e);
        }
    }

    @Override
    public long length() {
        return size;
    }

    @Override
    public BlockLimits limits() {
        return BlockLimits.NONE;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        check(offset, into.byteCount());
        io(() -> file.read(offset, into.base(0), into.offset(0), into.length(0)));
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        check(offset, from.byteCount());
        io(() -> file.write(offset, from.base(0), from.offset(0), from.length(0)));
    }

    private void check(long offset, long length) throws BlockIoException {
        if (offset < 0 || offset > size - length) {
            throw new BlockIoException(Errno.EINVAL, "past the end");
        }
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        if (gate != null) {
            return false;
        }
        read(offset, into);
        return true;
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        if (gate != null) {
            return false;
        }
        write(offset, from, flags);
        return true;
    }

    @Override
    public void flush() throws BlockIoException {
        flushes++;
        io(file::syncData);
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        io(() -> file.punchHole(offset, length));
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        check(offset, length);
        io(
                () -> {
                    if (flags == 0) {
                        file.zeroRange(offset, length);
                    } else {
                        file.punchHole(offset, length);
                    }
                });
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        try {
            OptionalLong data = file.seekData(offset);
            if (data.isEmpty()) {
                return Extent.hole(offset, size - offset);
            }
            return data.getAsLong() > offset
                    ? Extent.hole(offset, data.getAsLong() - offset)
                    : Extent.data(offset, file.seekHole(offset).orElse(size) - offset);
        } catch (LinuxException e) {
            throw new BlockIoException(Errno.of(e.errno()), e.getMessage(), e);
        }
    }

    @Override
    public String name() {
        return "disk";
    }

    @Override
    public String driver() {
        return "file";
    }

    @Override
    public boolean readOnly() {
        return false;
    }

    @Override
    public void permissions(Set<Permission> newTaken, Set<Permission> shared) {
        taken = Set.copyOf(newTaken);
    }

    @Override
    public void writeCache(boolean enabled) {}

    @Override
    public boolean writeCache() {
        return true;
    }

    @Override
    public void resize(long length) throws BlockIoException {
        if (length > maxSize) {
            throw new BlockIoException(Errno.EFBIG, "too large");
        }
        io(() -> file.truncate(length));
        changeSize(length);
    }

    private void changeSize(long length) {
        if (size != length) {
            size = length;
            listeners.forEach(Runnable::run);
        }
    }

    @Override
    public void onResize(Runnable listener) {
        listeners.add(listener);
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
    public Optional<DirectAccess> directAccess(boolean write) {
        if (!direct) {
            return Optional.empty();
        }
        directAccesses++;
        return Optional.of(
                new DirectAccess() {
                    @Override
                    public int fd() {
                        return file.fd();
                    }

                    @Override
                    public void sizeChanged() throws BlockIoException {
                        try {
                            changeSize(file.length());
                        } catch (LinuxException e) {
                            throw new BlockIoException(Errno.EIO, e.getMessage(), e);
                        }
                    }

                    @Override
                    public void close() {
                        directAccesses--;
                    }
                });
    }

    /** A thread per request in flight. */
    @Override
    public BlockQueue openQueue(int depth) {
        return new TestQueue(
                this, depth, request -> Thread.startVirtualThread(() -> passed(request)));
    }

    private void passed(Runnable request) {
        Gate current = gate;
        try {
            if (current != null) {
                current.pass();
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        request.run();
    }

    @Override
    public void close() {
        file.close();
    }
}

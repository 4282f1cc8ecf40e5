package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;
import java.util.Set;

/** A file of the host as a node, without a graph around it; as strict as core about ranges. */
class DiskFile implements BlockNode {
    private final Path path;
    private final FileChannel channel;
    private final boolean writable;
    private volatile long length;

    DiskFile(Path path, boolean writable) throws IOException {
        this.path = path;
        this.writable = writable;
        channel =
                writable
                        ? FileChannel.open(path, StandardOpenOption.READ, StandardOpenOption.WRITE)
                        : FileChannel.open(path, StandardOpenOption.READ);
        length = channel.size() + 511 & -512;
    }

    @Override
    public String name() {
        return "file0";
    }

    @Override
    public String driver() {
        return "file";
    }

    @Override
    public String filename() {
        return path.toString();
    }

    @Override
    public boolean readOnly() {
        return !writable;
    }

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return BlockLimits.NONE;
    }

    private void check(long offset, long bytes) throws BlockIoException {
        if (offset < 0 || bytes < 0 || offset > length - bytes) {
            throw new BlockIoException(
                    Errno.EINVAL, "past EOF: " + offset + "+" + bytes + " of " + length);
        }
    }

    private void checkWritable() throws BlockIoException {
        if (!writable) {
            throw new BlockIoException(Errno.EPERM, "no permission to write");
        }
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        check(offset, into.byteCount());
        try {
            long at = offset;
            for (int i = 0; i < into.count(); i++) {
                ByteBuffer buffer =
                        into.base(i).asSlice(into.offset(i), into.length(i)).asByteBuffer();
                while (buffer.hasRemaining()) {
                    int n = channel.read(buffer, at);
                    if (n < 0) {
                        while (buffer.hasRemaining()) {
                            buffer.put((byte) 0);
                            at++;
                        }
                        break;
                    }
                    at += n;
                }
            }
        } catch (IOException e) {
            throw new BlockIoException(Errno.EIO, e.toString(), e);
        }
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        checkWritable();
        check(offset, from.byteCount());
        try {
            long at = offset;
            for (int i = 0; i < from.count(); i++) {
                ByteBuffer buffer =
                        from.base(i).asSlice(from.offset(i), from.length(i)).asByteBuffer();
                while (buffer.hasRemaining()) {
                    at += channel.write(buffer, at);
                }
            }
        } catch (IOException e) {
            throw new BlockIoException(Errno.EIO, e.toString(), e);
        }
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        read(offset, into);
        return true;
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        write(offset, from, flags);
        return true;
    }

    @Override
    public void flush() {}

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        writeZeroes(offset, bytes, 0);
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        checkWritable();
        check(offset, bytes);
        try {
            ByteBuffer zeroes = ByteBuffer.allocate((int) Math.min(bytes, 1 << 20));
            for (long done = 0; done < bytes; ) {
                zeroes.clear().limit((int) Math.min(zeroes.capacity(), bytes - done));
                done += channel.write(zeroes, offset + done);
            }
        } catch (IOException e) {
            throw new BlockIoException(Errno.EIO, e.toString(), e);
        }
    }

    @Override
    public Extent extentAt(long offset, long bytes) {
        return Extent.data(0, length);
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long bytes) {
        return Optional.of(new HostExtent(99, 0, 0, Long.MAX_VALUE));
    }

    @Override
    public synchronized void resize(long bytes) throws BlockIoException {
        checkWritable();
        try {
            if (bytes > channel.size()) {
                channel.write(ByteBuffer.allocate(1), bytes - 1);
            } else {
                channel.truncate(bytes);
            }
            length = bytes + 511 & -512;
        } catch (IOException e) {
            throw new BlockIoException(Errno.EIO, e.toString(), e);
        }
    }

    @Override
    public synchronized void grow(long bytes) throws BlockIoException {
        BlockNode.super.grow(bytes);
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {}

    @Override
    public void writeCache(boolean enabled) {}

    @Override
    public boolean writeCache() {
        return true;
    }

    @Override
    public void onResize(Runnable listener) {}

    @Override
    public BlockQueue openQueue(int depth) {
        throw new UnsupportedOperationException();
    }

    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}

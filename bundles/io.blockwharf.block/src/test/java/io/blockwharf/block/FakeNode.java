package io.blockwharf.block;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.Permission;

import java.util.Optional;
import java.util.Set;

/** A handle on an image without a graph around it: everything goes straight to the image. */
record FakeNode(BlockImage image) implements BlockNode {
    @Override
    public String name() {
        return "child";
    }

    @Override
    public String driver() {
        return "fake";
    }

    @Override
    public String filename() {
        return image.filename();
    }

    @Override
    public boolean readOnly() {
        return image.readOnly();
    }

    @Override
    public void permissions(Set<Permission> taken, Set<Permission> shared) {
        image.permissions(taken, shared);
    }

    @Override
    public void writeCache(boolean enabled) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean writeCache() {
        return true;
    }

    @Override
    public void resize(long length) throws BlockIoException {
        image.resize(length);
    }

    @Override
    public void onResize(Runnable listener) {
        throw new UnsupportedOperationException();
    }

    @Override
    public BlockQueue openQueue(int depth) {
        return image.openQueue(depth).orElseThrow();
    }

    @Override
    public Optional<DirectAccess> directAccess(boolean write) {
        return image.directAccess(write);
    }

    @Override
    public Optional<Long> allocatedSize() {
        return image.allocatedSize();
    }

    @Override
    public long length() {
        return image.length();
    }

    @Override
    public BlockLimits limits() {
        return image.limits();
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        image.read(offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        image.write(offset, from, flags);
    }

    @Override
    public void flush() throws BlockIoException {
        image.flush();
    }

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        image.discard(offset, bytes);
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        image.writeZeroes(offset, bytes, flags);
    }

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        return image.extentAt(offset, bytes);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return image.tryRead(offset, into);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return image.tryWrite(offset, from, flags);
    }

    @Override
    public Optional<HostExtent> hostExtent(long offset, long bytes) {
        return image.hostExtent(offset, bytes);
    }

    @Override
    public void close() {
        image.close();
    }
}

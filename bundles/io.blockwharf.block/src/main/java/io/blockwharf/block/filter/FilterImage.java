package io.blockwharf.block.filter;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.api.block.IoVector;

import java.util.Optional;

/** Another node, as it is. What a filter changes of it it overrides. */
abstract class FilterImage implements BlockImage {
    /** The node below, which core closes. */
    final BlockNode child;

    FilterImage(BlockNode child) {
        this.child = child;
    }

    @Override
    public long length() {
        return child.length();
    }

    @Override
    public BlockLimits limits() {
        return child.limits();
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        child.read(offset, into);
    }

    @Override
    public boolean tryRead(long offset, IoVector into) throws BlockIoException {
        return child.tryRead(offset, into);
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        child.write(offset, from, flags);
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) throws BlockIoException {
        return child.tryWrite(offset, from, flags);
    }

    @Override
    public void flush() throws BlockIoException {
        child.flush();
    }

    @Override
    public void discard(long offset, long length) throws BlockIoException {
        child.discard(offset, length);
    }

    @Override
    public void writeZeroes(long offset, long length, int flags) throws BlockIoException {
        child.writeZeroes(offset, length, flags);
    }

    @Override
    public Extent extentAt(long offset, long length) throws BlockIoException {
        return child.extentAt(offset, length);
    }

    @Override
    public void extents(long offset, long length, ExtentSink to) throws BlockIoException {
        child.extents(offset, length, to);
    }

    @Override
    public void resize(long length) throws BlockIoException {
        child.resize(length);
    }

    @Override
    public Optional<Boolean> dirty() {
        return child.dirty();
    }

    @Override
    public Optional<Long> allocatedSize() {
        return child.allocatedSize();
    }

    @Override
    public void close() {}
}

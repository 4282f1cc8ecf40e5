package io.blockwharf.core.graph;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;

/** In the place of an image that could not be opened again: every request fails. */
final class LostImage implements BlockImage {
    private final long length;
    private final BlockLimits limits;
    private final String filename;

    /** In the place of that node's image, which is closed. */
    LostImage(Node node) {
        length = node.imageLength();
        limits = node.limits();
        filename = node.image().filename();
    }

    private static BlockIoException lost() {
        return new BlockIoException(Errno.EIO, "the image could not be opened again");
    }

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return limits;
    }

    @Override
    public String filename() {
        return filename;
    }

    @Override
    public void read(long offset, IoVector into) throws BlockIoException {
        throw lost();
    }

    @Override
    public void write(long offset, IoVector from, int flags) throws BlockIoException {
        throw lost();
    }

    @Override
    public void flush() throws BlockIoException {
        throw lost();
    }

    @Override
    public void discard(long offset, long bytes) throws BlockIoException {
        throw lost();
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) throws BlockIoException {
        throw lost();
    }

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        throw lost();
    }

    @Override
    public boolean closedForOthers() {
        return true;
    }

    @Override
    public void close() {}
}

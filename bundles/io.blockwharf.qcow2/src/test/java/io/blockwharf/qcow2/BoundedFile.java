package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;

/**
 * A file on a file system that becomes full: it stores only so many blocks more than it has, unless
 * some are given back. Blocks of nothing but zeroes are holes at first.
 */
class BoundedFile extends DiskFile {
    static final int BLOCK = 4096;
    private final BitSet stored = new BitSet();
    private int room;

    BoundedFile(Path path, int room) throws IOException {
        super(path, true);
        this.room = room;
        byte[] content = Files.readAllBytes(path);
        for (int i = 0; i < content.length; i++) {
            if (content[i] != 0) {
                stored.set(i / BLOCK);
            }
        }
    }

    private void store(long offset, long bytes) throws BlockIoException {
        int from = (int) (offset / BLOCK);
        int to = (int) ((offset + bytes + BLOCK - 1) / BLOCK);
        for (int block = stored.nextClearBit(from); block < to; ) {
            if (room == 0) {
                throw new BlockIoException(Errno.ENOSPC, "full");
            }
            room--;
            stored.set(block);
            block = stored.nextClearBit(block);
        }
    }

    @Override
    public synchronized void write(long offset, IoVector from, int flags) throws BlockIoException {
        store(offset, from.byteCount());
        super.write(offset, from, flags);
    }

    @Override
    public synchronized void writeZeroes(long offset, long bytes, int flags)
            throws BlockIoException {
        store(offset, bytes);
        super.writeZeroes(offset, bytes, flags);
    }

    @Override
    public synchronized void discard(long offset, long bytes) throws BlockIoException {
        super.writeZeroes(offset, bytes, 0);
        int to = (int) ((offset + bytes) / BLOCK);
        for (int block = (int) ((offset + BLOCK - 1) / BLOCK); block < to; block++) {
            if (stored.get(block)) {
                stored.clear(block);
                room++;
            }
        }
    }
}

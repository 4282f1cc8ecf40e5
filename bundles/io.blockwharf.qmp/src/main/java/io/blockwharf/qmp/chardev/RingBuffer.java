package io.blockwharf.qmp.chardev;

import java.io.OutputStream;

/** Keeps the last bytes that were written until they are read. Thread-safe. */
final class RingBuffer extends OutputStream {
    private final byte[] bytes;

    /** Bytes ever written and ever read or overwritten. */
    private long produced;

    private long consumed;

    /** Keeps {@code size} bytes, a power of two. */
    RingBuffer(int size) {
        bytes = new byte[size];
    }

    @Override
    public synchronized void write(int b) {
        bytes[(int) (produced++ & bytes.length - 1)] = (byte) b;
        consumed = Math.max(consumed, produced - bytes.length);
    }

    @Override
    public synchronized void write(byte[] more, int offset, int length) {
        for (int i = offset; i < offset + length; i++) {
            write(more[i]);
        }
    }

    /** Takes the oldest bytes, at most {@code length}. */
    synchronized byte[] read(long length) {
        byte[] taken = new byte[(int) Math.min(length, produced - consumed)];
        for (int i = 0; i < taken.length; i++) {
            taken[i] = bytes[(int) (consumed++ & bytes.length - 1)];
        }
        return taken;
    }
}

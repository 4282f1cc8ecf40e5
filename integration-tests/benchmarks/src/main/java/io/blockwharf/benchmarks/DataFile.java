package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.concurrent.TimeUnit;

/**
 * The file that every server serves. Its first and last eight bytes of every 4 KiB block tell the
 * block's offset, which lets the client see a wrong answer at the cost of two comparisons; writes
 * keep the pattern. No block is zero, so that no server profits from a hole.
 */
record DataFile(Path path, long size) {
    static final int BLOCK = 4096;

    private static final long FIRST = 0x426c6f636b776861L;
    private static final long LAST = 0x72662062656e6368L;
    private static final byte FILLER = (byte) 0xa5;

    static DataFile create(Path path, long size) throws IOException {
        var block = ByteBuffer.allocateDirect(1 << 20);
        fill(block);
        try (var file =
                FileChannel.open(
                        path,
                        StandardOpenOption.CREATE,
                        StandardOpenOption.WRITE,
                        StandardOpenOption.TRUNCATE_EXISTING)) {
            for (long at = 0; at < size; at += block.capacity()) {
                mark(block, 0, at, block.capacity());
                block.clear().limit((int) Math.min(block.capacity(), size - at));
                while (block.hasRemaining()) {
                    file.write(block);
                }
            }
            file.force(true);
        }
        return new DataFile(path, size);
    }

    /** Fills a buffer with what is between the marks. */
    static void fill(ByteBuffer buffer) {
        for (int i = 0; i < buffer.capacity(); i++) {
            buffer.put(i, FILLER);
        }
    }

    /**
     * Writes the marks of {@code length} bytes of the file from {@code offset} on, at {@code at} of
     * the buffer.
     */
    static void mark(ByteBuffer buffer, int at, long offset, int length) {
        for (int i = 0; i < length; i += BLOCK) {
            buffer.putLong(at + i, FIRST ^ (offset + i));
            buffer.putLong(at + i + BLOCK - Long.BYTES, LAST ^ (offset + i));
        }
    }

    /** Whether the marks are those of {@code length} bytes of the file from {@code offset} on. */
    static boolean isMarked(ByteBuffer buffer, int at, long offset, int length) {
        for (int i = 0; i < length; i += BLOCK) {
            if (buffer.getLong(at + i) != (FIRST ^ (offset + i))
                    || buffer.getLong(at + i + BLOCK - Long.BYTES) != (LAST ^ (offset + i))) {
                return false;
            }
        }
        return true;
    }

    /** Whether the places of the marks hold zeroes. */
    static boolean isZero(ByteBuffer buffer, int at, int length) {
        for (int i = 0; i < length; i += BLOCK) {
            if (buffer.getLong(at + i) != 0 || buffer.getLong(at + i + BLOCK - Long.BYTES) != 0) {
                return false;
            }
        }
        return true;
    }

    /** Brings the whole file into the page cache. */
    void warm() throws IOException {
        var buffer = ByteBuffer.allocateDirect(1 << 20);
        try (var file = FileChannel.open(path, StandardOpenOption.READ)) {
            while (file.read(buffer.clear()) >= 0) {}
        }
    }

    /**
     * Drops the file from the page cache, and only this file: coreutils' dd calls
     * posix_fadvise(POSIX_FADV_DONTNEED) on all of its input when it is told to copy nothing
     * without cache. Dirty pages are written first.
     */
    void dropFromCache() throws IOException, InterruptedException {
        try (var file = FileChannel.open(path, StandardOpenOption.WRITE)) {
            file.force(true);
        }
        Process dd =
                new ProcessBuilder("dd", "if=" + path, "iflag=nocache", "count=0", "status=none")
                        .inheritIO()
                        .start();
        if (!dd.waitFor(60, TimeUnit.SECONDS) || dd.exitValue() != 0) {
            throw new IOException("dd could not drop the page cache of " + path);
        }
    }

    void delete() throws IOException {
        Files.deleteIfExists(path);
    }
}

package io.blockwharf.block;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.JsonFilename;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;

/** A device that forgets what is written. Nothing is allocated per request. */
final class NullImage implements BlockImage {
    private static final long DEFAULT_SIZE = 1L << 30;

    private final String filename;
    private final long length;
    private final long latency;
    private final boolean fills;
    private final Extent all;

    NullImage(String driver, NullOptions options) {
        filename = filename(driver, options);
        length = options.size().orElse(DEFAULT_SIZE);
        latency = options.latencyNs().orElse(0L);
        fills = options.readZeroes().orElse(true);
        long run = Math.max(length, 1);
        all = options.readZeroes().orElse(false) ? Extent.hole(0, run) : Extent.data(0, run);
    }

    /** A name like those of URIs says nothing about options; none tells how slow the node is. */
    private static String filename(String driver, NullOptions options) {
        if (options.size().isEmpty() && options.readZeroes().isEmpty()) {
            return driver + "://";
        }
        Map<String, Optional<String>> members = new LinkedHashMap<>();
        members.put("driver", Optional.of(JsonFilename.text(driver)));
        members.put("size", options.size().map(String::valueOf));
        members.put("read-zeroes", options.readZeroes().map(String::valueOf));
        return JsonFilename.of(members);
    }

    private void delay() {
        if (latency == 0) {
            return;
        }
        long start = System.nanoTime();
        long left = latency;
        while (left > 0) {
            LockSupport.parkNanos(left);
            if (Thread.currentThread().isInterrupted()) {
                return; // parking returns at once now, and spinning helps nobody
            }
            left = latency - (System.nanoTime() - start);
        }
    }

    @Override
    public long length() {
        return length;
    }

    @Override
    public BlockLimits limits() {
        return BlockLimits.NONE;
    }

    @Override
    public void read(long offset, IoVector into) {
        if (fills) {
            into.fillZero();
        }
        delay();
    }

    @Override
    public void write(long offset, IoVector from, int flags) {
        delay();
    }

    @Override
    public boolean tryRead(long offset, IoVector into) {
        if (latency != 0) {
            return false;
        }
        read(offset, into);
        return true;
    }

    @Override
    public boolean tryWrite(long offset, IoVector from, int flags) {
        return latency == 0;
    }

    @Override
    public void flush() {
        delay();
    }

    @Override
    public void discard(long offset, long bytes) {
        delay();
    }

    @Override
    public void writeZeroes(long offset, long bytes, int flags) {
        delay();
    }

    @Override
    public Extent extentAt(long offset, long bytes) throws BlockIoException {
        return all;
    }

    @Override
    public String filename() {
        return filename;
    }

    @Override
    public Optional<Long> allocatedSize() {
        return Optional.of(0L);
    }

    @Override
    public void close() {
        // nothing was opened
    }
}

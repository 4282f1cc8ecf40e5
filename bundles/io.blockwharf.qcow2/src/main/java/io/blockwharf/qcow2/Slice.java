package io.blockwharf.qcow2;

import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.HostExtent;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Optional;

/**
 * A part of an L2 table in memory: neighbouring entries, in the order of the disk. Any thread reads
 * entries without waiting; they are set with the metadata lock held, which also guards what the
 * fields say.
 */
final class Slice {
    private static final VarHandle WORDS = MethodHandles.arrayElementVarHandle(long[].class);

    /** Which slice of the disk it is. */
    final long number;

    final long[] words;

    /** Where it lies in the file, bytes. */
    long place;

    /** Not written yet. */
    boolean dirty;

    /** Being written: what is in the file is not what is here. */
    boolean writing;

    /** Requests that are about to change it. */
    int pins;

    /** How many of its clusters are stored in parts. */
    int partials;

    /** Of clusters that are stored in parts: which ones are, as bits. Null until there is one. */
    private volatile long[] parts;

    /** Has been asked since somebody looked; nothing depends on it. */
    boolean used = true;

    /** Odd while an entry of two words changes. */
    private volatile int version;

    /** The run that was described last, with the image's generation of then. */
    volatile Described<Extent> extent;

    /** The same for where the run's bytes lie. */
    volatile Described<Optional<HostExtent>> host;

    /** Something that was true in a generation. */
    record Described<T>(long generation, T run) {}

    Slice(long number, long place, long[] words) {
        this.number = number;
        this.place = place;
        this.words = words;
    }

    /** Whether it may be pushed out. */
    boolean idle() {
        return !dirty && !writing && pins == 0 && partials == 0;
    }

    /** An entry of one word. */
    long word(int index) {
        return (long) WORDS.getAcquire(words, index);
    }

    void set(int index, long entry) {
        WORDS.setRelease(words, index, entry);
    }

    /** The stored parts of a cluster whose entry is {@link Mapping#PARTIAL}. */
    long parts(int index) {
        return (long) WORDS.getAcquire(parts, index);
    }

    /** Sets them; before the entry says so, if it does not yet. */
    void setParts(int index, long bits) {
        if (parts == null) {
            parts = new long[words.length];
        }
        WORDS.setRelease(parts, index, bits);
    }

    /** The two words of an entry with a bitmap, as they were at one moment. */
    void read(int index, Cursor into) {
        while (true) {
            int before = version;
            long entry = (long) WORDS.getOpaque(words, 2 * index);
            long bitmap = (long) WORDS.getOpaque(words, 2 * index + 1);
            VarHandle.loadLoadFence();
            if ((before & 1) == 0 && version == before) {
                into.entry = entry;
                into.bitmap = bitmap;
                return;
            }
            Thread.onSpinWait();
        }
    }

    @SuppressWarnings("NonAtomicOperationOnVolatileField") // one writer at a time
    void set(int index, long entry, long bitmap) {
        version++;
        VarHandle.storeStoreFence();
        WORDS.setOpaque(words, 2 * index, entry);
        WORDS.setOpaque(words, 2 * index + 1, bitmap);
        version++;
    }
}

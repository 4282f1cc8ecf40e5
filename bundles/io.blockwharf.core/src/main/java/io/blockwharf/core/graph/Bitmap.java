package io.blockwharf.core.graph;

import io.blockwharf.api.block.BitmapStore;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.DirtyBitmaps;
import io.blockwharf.api.qmp.QmpException;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;

/**
 * Which parts of a node have been written: one bit for each {@code granularity} bytes.
 *
 * <p>Any number of threads set bits at once, without waiting for each other; everything else is
 * done under the control lock. Clearing and setting at the same time leaves the bit either way, as
 * if one had come after the other.
 */
final class Bitmap implements WriteObserver, DirtyBitmaps.Found {
    /** Bits per word. */
    private static final int WORD = Long.SIZE;

    private static final VarHandle WORDS = MethodHandles.arrayElementVarHandle(long[].class);

    private final Node node;
    private final String name;
    private final int shift;

    /** Replaced as a whole when the node grows; whoever sets a bit looks again afterwards. */
    private volatile long[] words;

    private volatile boolean enabled;
    private volatile boolean busy;

    /** Kept in the image beyond the end of the node. Guarded by the control lock, as all below. */
    private boolean persistent;

    private boolean inconsistent;

    /** A bitmap without a dirty bit that records nothing yet. */
    Bitmap(Node node, String name, long granularity) {
        this.node = node;
        this.name = name;
        shift = Long.numberOfTrailingZeros(granularity);
        words = new long[wordsFor(node.length())];
    }

    private int wordsFor(long length) {
        long bits = (length >> shift) + 1;
        return Math.toIntExact((bits + WORD - 1) / WORD);
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public boolean enabled() {
        return enabled;
    }

    void enable(boolean on) {
        enabled = on;
    }

    @Override
    public boolean nodeReadOnly() {
        return node.readOnly();
    }

    long granularity() {
        return 1L << shift;
    }

    boolean persistent() {
        return persistent;
    }

    void persist() {
        persistent = true;
    }

    boolean inconsistent() {
        return inconsistent;
    }

    /** Its bits mean nothing: it can only be removed. */
    void distrust() {
        inconsistent = true;
    }

    boolean busy() {
        return busy;
    }

    /** Refuses what would change or remove a bitmap that somebody reads. */
    void checkFree() {
        if (busy) {
            throw QmpException.generic(
                    "Bitmap '%s' is currently in use by another operation and cannot be used",
                    name);
        }
    }

    /** Refuses what would look into a bitmap that means nothing, too. */
    void checkUsable() {
        checkFree();
        if (inconsistent) {
            throw QmpException.generic("Bitmap '%s' is inconsistent and cannot be used", name)
                    .withHint("Try block-dirty-bitmap-remove to delete this bitmap from disk");
        }
    }

    /** Refuses what would change a bitmap whose image cannot be written, too. */
    void checkChangeable() {
        checkUsable();
        if (persistent && node.readOnly()) {
            throw QmpException.generic("Bitmap '%s' is readonly and cannot be modified", name);
        }
    }

    // --- Setting -----------------------------------------------------------------------------

    @Override
    public void changed(long offset, long length) {
        if (enabled) {
            set(offset, length);
        }
    }

    /** Sets the bits of a range, as far as the node reaches. */
    void set(long offset, long length) {
        if (length <= 0) {
            return;
        }
        long[] target = words;
        while (true) {
            setIn(target, offset >> shift, (offset + length - 1) >> shift);
            long[] now = words;
            if (now == target) {
                return;
            }
            target = now; // it has grown meanwhile, and may not have taken our bits along
        }
    }

    private static void setIn(long[] target, long first, long last) {
        long end = Math.min(last, (long) target.length * WORD - 1);
        for (long word = first / WORD; word * WORD <= end; word++) {
            long low = Math.max(first - word * WORD, 0);
            long high = Math.min(end - word * WORD, WORD - 1);
            long mask = -1L >>> (WORD - 1 - (high - low)) << low;
            int index = (int) word;
            // Most writes hit what is dirty already: a read keeps the cache line shared then
            if (((long) WORDS.getOpaque(target, index) & mask) != mask) {
                WORDS.getAndBitwiseOr(target, index, mask);
            }
        }
    }

    @Override
    public void resized() {
        int wanted = wordsFor(node.length());
        long[] old = words;
        if (wanted != old.length) {
            long[] fresh = new long[wanted];
            words = fresh;
            for (int i = 0; i < Math.min(wanted, old.length); i++) {
                WORDS.getAndBitwiseOr(fresh, i, (long) WORDS.getVolatile(old, i));
            }
        }
    }

    /** Clears all bits. */
    void clear() {
        long[] all = words;
        for (int i = 0; i < all.length; i++) {
            WORDS.setVolatile(all, i, 0L);
        }
    }

    /** Sets the bits of what is dirty in another bitmap of a node of the same size. */
    void merge(Bitmap other) {
        long end = node.length();
        for (long at = 0; at < end; ) {
            long run = other.runEnd(at, end);
            if (other.isDirty(at)) {
                set(at, run - at);
            }
            at = run;
        }
    }

    Node node() {
        return node;
    }

    // --- Asking ------------------------------------------------------------------------------

    boolean isDirty(long offset) {
        long bit = offset >> shift;
        long[] all = words;
        return bit / WORD < all.length
                && ((long) WORDS.getOpaque(all, (int) (bit / WORD)) >>> bit % WORD & 1) != 0;
    }

    long runEnd(long offset, long limit) {
        long[] all = words;
        long bit = offset >> shift;
        long bits = (long) all.length * WORD;
        if (bit >= bits) {
            return limit;
        }
        long flip = isDirty(offset) ? -1L : 0;
        int word = (int) (bit / WORD);
        long different = ((long) WORDS.getOpaque(all, word) ^ flip) & -1L << bit % WORD;
        while (different == 0 && ++word < all.length) {
            if ((long) word * WORD << shift >= limit) {
                return limit;
            }
            different = (long) WORDS.getOpaque(all, word) ^ flip;
        }
        if (different == 0) {
            return limit;
        }
        long next = (long) word * WORD + Long.numberOfTrailingZeros(different);
        return Math.min(limit, next << shift);
    }

    /** Dirty bytes: whole blocks, also at the end of the node. */
    long count() {
        long dirty = 0;
        for (long word : words) {
            dirty += Long.bitCount(word);
        }
        return dirty << shift;
    }

    // --- Use ---------------------------------------------------------------------------------

    @Override
    public DirtyBitmap use() {
        checkUsable();
        busy = true;
        return new Use();
    }

    /** What is stored in the image. */
    BitmapStore.Kept kept() {
        return new BitmapStore.Kept(new Use(), enabled);
    }

    private final class Use implements DirtyBitmap {
        private boolean closed;

        @Override
        public String name() {
            return name;
        }

        @Override
        public long granularity() {
            return Bitmap.this.granularity();
        }

        @Override
        public boolean isDirty(long offset) {
            return Bitmap.this.isDirty(offset);
        }

        @Override
        public long runEnd(long offset, long limit) {
            return Bitmap.this.runEnd(offset, limit);
        }

        @Override
        public synchronized void close() {
            if (!closed) {
                closed = true;
                busy = false;
            }
        }
    }
}

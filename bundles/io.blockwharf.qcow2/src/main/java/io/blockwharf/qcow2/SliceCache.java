package io.blockwharf.qcow2;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * The slices in memory: a set-associative cache. Any thread looks without waiting; slices come and
 * go with the metadata lock held. Neighbouring slices are in different sets, so that a cache that
 * is large enough for the disk holds all of it.
 */
final class SliceCache {
    private static final VarHandle SLOTS = MethodHandles.arrayElementVarHandle(Slice[].class);
    private static final int WAYS = 8;

    private final Slice[] slots;
    private final int setBits;
    private int hand;

    /** Slices that were pushed out so far: what was read before may be out of date after. */
    private long evictions;

    /** A cache of at least that many slices. */
    SliceCache(long capacity) {
        long sets = Math.max(1, (capacity + WAYS - 1) / WAYS);
        setBits = Math.min(24, Long.SIZE - Long.numberOfLeadingZeros(sets - 1));
        slots = new Slice[WAYS << setBits];
    }

    private int home(long number) {
        return (int) (number & (1L << setBits) - 1) * WAYS;
    }

    /** A slice, or null. */
    Slice get(long number) {
        int home = home(number);
        int first = (int) (number >>> setBits);
        for (int i = 0; i < WAYS; i++) {
            Slice slice = (Slice) SLOTS.getAcquire(slots, home + (first + i & WAYS - 1));
            if (slice != null && slice.number == number) {
                if (!slice.used) {
                    slice.used = true;
                }
                return slice;
            }
        }
        return null;
    }

    long evictions() {
        return evictions;
    }

    /**
     * Takes a slice in that is not there, if need be for another one of its set.
     *
     * @return false if all of those have to be written first
     */
    boolean put(Slice slice) {
        if (putIfRoom(slice)) {
            return true;
        }
        int home = home(slice.number);
        // Second chance: what was not used since the hand came by last goes first
        for (int i = 0; i < 2 * WAYS; i++) {
            int at = home + (hand++ & WAYS - 1);
            Slice old = slots[at];
            if (!old.idle()) {
                continue;
            }
            if (old.used && i < WAYS) {
                old.used = false;
                continue;
            }
            evictions++;
            SLOTS.setRelease(slots, at, slice);
            return true;
        }
        return false;
    }

    /** Takes a slice in that is not there, if it need not push out another one. */
    boolean putIfRoom(Slice slice) {
        int home = home(slice.number);
        int first = (int) (slice.number >>> setBits);
        for (int i = 0; i < WAYS; i++) {
            int at = home + (first + i & WAYS - 1);
            if (slots[at] == null) {
                SLOTS.setRelease(slots, at, slice);
                return true;
            }
        }
        return false;
    }

    /** The slices that are to be written. */
    List<Slice> dirty() {
        return those(slice -> slice.dirty);
    }

    /** The slices with clusters that are stored in parts. */
    List<Slice> partial() {
        return those(slice -> slice.partials > 0);
    }

    private List<Slice> those(Predicate<Slice> wanted) {
        List<Slice> found = new ArrayList<>();
        for (Slice slice : slots) {
            if (slice != null && wanted.test(slice)) {
                found.add(slice);
            }
        }
        return found;
    }

    /** Lets go of what was not used since this was called last: cache-clean-interval. */
    void dropUnused() {
        for (int at = 0; at < slots.length; at++) {
            Slice slice = slots[at];
            if (slice != null && slice.idle()) {
                if (slice.used) {
                    slice.used = false;
                } else {
                    evictions++;
                    SLOTS.setRelease(slots, at, null);
                }
            }
        }
    }

    /** How many slices there are. */
    int size() {
        int size = 0;
        for (Slice slice : slots) {
            size += slice == null ? 0 : 1;
        }
        return size;
    }
}

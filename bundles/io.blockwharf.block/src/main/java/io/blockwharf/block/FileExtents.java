package io.blockwharf.block;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.StoredRuns;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.Arrays;
import java.util.Optional;
import java.util.OptionalLong;

/**
 * Which parts of a file are holes, as the file system tells (lseek(2), SEEK_DATA and SEEK_HOLE).
 * The run that was found last is kept, so that asking again costs and allocates nothing. Who walks
 * through a file is told from the file system's map, where it can be trusted.
 *
 * <p>Any number of threads may ask, and tell of changes. A change counts {@link #generation} up
 * after it has been made, and a run is only good in the generation in which the search for it
 * began: one that was found while a hole was being filled is not used afterwards.
 */
final class FileExtents {
    private static final VarHandle GENERATION;

    static {
        try {
            GENERATION =
                    MethodHandles.lookup()
                            .findVarHandle(FileExtents.class, "generation", int.class);
        } catch (ReflectiveOperationException e) {
            throw new ExceptionInInitializerError(e);
        }
    }

    /**
     * How far to look back for the beginning of a run at first, bytes; the next steps are longer.
     */
    private static final long FIRST_STEP = 1 << 20;

    private static final int STEP_FACTOR = 8;

    /** Runs one after the other until the file system is asked for many at once. */
    private static final int WALK = 4;

    /** The same, after the file system could not tell more than about one. */
    private static final int RELUCTANCE = 64;

    /**
     * @param steps runs that were asked for one after the other, up to this one
     */
    private record Found(Extent extent, int generation, int steps) {}

    /** A part of the file system's map, and where whoever walks through it has arrived. */
    private static final class Ahead {
        final StoredRuns runs;
        final int generation;

        /** The bound that was answered last: a hint, and so no matter who else moves it. */
        private int cursor;

        Ahead(StoredRuns runs, int generation) {
            this.runs = runs;
            this.generation = generation;
        }

        boolean covers(long offset, int wanted) {
            return generation == wanted && offset >= runs.from() && offset < runs.known();
        }

        /** Index of the first bound behind the offset. */
        int boundBehind(long offset) {
            long[] bounds = runs.bounds();
            int next = cursor + 1;
            if (next >= bounds.length || bounds[next - 1] != offset || bounds[next] <= offset) {
                int found = Arrays.binarySearch(bounds, offset);
                next = found >= 0 ? found + 1 : -found - 1;
            }
            cursor = next;
            return next;
        }

        /** Whether the bytes before a bound are stored. */
        static boolean isData(int bound) {
            return bound % 2 == 1;
        }

        /** Where the run before a bound ends. */
        long endOf(int bound, long length) {
            long[] bounds = runs.bounds();
            return bound < bounds.length ? bounds[bound] : Math.min(runs.known(), length);
        }
    }

    private final HostFile file;
    private volatile int generation;
    private volatile Found last = new Found(Extent.data(0, 1), -1, 0);

    /** What lies before somebody who walks through the file. */
    private volatile Ahead ahead = new Ahead(new StoredRuns(new long[0], 0, 0), -1);

    /** Whether the file system tells; learned from its first refusal. */
    private volatile boolean knowsHoles;

    FileExtents(HostFile file) {
        this.file = file;
        knowsHoles = file.kind() == HostFile.Kind.REGULAR;
    }

    /**
     * The run that contains {@code offset}.
     *
     * @param length of the image
     */
    Extent at(long offset, long length) throws BlockIoException {
        Found found = last;
        if (found.generation == generation && found.extent.contains(offset)) {
            return found.extent;
        }
        int begin = generation;
        boolean walks = found.generation == begin && found.extent.end() == offset;
        int steps = walks ? Math.min(found.steps + 1, WALK) : 0;
        Extent extent = steps == WALK ? lookAhead(offset, length, begin) : null;
        if (extent == null) {
            steps = steps == WALK ? -RELUCTANCE : steps;
            extent = walks ? next(found.extent, length) : search(offset, length);
        }
        last = new Found(extent, begin, steps);
        return extent;
    }

    /**
     * Tells of the run at {@code offset}, and of those behind it that the map has: see {@link
     * io.blockwharf.api.block.BlockIo#extents}.
     *
     * @param length of the image
     */
    void tell(long offset, long wanted, long length, ExtentSink to) throws BlockIoException {
        int begin = generation;
        Extent first = at(offset, length);
        boolean more = first.tell(offset, to);
        long at = first.end();
        Ahead map = ahead;
        if (!more || at - offset >= wanted || !map.covers(at, begin)) {
            return;
        }
        long from = at;
        int next = map.boundBehind(at);
        while (more && at - offset < wanted && map.endOf(next, length) > at) {
            from = at;
            at = map.endOf(next, length);
            more = to.run(at - from, Ahead.isData(next), !Ahead.isData(next), 1);
            next++;
        }
        if (at > from) {
            map.cursor = next - 1;
            last = new Found(run(from, at, Ahead.isData(next - 1)), begin, WALK);
        }
    }

    private static Extent run(long from, long end, boolean data) {
        return data ? Extent.data(from, end - from) : Extent.hole(from, end - from);
    }

    /** Bytes were written: a hole may have become data. To be called when the write is complete. */
    void written(long offset, long bytes) {
        Found found = last;
        boolean wasData =
                found.generation == generation
                        && found.extent.data()
                        && found.extent.contains(offset)
                        && bytes <= found.extent.end() - offset;
        if (!wasData) {
            changed();
        }
    }

    /** Anything may have changed: punched, zeroed, resized. To be called when it is complete. */
    void changed() {
        GENERATION.getAndAdd(this, 1);
    }

    private Extent search(long offset, long length) throws BlockIoException {
        if (knowsHoles) {
            try {
                return runAt(offset, length);
            } catch (LinuxException e) {
                if (!e.is(Errnos.EINVAL)) {
                    throw new BlockIoException(Errno.of(e.errno()), e.getMessage(), e);
                }
                knowsHoles = false;
            }
        }
        return Extent.data(0, Math.max(length, offset + 1));
    }

    /**
     * From the map of the file system, which tells of a thousand runs at once; null if it cannot.
     */
    private Extent lookAhead(long offset, long length, int begin) {
        if (!knowsHoles) {
            return null;
        }
        Ahead map = ahead;
        if (!map.covers(offset, begin)) {
            Optional<StoredRuns> asked = file.storedRuns(offset);
            if (asked.isEmpty()) {
                return null;
            }
            map = new Ahead(asked.get(), begin);
            ahead = map;
        }
        int next = map.boundBehind(offset);
        long end = map.endOf(next, length);
        return end <= offset ? null : run(offset, end, Ahead.isData(next));
    }

    /**
     * The run behind one: it is of the other kind, and begins there. Who walks through a file pays
     * one call per run.
     */
    private Extent next(Extent previous, long length) throws BlockIoException {
        long offset = previous.end();
        if (knowsHoles && offset < length) {
            try {
                OptionalLong found =
                        previous.data() ? file.seekData(offset) : file.seekHole(offset);
                long end = found.orElse(length);
                if (end > offset) {
                    return run(offset, end, !previous.data());
                }
                // Another process has filled or punched
            } catch (LinuxException e) {
                // The search will tell
            }
        }
        return search(offset, length);
    }

    private Extent runAt(long offset, long length) throws LinuxException {
        OptionalLong data = file.seekData(offset);
        if (data.isPresent() && data.getAsLong() == offset) {
            long end = file.seekHole(offset).orElse(length);
            // Another process may fill or punch while this looks: a run has at least one byte
            end = Math.max(end, offset + 1);
            return whole(offset, end, true);
        }
        return whole(offset, Math.max(data.orElse(length), offset + 1), false);
    }

    /** Goes back as long as the run reaches from there to the same end. */
    private Extent whole(long offset, long end, boolean data) throws LinuxException {
        long start = offset;
        long step = FIRST_STEP;
        while (start > 0) {
            long earlier = Math.max(0, start - step);
            OptionalLong same = data ? file.seekHole(earlier) : file.seekData(earlier);
            boolean toFileEnd = !data && same.isEmpty();
            if (!toFileEnd && (same.isEmpty() || same.getAsLong() < end)) {
                break;
            }
            start = earlier;
            step *= STEP_FACTOR;
        }
        return run(start, end, data);
    }
}

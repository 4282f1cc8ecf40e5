package io.blockwharf.block;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.Extent;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;

import java.lang.invoke.MethodHandles;
import java.lang.invoke.VarHandle;
import java.util.OptionalLong;

/**
 * Which parts of a file are holes, as the file system tells (lseek(2), SEEK_DATA and SEEK_HOLE).
 * The run that was found last is kept, so that asking again costs and allocates nothing.
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

    private record Found(Extent extent, int generation) {}

    private final HostFile file;
    private volatile int generation;
    private volatile Found last = new Found(Extent.data(0, 1), -1);

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
        Extent extent = search(offset, length);
        last = new Found(extent, begin);
        return extent;
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

    private Extent runAt(long offset, long length) throws LinuxException {
        OptionalLong data = file.seekData(offset);
        if (data.isPresent() && data.getAsLong() == offset) {
            long end = file.seekHole(offset).orElse(length);
            // Another process may fill or punch while this looks: a run has at least one byte
            end = Math.max(end, offset + 1);
            return run(offset, end, true);
        }
        return run(offset, Math.max(data.orElse(length), offset + 1), false);
    }

    /** Goes back as long as the run reaches from there to the same end. */
    private Extent run(long offset, long end, boolean data) throws LinuxException {
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
        return data ? Extent.data(start, end - start) : Extent.hole(start, end - start);
    }
}

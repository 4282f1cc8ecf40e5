package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Errno;

import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.locks.ReentrantLock;

/**
 * Writes metadata in an order in which the file is consistent at every moment, whatever is lost
 * behind it:
 *
 * <ol>
 *   <li>data (written before it is mapped) and the refcounts of new clusters;
 *   <li>the refcount table, and the header if it has moved;
 *   <li>L2 tables, which refer to those clusters;
 *   <li>L1 entries, which refer to those tables;
 *   <li>refcounts of clusters that nothing refers to any more.
 * </ol>
 *
 * <p>Between two steps the file is flushed. So each count in the file is at least as large as the
 * number of references in the file; a crash leaks clusters, nothing else. What belongs to one
 * commit is copied at one moment; meanwhile requests go on.
 */
final class Commit {
    /** Clusters given up, which wait for their turn. */
    private static final class Clusters {
        private long[] all = new long[16];
        private int count;

        void add(long cluster) {
            if (count == all.length) {
                all = Arrays.copyOf(all, 2 * count);
            }
            all[count++] = cluster;
        }

        void addAll(Clusters others) {
            for (int i = 0; i < others.count; i++) {
                add(others.all[i]);
            }
        }

        boolean isEmpty() {
            return count == 0;
        }

        /** Neighbours together; one that is there twice begins a run of its own. */
        List<Run> runs() {
            Arrays.sort(all, 0, count);
            List<Run> runs = new ArrayList<>();
            for (int i = 0; i < count; ) {
                int run = 1;
                while (i + run < count && all[i + run] == all[i] + run) {
                    run++;
                }
                runs.add(new Run(all[i], run));
                i += run;
            }
            return runs;
        }
    }

    /** Clusters one behind the other. */
    private record Run(long first, int count) {}

    private final Header header;
    private final ImageFile file;
    private final BlockNode data;
    private final Refcounts refcounts;
    private final Mapping mapping;
    private final Overlaps overlaps;
    private final ReentrantLock lock;
    private final boolean discards;
    private final InFlight inFlight = new InFlight();

    /** Held from the beginning of a commit to its end; taken before the metadata lock. */
    private final ReentrantLock serial = new ReentrantLock();

    /** Given up since the last commit. Guarded by the metadata lock. */
    private Clusters given = new Clusters();

    /** Those of them whose content nobody misses, not even after a crash. Guarded likewise. */
    private Clusters cleared = new Clusters();

    /** Given up in the file, too, but the requests before are not counted yet. */
    private Clusters later = new Clusters();

    /** Perhaps still seen by requests of the generation before. Guarded by {@link #serial}. */
    private Clusters seen = new Clusters();

    /** The same that no request can see. Guarded by {@link #serial}. */
    private Clusters free = new Clusters();

    /**
     * The order of writes of an image.
     *
     * @param data where guest data lies: the file itself, or another one
     * @param discards whether the file is told of clusters that became free
     */
    Commit(
            Header header,
            ImageFile file,
            BlockNode data,
            Refcounts refcounts,
            Mapping mapping,
            Overlaps overlaps,
            ReentrantLock lock,
            boolean discards) {
        this.header = header;
        this.file = file;
        this.data = data;
        this.refcounts = refcounts;
        this.mapping = mapping;
        this.overlaps = overlaps;
        this.lock = lock;
        this.discards = discards;
    }

    InFlight inFlight() {
        return inFlight;
    }

    /** A cluster is referred to once less, from the next commit on. With the metadata lock. */
    void giveUp(long cluster) {
        given.add(cluster);
    }

    /** The same for a cluster of a range that was discarded, or is to read as zeroes. */
    void clear(long cluster) {
        given.add(cluster);
        cleared.add(cluster);
    }

    /** Whether so much was given up that a commit should come between. */
    boolean crowded() {
        return given.count > 1 << 16;
    }

    /** Makes everything that was written or allocated before survive a crash. */
    void flush() throws BlockIoException {
        serial.lock();
        try {
            write();
            release();
        } finally {
            serial.unlock();
        }
    }

    /** Runs something between two commits. */
    void exclusively(Step step) throws BlockIoException {
        serial.lock();
        try {
            write();
            step.run();
        } finally {
            serial.unlock();
        }
    }

    /** Writes what was allocated until now; within {@link #exclusively}. */
    void writeNow() throws BlockIoException {
        write();
    }

    /** A step of a change of the image's layout. */
    @FunctionalInterface
    interface Step {
        void run() throws BlockIoException;
    }

    private void barrier() throws BlockIoException {
        if (data != file.node) {
            data.flush();
        }
        file.node.flush();
    }

    /**
     * Writes everything. Where the device is full, what was cleared is taken back from it first:
     * the file still refers to such a cluster, which now reads as zeroes, and still counts it.
     */
    private void write() throws BlockIoException {
        try {
            writeOnce();
        } catch (BlockIoException e) {
            if (e.errno() != Errno.ENOSPC && e.errno() != Errno.EDQUOT || !punchCleared()) {
                throw e;
            }
            writeOnce();
        }
    }

    private void writeOnce() throws BlockIoException {
        Refcounts.Snapshot counts;
        Mapping.Taken map;
        Clusters leaving;
        Clusters without;
        lock.lock();
        try {
            counts = refcounts.take();
            map = mapping.take();
            leaving = given;
            without = cleared;
            given = new Clusters();
            cleared = new Clusters();
        } finally {
            lock.unlock();
        }
        boolean done = false;
        try {
            write(counts, map);
            done = true;
        } finally {
            lock.lock();
            try {
                if (done) {
                    refcounts.written(counts);
                    mapping.written(map);
                    for (long[] old : counts.retired) {
                        for (long i = 0; i < old[1]; i++) {
                            overlaps.remove(old[0] + i, Overlaps.REFCOUNT_TABLE);
                            leaving.add(old[0] + i);
                        }
                    }
                } else {
                    refcounts.failed(counts);
                    mapping.failed(map);
                    given.addAll(leaving);
                    cleared.addAll(without);
                }
            } finally {
                lock.unlock();
            }
        }
        // Requests under way have looked before: they end in the generation that ends now
        later.addAll(leaving);
        if (inFlight.drained()) {
            free.addAll(seen);
            seen = later;
            later = new Clusters();
            inFlight.next();
        }
    }

    private void write(Refcounts.Snapshot counts, Mapping.Taken map) throws BlockIoException {
        for (int i = 0; i < counts.blocks.size(); i++) {
            byte[] bytes = counts.data.get(i);
            long at = counts.blocks.get(i).offset;
            overlaps.check(at >>> header.clusterBits, Overlaps.REFCOUNT_BLOCK, at, bytes.length);
            file.write(at + counts.ranges.get(i)[0], bytes, 0, bytes.length);
        }
        if (counts.table != null) {
            barrier();
            file.write(counts.tableAt, counts.table);
            if (counts.moved) {
                barrier();
                ByteBuffer fields = ImageFile.buffer(12);
                fields.putLong(counts.reftableOffset).putInt(counts.reftableClusters);
                file.write(48, fields);
            }
        }
        if (!map.isEmpty()) {
            barrier();
            for (int i = 0; i < map.slices().size(); i++) {
                long at = map.places()[i];
                overlaps.check(at >>> header.clusterBits, Overlaps.L2, at, mapping.sliceBytes());
                file.write(at, map.data().get(i));
            }
            if (!map.l1().isEmpty()) {
                barrier();
                mapping.writeL1(map, header.l1Offset);
            }
        }
        barrier();
    }

    /** Makes holes where only what was cleared was. Returns whether there was anything. */
    private boolean punchCleared() throws BlockIoException {
        Clusters now;
        lock.lock();
        try {
            now = cleared;
            cleared = new Clusters();
        } finally {
            lock.unlock();
        }
        if (!discards || now.isEmpty()) {
            return false;
        }
        for (Run run : now.runs()) {
            punchLast(run.first(), run.count());
        }
        return true;
    }

    /** Takes back what nobody can see any more. */
    private void release() throws BlockIoException {
        if (!seen.isEmpty() && inFlight.drained()) {
            free.addAll(seen);
            seen = new Clusters();
        }
        if (free.isEmpty()) {
            return;
        }
        Clusters now = free;
        free = new Clusters();
        for (Run run : now.runs()) {
            release(run.first(), run.count());
        }
    }

    private void release(long cluster, int count) throws BlockIoException {
        if (discards) {
            punchLast(cluster, count);
        }
        lock.lock();
        try {
            for (long at = cluster; at < cluster + count; at++) {
                refcounts.add(at, -1);
                if (refcounts.get(at) == 0) {
                    overlaps.remove(at, Overlaps.ALL);
                }
            }
        } finally {
            lock.unlock();
        }
    }

    /** A hole only where this was the last reference, and before somebody else takes it. */
    private void punchLast(long cluster, int count) throws BlockIoException {
        long from = cluster;
        for (long at = cluster; at <= cluster + count; at++) {
            boolean last = at < cluster + count && isLast(at);
            if (!last) {
                if (from < at) {
                    punch(from, at - from);
                }
                from = at + 1;
            }
        }
    }

    private boolean isLast(long cluster) throws BlockIoException {
        lock.lock();
        try {
            return refcounts.get(cluster) == 1;
        } finally {
            lock.unlock();
        }
    }

    private void punch(long cluster, long count) throws BlockIoException {
        long at = cluster << header.clusterBits;
        long bytes = Math.min(count << header.clusterBits, file.length() - at);
        if (bytes > 0) {
            file.node.discard(at, bytes);
        }
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.qcow2.Changes.Step;

import java.util.Optional;

/** Stores compressed clusters, one behind the other. May be used by any thread. */
final class CompressedWriter {
    private final Changes changes;
    private final PartialClusters partials;
    private final int clusterBits;
    private final int clusterSize;

    /** Where the next compressed bytes go: behind the last ones. Guarded by the metadata lock. */
    private long nextCompressed;

    CompressedWriter(Changes changes, PartialClusters partials) {
        this.changes = changes;
        this.partials = partials;
        clusterBits = changes.header.clusterBits;
        clusterSize = changes.header.clusterSize;
    }

    /**
     * Writes a cluster compressed.
     *
     * @param cluster its bytes, a whole cluster
     * @return false if that does not make it smaller: write it as it is
     */
    boolean write(long offset, byte[] cluster) throws BlockIoException {
        Optional<byte[]> shrunk = Compression.shrink(changes.header.zstd, cluster);
        if (shrunk.isEmpty()) {
            return false;
        }
        byte[] bytes = shrunk.get();
        while (true) {
            Step step;
            changes.mapping.find(offset, 1, new Cursor(), true);
            changes.ranges.lock(offset, offset + clusterSize, true);
            try {
                step = storeCompressed(offset, bytes);
            } finally {
                changes.ranges.unlock(offset);
            }
            switch (step) {
                case DONE -> {
                    return true;
                }
                case NO_ROOM -> changes.makeRoom(clusterSize);
                case CROWDED -> partials.flush();
                case AGAIN, WOULD_BLOCK -> {}
            }
        }
    }

    private Step storeCompressed(long offset, byte[] bytes) throws BlockIoException {
        changes.lock.lock();
        try {
            if (!changes.hasRoom(clusterSize)) {
                return Step.NO_ROOM;
            }
            Step step = changes.ensureSlice(offset, true);
            if (step != Step.DONE) {
                return step;
            }
            long place = placeCompressed(bytes.length);
            int x = 62 - (clusterBits - 8);
            long sectors = (place + bytes.length - 1 >>> 9) - (place >>> 9);
            long entry = Mapping.COMPRESSED | sectors << x | place;
            changes.reader.forget(entry);
            changes.isData(place, bytes.length);
            changes.file.write(place, bytes, 0, bytes.length);
            Slice slice = changes.mapping.writable(offset);
            boolean loses = changes.giveUp(changes.mapping.entry(slice, offset), 0, false);
            changes.mapping.set(slice, offset, entry, 0, loses);
            return Step.DONE;
        } finally {
            changes.lock.unlock();
        }
    }

    /** Room for bytes, which share their first cluster with others if the refcount allows it. */
    private long placeCompressed(int bytes) throws BlockIoException {
        long at = nextCompressed;
        long rest = -at & clusterSize - 1;
        boolean shares =
                rest > 0
                        && changes.refcounts.appendable() == at >>> clusterBits
                        && changes.refcounts.get(at >>> clusterBits) < changes.refcounts.largest();
        if (shares && bytes <= rest) {
            changes.refcounts.add(at >>> clusterBits, 1);
        } else {
            long cluster = changes.refcounts.allocate(1, true);
            if (shares && cluster == (at >>> clusterBits) + 1) {
                changes.refcounts.add(at >>> clusterBits, 1);
            } else {
                at = cluster << clusterBits;
            }
        }
        nextCompressed = at + bytes;
        changes.refcounts.appendable(nextCompressed - 1 >>> clusterBits);
        return at;
    }
}

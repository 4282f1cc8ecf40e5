package io.blockwharf.nbd;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.DirtyBitmap;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.ExtentSink;

import java.util.ArrayList;
import java.util.List;

/**
 * A kind of information about the blocks of an export. proto.md, "Metadata querying"; QEMU's
 * docs/interop/nbd.rst for the namespace {@code qemu}.
 */
sealed interface MetaContext {
    /** The number that replies carry; the same in every connection to the export. */
    int id();

    /** The full name. */
    String name();

    /** The state of a run of bytes, which is described as in an {@link Extent}. */
    int state(boolean data, boolean zero, int depth);

    /** Tells of the runs that {@link #state} applies to, as {@link BlockNode#extents}. */
    default void extents(BlockNode node, long offset, long length, ExtentSink to)
            throws BlockIoException {
        node.extents(offset, length, to);
    }

    /** {@code base:allocation}. proto.md, "`base:allocation` metadata context". */
    record Allocation() implements MetaContext {
        private static final int HOLE = 1;
        private static final int ZERO = 2;

        @Override
        public int id() {
            return 0;
        }

        @Override
        public String name() {
            return "base:allocation";
        }

        @Override
        public int state(boolean data, boolean zero, int depth) {
            return (data ? 0 : HOLE) | (zero ? ZERO : 0);
        }
    }

    /** {@code qemu:allocation-depth}: the layer of the backing chain, 0 for none. */
    record AllocationDepth() implements MetaContext {
        @Override
        public int id() {
            return 1;
        }

        @Override
        public String name() {
            return "qemu:allocation-depth";
        }

        @Override
        public int state(boolean data, boolean zero, int depth) {
            return depth;
        }
    }

    /** {@code qemu:dirty-bitmap:NAME}: what has been written. */
    record Dirty(int id, DirtyBitmap bitmap) implements MetaContext {
        /** The id of the first bitmap. */
        static final int FIRST_ID = 2;

        /** What stands in front of the bitmap's name. */
        static final String PREFIX = "qemu:dirty-bitmap:";

        private static final int DIRTY = 1;

        @Override
        public String name() {
            return PREFIX + bitmap.name();
        }

        @Override
        public void extents(BlockNode node, long offset, long length, ExtentSink to) {
            long limit = offset + length;
            long at = offset;
            boolean more = true;
            while (more && at < limit) {
                long end = bitmap.runEnd(at, limit);
                more = to.run(end - at, bitmap.isDirty(at), false, 1);
                at = end;
            }
        }

        @Override
        public int state(boolean data, boolean zero, int depth) {
            return data ? DIRTY : 0;
        }
    }

    /**
     * Those of {@code available} that the queries name, each once, in the order of {@code
     * available}.
     *
     * @param list whether no query means all, and {@code base:}, {@code qemu:} and {@code
     *     qemu:dirty-bitmap:} everything that begins so; not when contexts are selected
     */
    static List<MetaContext> matching(
            List<MetaContext> available, List<String> queries, boolean list) {
        if (list && queries.isEmpty()) {
            return available;
        }
        List<MetaContext> found = new ArrayList<>();
        for (MetaContext context : available) {
            for (String query : queries) {
                boolean wildcard =
                        list
                                && (query.equals("base:")
                                        || query.equals("qemu:")
                                        || query.equals(Dirty.PREFIX))
                                && context.name().startsWith(query);
                if (wildcard || query.equals(context.name())) {
                    found.add(context);
                    break;
                }
            }
        }
        return List.copyOf(found);
    }
}

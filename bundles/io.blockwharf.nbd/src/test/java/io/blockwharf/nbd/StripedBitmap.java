package io.blockwharf.nbd;

import io.blockwharf.api.block.DirtyBitmap;

import java.util.List;

/** A bitmap of which every other granule is dirty. */
record StripedBitmap(String name, long granularity) implements DirtyBitmap {
    /** Every kind of context that a client can ask for. */
    static List<MetaContext> contexts() {
        return List.of(
                new MetaContext.Allocation(),
                new MetaContext.AllocationDepth(),
                new MetaContext.Dirty(MetaContext.Dirty.FIRST_ID, new StripedBitmap("b0", 512)),
                new MetaContext.Dirty(
                        MetaContext.Dirty.FIRST_ID + 1, new StripedBitmap("b:1", 8192)));
    }

    @Override
    public boolean isDirty(long offset) {
        return offset / granularity % 2 == 0;
    }

    @Override
    public long runEnd(long offset, long limit) {
        return Math.min(limit, (offset / granularity + 1) * granularity);
    }

    @Override
    public void close() {}
}

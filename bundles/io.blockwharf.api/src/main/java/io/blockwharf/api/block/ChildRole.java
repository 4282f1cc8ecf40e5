package io.blockwharf.api.block;

/** What a child is to its parent node; decides the permissions that the parent takes on it. */
public enum ChildRole {
    /** The child's content is the parent's content: its permissions are those of the parent. */
    FILTERED,
    /**
     * As {@link #FILTERED}, and the parent also writes what the child reads as anyway ({@link
     * Permission#WRITE_UNCHANGED}), at any time; so nobody else may change the child's content.
     */
    FILLED,
    /**
     * The parent is a part of the child: as {@link #FILTERED}, but nobody may change the child's
     * size.
     */
    DATA,
    /** The child holds the parent's data and metadata, which nobody else may change or resize. */
    STORAGE,
    /** The child supplies what the parent has not allocated: read only, and not to be changed. */
    BACKING
}

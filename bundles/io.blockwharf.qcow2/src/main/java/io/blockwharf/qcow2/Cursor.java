package io.blockwharf.qcow2;

/** A run of the disk that is stored in one way; what {@link Mapping#find} answers. */
final class Cursor {
    /** What is known of a run. */
    enum Kind {
        /** Shows the backing file, or zeroes. */
        UNALLOCATED,
        /** Reads as zeroes. */
        ZERO,
        /** Stored as it is. */
        DATA,
        /** One cluster or a part of it, stored compressed. */
        COMPRESSED
    }

    Kind kind;

    /** Bytes, at least 1. */
    long length;

    /** Where the first byte is stored, for {@link Kind#DATA}. */
    long host;

    /** May be written where it is: used once only. For {@link Kind#DATA}. */
    boolean copied;

    /** The L2 entry of the first cluster, and its subclusters' bits. */
    long entry;

    long bitmap;

    /** Where that entry is; null where there is no L2 table. */
    Slice slice;

    int index;
}

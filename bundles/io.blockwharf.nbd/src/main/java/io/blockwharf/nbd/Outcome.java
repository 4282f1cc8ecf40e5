package io.blockwharf.nbd;

/** What becomes of a request whose header has been read. */
enum Outcome {
    /** It is answered, or under way. */
    TAKEN,
    /** It has not arrived in full. */
    NEEDS_INPUT,
    /** It stays in the input until there is a slot for it, or room for its reply. */
    WAITS
}

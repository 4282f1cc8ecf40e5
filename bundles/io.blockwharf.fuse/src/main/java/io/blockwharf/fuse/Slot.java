package io.blockwharf.fuse;

import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.fuse.wire.Opcode;
import io.blockwharf.fuse.wire.Request;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * One request under way: where it lies, where data and the body of the reply go, and what is known
 * about it. Made once and used for one request after another. Owned by its queue's thread.
 */
final class Slot {
    /** A queue's requests that would block. */
    interface Later {
        /** The queue's block queue, opened when it is first needed. */
        BlockQueue blockQueue();
    }

    /** Which slot of the queue it is; the cookie of its request in the block queue. */
    final int number;

    /** The request. */
    final Request request = new Request();

    /** Where the data of a write begins, and the body of every reply. */
    final MemorySegment data;

    final long dataAt;
    final Later later;
    final IoVector vector;

    /** Kept from the request, which the reply may overwrite. */
    long unique;

    Opcode opcode = Opcode.INVALID;

    /** Bytes that are read or written. */
    int transfer;

    Slot(int number, MemorySegment data, long dataAt, Later later, Arena arena) {
        this.number = number;
        this.data = data;
        this.dataAt = dataAt;
        this.later = later;
        vector = new IoVector(arena, 1);
    }

    /** Keeps what has to survive the reply. */
    void accept() {
        unique = request.unique();
        opcode = request.opcode();
        transfer = 0;
    }
}

package io.blockwharf.qcow2;

import io.blockwharf.api.block.IoVector;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.ArrayDeque;
import java.util.Deque;

/** What a request needs to work with; lent to one thread at a time. */
final class Scratch {
    /** Those of an image that nobody uses. As many as ever were needed at once. */
    static final class Pool {
        private final Deque<Scratch> idle = new ArrayDeque<>();

        synchronized Scratch take() {
            return idle.isEmpty() ? new Scratch() : idle.pop();
        }

        void give(Scratch scratch) {
            scratch.part.clear();
            scratch.data.clear();
            scratch.edge.clear();
            synchronized (this) {
                idle.push(scratch);
            }
        }
    }

    /** A part of a request's buffers. */
    final IoVector part = new IoVector(Arena.ofAuto(), IoVector.MAX_PIECES);

    /** A part of that. */
    final IoVector piece = new IoVector(Arena.ofAuto(), IoVector.MAX_PIECES);

    /** What is written: a part of a request's buffers and what surrounds it. */
    final IoVector data = new IoVector(Arena.ofAuto(), IoVector.MAX_PIECES);

    /** What surrounds it. */
    final IoVector edge = new IoVector(Arena.ofAuto(), 1);

    final Cursor cursor = new Cursor();
    private MemorySegment memory = MemorySegment.NULL;

    /** Memory of that many bytes at least; its content is undefined. */
    MemorySegment memory(long bytes) {
        if (memory.byteSize() < bytes) {
            memory = Arena.ofAuto().allocate(bytes, 4096);
        }
        return memory;
    }
}

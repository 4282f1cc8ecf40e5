package io.blockwharf.nbd.link;

import io.blockwharf.linux.NativeMemory;

import java.io.IOException;
import java.lang.foreign.MemorySegment;

/**
 * Bytes that have arrived and are not used yet: {@code [start, end)} of {@code memory}. Owned by
 * the thread that serves the connection, which moves {@code start} and {@code end} itself.
 */
public final class Input implements AutoCloseable {
    /** Enough for the negotiation; a client that only sits there costs no more than this. */
    private static final int FIRST_CAPACITY = 8 << 10;

    /** The largest buffer. */
    public static final int MAX_CAPACITY = 256 << 10;

    private static final int GROWTH = 4;
    private static final int CHEAP_TO_MOVE = 4096;

    private NativeMemory owned;

    /** Where they lie. */
    public MemorySegment memory;

    /** The first one. */
    public int start;

    /** One past the last one. */
    public int end;

    /** An empty buffer. */
    public Input() {
        allocate(FIRST_CAPACITY);
    }

    private void allocate(int capacity) {
        owned = NativeMemory.allocate(capacity, 64);
        memory = owned.segment();
    }

    /** Bytes that are there. */
    public int available() {
        return end - start;
    }

    /** Bytes that the buffer holds now. */
    public int capacity() {
        return (int) memory.byteSize();
    }

    /**
     * Makes room so that {@code bytes} from {@code start} on fit; at most {@link #MAX_CAPACITY}.
     */
    public void require(int bytes) {
        if (bytes <= capacity() - start) {
            return;
        }
        if (bytes <= capacity()) {
            compact();
            return;
        }
        int wanted = capacity();
        while (wanted < bytes) {
            wanted *= GROWTH;
        }
        NativeMemory old = owned;
        MemorySegment from = memory;
        allocate(Math.min(wanted, MAX_CAPACITY));
        int rest = available();
        MemorySegment.copy(from, start, memory, 0, rest);
        start = 0;
        end = rest;
        old.close();
    }

    private void compact() {
        int rest = available();
        if (rest > 0 && start > 0) {
            MemorySegment.copy(memory, start, memory, 0, rest);
        }
        start = 0;
        end = rest;
    }

    /**
     * Receives what there is. A buffer that gets full is made larger the next time.
     *
     * @return as {@link Link#receive}
     */
    public long fill(Link link) throws IOException {
        if (start == end) {
            start = 0;
            end = 0;
        } else if (available() <= CHEAP_TO_MOVE) {
            compact();
        } else if (end == capacity()) {
            require(available() + 1);
        }
        int room = capacity() - end;
        if (room == 0) {
            throw new IllegalStateException("the input is full");
        }
        long n = link.receive(memory, end, room);
        if (n > 0) {
            end += (int) n;
            if (n == room && start == 0 && capacity() < MAX_CAPACITY) {
                require(capacity() + 1);
            }
        }
        return n;
    }

    @Override
    public void close() {
        owned.close();
        memory = MemorySegment.NULL;
    }
}

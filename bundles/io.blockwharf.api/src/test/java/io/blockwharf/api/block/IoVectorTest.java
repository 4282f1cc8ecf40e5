package io.blockwharf.api.block;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

class IoVectorTest {
    private final Arena arena = Arena.ofConfined();
    private final MemorySegment memory = arena.allocate(64);
    private final IoVector vector = new IoVector(arena, 3);

    @AfterEach
    void free() {
        arena.close();
    }

    @Test
    void theNativeArrayIsStructIovec() {
        vector.add(memory, 8, 4).add(memory, 32, 16);

        assertEquals(memory.address() + 8, vector.entries().get(ValueLayout.JAVA_LONG, 0));
        assertEquals(4, vector.entries().get(ValueLayout.JAVA_LONG, 8));
        assertEquals(memory.address() + 32, vector.entries().get(ValueLayout.JAVA_LONG, 16));
        assertEquals(16, vector.entries().get(ValueLayout.JAVA_LONG, 24));
        assertEquals(20, vector.byteCount());
    }

    @Test
    void aPieceOutsideItsSegmentIsRefused() {
        assertThrows(IndexOutOfBoundsException.class, () -> vector.add(memory, 60, 5));
        assertThrows(IndexOutOfBoundsException.class, () -> vector.add(memory, -1, 1));
        assertThrows(IndexOutOfBoundsException.class, () -> vector.add(memory, 1, Long.MAX_VALUE));
        assertEquals(0, vector.count());
    }

    @Test
    void aFullListRefusesOneMore() {
        vector.add(memory, 0, 1).add(memory, 1, 1).add(memory, 2, 1);

        assertThrows(IndexOutOfBoundsException.class, () -> vector.add(memory, 3, 1));
        assertEquals(3, vector.byteCount());
    }

    @Test
    void aListGrowsToItsCapacityAndKeepsWhatItHas() {
        var eleven = new IoVector(arena, 11);
        for (int i = 0; i < 11; i++) {
            eleven.add(memory, i, 2 * i + 1);
        }

        assertThrows(IndexOutOfBoundsException.class, () -> eleven.add(memory, 0, 1));
        assertEquals(11, eleven.count());
        assertEquals(121, eleven.byteCount());
        for (int i = 0; i < 11; i++) {
            assertEquals(memory, eleven.base(i));
            assertEquals(i, eleven.offset(i));
            assertEquals(2 * i + 1, eleven.length(i));
        }
    }

    @Test
    void narrowingCutsBothEndsAndDropsWholePieces() {
        var other = arena.allocate(64);
        vector.add(memory, 0, 4).add(other, 10, 4).add(memory, 20, 4);

        vector.narrow(5, 5);

        assertEquals(2, vector.count());
        assertEquals(5, vector.byteCount());
        assertEquals(other, vector.base(0));
        assertEquals(11, vector.offset(0));
        assertEquals(3, vector.length(0));
        assertEquals(memory, vector.base(1));
        assertEquals(20, vector.offset(1));
        assertEquals(2, vector.length(1));
        assertThrows(IndexOutOfBoundsException.class, () -> vector.narrow(1, 5));
        assertEquals(5, vector.byteCount());
        assertEquals(0, vector.narrow(5, 0).count());
    }

    @Test
    void aSliceCutsThroughPieces() {
        for (int i = 0; i < 64; i++) {
            memory.set(ValueLayout.JAVA_BYTE, i, (byte) i);
        }
        vector.add(memory, 0, 4).add(memory, 10, 4).add(memory, 20, 4);
        var part = new IoVector(arena, 3).slice(vector, 3, 6);
        var copy = new byte[6];
        part.copyTo(MemorySegment.ofArray(copy), 0);

        assertArrayEquals(new byte[] {3, 10, 11, 12, 13, 20}, copy);
        assertEquals(6, part.byteCount());
        assertThrows(IndexOutOfBoundsException.class, () -> part.slice(vector, 11, 2));
    }

    @Test
    void fillingReachesEveryPiece() {
        memory.fill((byte) 7);
        vector.add(memory, 0, 2).add(memory, 4, 2);
        vector.copyFrom(MemorySegment.ofArray(new byte[] {1, 2, 3, 4}), 0);
        assertEquals(0x0707_0403_0707_0201L, memory.get(ValueLayout.JAVA_LONG, 0));

        vector.fillZero();
        assertEquals(0x0707_0000_0707_0000L, memory.get(ValueLayout.JAVA_LONG, 0));
    }
}

package io.blockwharf.block.filter;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.IoVector;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.reflect.Proxy;
import java.util.Arrays;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicReference;

/** What is copied, and that a copy never undoes a write. */
class CopyOnReadTest {
    private static final int BLOCK = 512;
    private static final int BLOCKS = 8;

    /** A layer with some blocks over another one that reads as 7s. */
    private static final class Layers {
        final byte[] bytes = new byte[BLOCK * BLOCKS];
        final int[] depth = new int[BLOCKS];
        final AtomicReference<Runnable> beforeWrite = new AtomicReference<>(() -> {});
        int writes;

        Layers(String depths) {
            Arrays.fill(bytes, (byte) 7);
            for (int i = 0; i < BLOCKS; i++) {
                depth[i] = depths.charAt(i) - '0';
            }
        }

        synchronized Extent extentAt(long offset) {
            int first = (int) (offset / BLOCK);
            int end = first;
            while (end < BLOCKS && depth[end] == depth[first]) {
                end++;
            }
            return new Extent(
                    (long) first * BLOCK, (long) (end - first) * BLOCK, true, false, depth[first]);
        }

        synchronized void read(long offset, IoVector into) {
            into.copyFrom(MemorySegment.ofArray(bytes), offset);
        }

        void write(long offset, IoVector from) {
            beforeWrite.getAndSet(() -> {}).run();
            synchronized (this) {
                writes++;
                from.copyTo(MemorySegment.ofArray(bytes), offset);
                for (long at = offset; at < offset + from.byteCount(); at += BLOCK) {
                    depth[(int) (at / BLOCK)] = 1;
                }
            }
        }

        /** A handle on them; what the filter has no business with fails. */
        BlockNode node() {
            return (BlockNode)
                    Proxy.newProxyInstance(
                            BlockNode.class.getClassLoader(),
                            new Class<?>[] {BlockNode.class},
                            (_, method, arguments) ->
                                    switch (method.getName()) {
                                        case "length" -> (long) bytes.length;
                                        case "limits" -> BlockLimits.NONE;
                                        case "extentAt" -> extentAt((Long) arguments[0]);
                                        case "read" -> {
                                            read((Long) arguments[0], (IoVector) arguments[1]);
                                            yield null;
                                        }
                                        case "tryRead" -> {
                                            read((Long) arguments[0], (IoVector) arguments[1]);
                                            yield true;
                                        }
                                        case "write" -> {
                                            write((Long) arguments[0], (IoVector) arguments[1]);
                                            yield null;
                                        }
                                        case "tryWrite" -> {
                                            write((Long) arguments[0], (IoVector) arguments[1]);
                                            yield true;
                                        }
                                        default ->
                                                throw new UnsupportedOperationException(
                                                        method.getName());
                                    });
        }

        String depths() {
            StringBuilder text = new StringBuilder();
            Arrays.stream(depth).forEach(text::append);
            return text.toString();
        }
    }

    private static IoVector buffer(long bytes, int value) {
        MemorySegment memory = Arena.ofAuto().allocate(bytes).fill((byte) value);
        return new IoVector(Arena.ofAuto(), 1).set(memory, 0, bytes);
    }

    @ParameterizedTest(name = "{0} read {1}+{2} down to {3} -> {4}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    22222222 | 0 | 8 | 9 | 11111111 | 1
                    22222222 | 2 | 3 | 9 | 22111222 | 1
                    12120212 | 0 | 8 | 9 | 11111111 | 5
                    11111111 | 0 | 8 | 9 | 11111111 | 0
                    23230323 | 0 | 8 | 2 | 13130313 | 3
                    """)
    void whatLiesDeeperIsCopied(
            String before, int from, int blocks, int deepest, String after, int writes)
            throws BlockIoException {
        Layers layers = new Layers(before);
        var filter =
                new CopyOnReadImage(
                        layers.node(), Optional.of("b").filter(_ -> deepest < 9), deepest, true);
        IoVector into = buffer((long) blocks * BLOCK, 0);
        filter.read((long) from * BLOCK, into);
        assertEquals(after, layers.depths());
        assertEquals(writes, layers.writes);
        assertEquals(
                -1,
                into.base(0).mismatch(buffer((long) blocks * BLOCK, 7).base(0)),
                "what is read");
        assertTrue(filter.tryRead((long) from * BLOCK, into), "now it is there");
    }

    @Test
    void whatHasToBeCopiedIsNotReadInline() throws BlockIoException {
        Layers layers = new Layers("12222222");
        var filter = new CopyOnReadImage(layers.node(), Optional.empty(), 9, true);
        assertTrue(filter.tryRead(0, buffer(BLOCK, 0)));
        assertFalse(filter.tryRead(0, buffer(2 * BLOCK, 0)));
    }

    @Test
    void anInactiveNodeIsReadAndNotFilled() throws BlockIoException {
        Layers layers = new Layers("12222222");
        var filter = new CopyOnReadImage(layers.node(), Optional.empty(), 9, false);
        filter.read(0, buffer(4 * BLOCK, 0));
        assertEquals("12222222", layers.depths());
        filter.active(true);
        filter.read(0, buffer(4 * BLOCK, 0));
        assertEquals("11112222", layers.depths());
        filter.active(false);
        assertTrue(filter.tryRead(0, buffer(8 * BLOCK, 0)));
        assertEquals("11112222", layers.depths());
    }

    @Test
    void aWriteWaitsForTheCopyAndStays() throws Exception {
        Layers layers = new Layers("22222222");
        var filter = new CopyOnReadImage(layers.node(), Optional.empty(), 9, true);
        CountDownLatch started = new CountDownLatch(1);
        AtomicReference<Throwable> failure = new AtomicReference<>();
        Thread writer =
                new Thread(
                        () -> {
                            try {
                                started.countDown();
                                filter.write(BLOCK, buffer(BLOCK, 9), 0);
                            } catch (Throwable e) {
                                failure.set(e);
                            }
                        });
        // Old data have been read and are about to be written, when a write comes
        layers.beforeWrite.set(
                () -> {
                    try {
                        assertFalse(filter.tryWrite(BLOCK, buffer(BLOCK, 8), 0));
                        assertTrue(filter.tryWrite(5 * BLOCK, buffer(BLOCK, 5), 0));
                        writer.start();
                        started.await();
                        while (writer.getState() != Thread.State.WAITING) {
                            Thread.onSpinWait();
                        }
                    } catch (BlockIoException | InterruptedException | Error e) {
                        failure.set(e);
                    }
                });
        filter.read(0, buffer(4 * BLOCK, 0));
        writer.join();
        assertEquals(null, failure.get());
        assertEquals(9, MemorySegment.ofArray(layers.bytes).get(ValueLayout.JAVA_BYTE, BLOCK));
        assertEquals(5, layers.bytes[5 * BLOCK]);
        assertEquals("11112122", layers.depths());
    }
}

package io.blockwharf.block;

import static io.blockwharf.block.Images.pattern;
import static io.blockwharf.block.Images.whole;
import static io.blockwharf.block.Images.zeroes;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockImage;
import io.blockwharf.api.block.Extent;
import io.blockwharf.api.block.NodeSpec;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.MemorySegment;
import java.util.Map;
import java.util.Optional;

/** Drivers {@code null-co} and {@code null-aio}. Reference: block/null.c. */
class NullImageTest {
    private static NodeSpec<NullOptions> spec(
            Optional<Long> size, Optional<Long> latency, Optional<Boolean> readZeroes) {
        return new NodeSpec<>(
                "node0", new NullOptions(size, latency, readZeroes), Images.WRITABLE, Map.of());
    }

    private static BlockImage open(Optional<Long> latency, Optional<Boolean> readZeroes) {
        return new NullCoDriver().open(spec(Optional.of(8192L), latency, readZeroes));
    }

    @Test
    void theSizeIsOneGibibyteUnlessItIsSaid() {
        try (BlockImage image =
                new NullAioDriver()
                        .open(spec(Optional.empty(), Optional.empty(), Optional.empty()))) {
            assertEquals(1L << 30, image.length());
            assertEquals("null-aio://", image.filename());
            assertEquals(Optional.of(0L), image.allocatedSize());
        }
        try (BlockImage image = open(Optional.empty(), Optional.empty())) {
            assertEquals(8192, image.length());
            assertEquals("json:{\"driver\": \"null-co\", \"size\": 8192}", image.filename());
        }
        try (BlockImage image =
                new NullAioDriver()
                        .open(spec(Optional.empty(), Optional.of(1L), Optional.empty()))) {
            assertEquals("null-aio://", image.filename());
        }
    }

    @ParameterizedTest(name = "read-zeroes {0}: zeroes {1}, hole {2}")
    @CsvSource({"default, true, false", "true, true, true", "false, false, false"})
    void readsShowZeroesOrNothing(String readZeroes, boolean zeroes, boolean hole)
            throws Exception {
        Optional<Boolean> option =
                readZeroes.equals("default")
                        ? Optional.empty()
                        : Optional.of(Boolean.valueOf(readZeroes));
        try (BlockImage image = open(Optional.empty(), option)) {
            MemorySegment back = pattern(4096, 1);
            image.write(0, whole(pattern(4096, 2)), 0);
            assertTrue(image.tryWrite(0, whole(pattern(4096, 2)), 0));
            image.read(0, whole(back));
            assertEquals(-1, (zeroes ? zeroes(4096) : pattern(4096, 1)).mismatch(back));
            assertTrue(image.tryRead(0, whole(back)));
            Extent expected = hole ? Extent.hole(0, 8192) : Extent.data(0, 8192);
            assertEquals(expected, image.extentAt(100, 1));
        }
    }

    @Test
    void latencyIsWaitedFor() throws Exception {
        try (BlockImage image = open(Optional.of(3_000_000L), Optional.empty())) {
            assertFalse(image.tryRead(0, whole(zeroes(512))));
            assertFalse(image.tryWrite(0, whole(zeroes(512)), 0));
            long start = System.nanoTime();
            image.read(0, whole(zeroes(512)));
            image.write(0, whole(zeroes(512)), 0);
            image.flush();
            assertTrue(System.nanoTime() - start >= 9_000_000);
        }
    }

    @Test
    void impossibleNumbersAreRefused() {
        assertThrows(
                IllegalArgumentException.class,
                () -> new NullOptions(Optional.of(-1L), Optional.empty(), Optional.empty()));
        IllegalArgumentException e =
                assertThrows(
                        IllegalArgumentException.class,
                        () ->
                                new NullOptions(
                                        Optional.empty(), Optional.of(-1L), Optional.empty()));
        assertEquals("latency-ns is invalid", e.getMessage());
    }
}

package io.blockwharf.fuse.wire;

import static io.blockwharf.fuse.wire.Messages.words;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.time.Instant;

/** linux/fuse.h: struct fuse_out_header and the bodies of replies, word by word. */
final class ReplyTest {
    private final MemorySegment memory = Arena.ofAuto().allocate(256, 8).fill((byte) -1);

    @Test
    void headerOfAnAnswer() {
        Reply.header(memory, 0, 8, 0, 0x1122334455667788L);
        assertEquals("18 0 55667788 11223344", words(memory, 0, 16));
    }

    @Test
    void headerOfAnError() {
        Reply.header(memory, 0, 0, 28, 1);
        assertEquals("10 ffffffe4 1 0", words(memory, 0, 16));
    }

    @Test
    void attributes() {
        int bytes =
                Reply.attributes(
                        memory,
                        0,
                        1,
                        new Attributes(
                                0x1_0000_0000L,
                                0x80_0000,
                                Instant.ofEpochSecond(0x12, 0x34),
                                Attributes.REGULAR_FILE | 0600,
                                5,
                                6,
                                4096));
        assertEquals(104, bytes);
        assertEquals("1 0 0 0", words(memory, 0, 16), "attr_valid, attr_valid_nsec, dummy");
        assertEquals("1 0 0 1 800000 0", words(memory, 16, 24), "ino, size, blocks");
        assertEquals("12 0 12 0 12 0 34 34 34", words(memory, 40, 36), "times");
        assertEquals(
                "8180 1 5 6 0 1000 0", words(memory, 76, 28), "mode nlink uid gid rdev blksize");
    }

    @Test
    void open() {
        assertEquals(16, Reply.open(memory, 0, 2, Reply.OPEN_PASSTHROUGH, 7));
        assertEquals("2 0 80 7", words(memory, 0, 16));
    }

    @Test
    void written() {
        assertEquals(8, Reply.written(memory, 0, 4096));
        assertEquals("1000 0", words(memory, 0, 8));
    }

    @Test
    void position() {
        assertEquals(8, Reply.position(memory, 0, 0x1_0000_0002L));
        assertEquals("2 1", words(memory, 0, 8));
    }

    @Test
    void fileSystem() {
        assertEquals(80, Reply.fileSystem(memory, 0, 4097, 4096));
        assertEquals(
                "2 0 0 0 0 0 1 0 0 0", words(memory, 0, 40), "blocks bfree bavail files ffree");
        assertEquals("1000 ff 1000 0", words(memory, 40, 16), "bsize namelen frsize");
    }

    @Test
    void invalidationOfAttributesLeavesPagesAlone() {
        assertEquals(40, Reply.invalidation(memory, 0, 1));
        assertEquals("28 2 0 0 1 0 ffffffff ffffffff 0 0", words(memory, 0, 40));
    }

    @Test
    void init() {
        Init.Agreement agreement =
                new Init.Offer(7, 45, 1 << 17, -1L).accept(1 << 20, Init.PASSTHROUGH);
        assertEquals(64, Reply.init(memory, 0, agreement));
        assertEquals("7 2c 20000 40609021", words(memory, 0, 16), "major minor readahead flags");
        assertEquals(
                "c00100 100000 1 100 30 2", words(memory, 16, 24), "background ... stack depth");
        assertEquals("0 0 0 0 0 0", words(memory, 40, 24), "unused");
    }

    @ParameterizedTest
    @CsvSource({
        "7, 44, 0x7fffffffffff, true",
        "7, 28, 0x00400000, true",
        "7, 27, 0x00400000, false",
        "7, 44, 0x00000000, false",
        "8,  0, 0x00400000, false",
        "6, 44, 0x00400000, false",
    })
    void offersThatAreAccepted(int major, int minor, String flags, boolean acceptable) {
        assertEquals(acceptable, new Init.Offer(major, minor, 0, Long.decode(flags)).acceptable());
    }

    @Test
    void nothingIsAgreedOnThatWasNotOffered() {
        Init.Agreement agreement =
                new Init.Offer(7, 38, 4096, Init.MAX_PAGES).accept(1 << 20, Init.PASSTHROUGH);
        assertEquals(Init.MAX_PAGES, agreement.flags());
        assertEquals(38, agreement.minor());
        assertEquals(4096, agreement.maxReadahead());
        assertFalse(agreement.has(Init.PASSTHROUGH));
        assertTrue(agreement.has(Init.MAX_PAGES));
    }
}

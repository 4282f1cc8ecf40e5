package io.blockwharf.nbd.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.MemorySegment;
import java.util.HexFormat;

/** proto.md, "Compact request message"; EXTENDED_HEADERS, "Extended request message". */
class RequestHeaderTest {
    private static MemorySegment bytes(String hex) {
        return MemorySegment.ofArray(HexFormat.ofDelimiter(" ").parseHex(hex));
    }

    @ParameterizedTest(name = "{1}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    false | 25 60 95 13 00 00 00 00 01 02 03 04 05 06 07 08 00 00 00 00 00 00 10 00 00 00 02 00 | 0 | 0 | 72623859790382856 | 4096 | 512 | false
                    false | 25 60 95 13 00 01 00 01 ff ff ff ff ff ff ff ff 7f ff ff ff ff ff ff ff ff ff ff ff | 1 | 1 | -1 | 9223372036854775807 | 4294967295 | true
                    false | 25 60 95 13 ff ff ff ff 00 00 00 00 00 00 00 00 80 00 00 00 00 00 00 00 00 00 00 00 | 65535 | 65535 | 0 | -9223372036854775808 | 0 | false
                    true  | 21 e4 1c 71 00 20 00 01 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 10 | 32 | 1 | 7 | 1 | 16 | true
                    true  | 21 e4 1c 71 00 00 00 01 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 01 00 00 00 00 00 00 00 10 | 0 | 1 | 7 | 1 | 16 | true
                    true  | 21 e4 1c 71 00 00 00 06 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 00 ff ff ff ff ff ff ff ff | 0 | 6 | 7 | 0 | -1 | false
                    true  | 21 e4 1c 71 00 20 00 07 00 00 00 00 00 00 00 07 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 0c | 32 | 7 | 7 | 0 | 12 | true
                    """)
    void fields(
            boolean extended,
            String hex,
            int flags,
            int type,
            long cookie,
            long offset,
            long length,
            boolean payload) {
        RequestHeader header = new RequestHeader(extended);
        assertTrue(header.read(bytes(hex), 0));
        assertEquals(flags, header.flags());
        assertEquals(type, header.type());
        assertEquals(cookie, header.cookie());
        assertEquals(offset, header.offset());
        assertEquals(length, header.length());
        assertEquals(payload, header.hasPayload());
    }

    /** "Reserved Magic values", and the magic numbers of the other style. */
    @ParameterizedTest
    @CsvSource({
        "false, 12 56 09 53",
        "false, 21 e4 1c 71",
        "false, 00 00 00 00",
        "true, 25 60 95 13"
    })
    void otherMagicNumbersAreRefused(boolean extended, String magic) {
        assertFalse(new RequestHeader(extended).read(bytes(magic + " 00".repeat(28)), 0));
    }

    @Test
    void headerMayLieAnywhereButInsideTheBuffer() {
        MemorySegment in = bytes("00 " + "25 60 95 13" + " 00".repeat(24));
        assertTrue(new RequestHeader(false).read(in, 1));
        assertThrows(
                IndexOutOfBoundsException.class,
                () -> new RequestHeader(false).read(in.asSlice(0, 28), 1));
    }
}

package io.blockwharf.nbd.wire;

import static io.blockwharf.nbd.wire.ReplyStyle.EXTENDED;
import static io.blockwharf.nbd.wire.ReplyStyle.SIMPLE;
import static io.blockwharf.nbd.wire.ReplyStyle.STRUCTURED;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;

/** proto.md, "Simple reply message", "Structured reply chunk message", "Structured reply types". */
class ReplyStyleTest {
    private interface Encoding {
        int into(MemorySegment out);
    }

    private final byte[] buffer = new byte[2048];

    private void check(String expected, Encoding encoding) {
        int n = encoding.into(MemorySegment.ofArray(buffer));
        assertEquals(expected.replaceAll("[ |\n]+", ""), HexFormat.of().formatHex(buffer, 0, n));
    }

    private static final String COOKIE = "0000000000000007";
    private static final String ORIGIN = "0000000000001000";

    @Test
    void dataHeaders() {
        check(
                "67446698 00000000" + COOKIE,
                out -> SIMPLE.data(out, 0, 7, 0x1000, 0x1000, 512, true));
        check(
                "668e33ef 0001 0001" + COOKIE + "00000208 0000000000001000",
                out -> STRUCTURED.data(out, 0, 7, 0x1000, 0x1000, 512, true));
        check(
                "668e33ef 0000 0001" + COOKIE + "02000008 0000000000002000",
                out -> STRUCTURED.data(out, 0, 7, 0x1000, 0x2000, 32 << 20, false));
        check(
                "6e8a278c 0001 0001" + COOKIE + ORIGIN + "0000000000000208 0000000000002000",
                out -> EXTENDED.data(out, 0, 7, 0x1000, 0x2000, 512, true));
    }

    @ParameterizedTest
    @EnumSource
    void dataHeaderHasTheLengthThatWasSaid(ReplyStyle style) {
        MemorySegment out = MemorySegment.ofArray(buffer);
        assertEquals(style.dataHeaderBytes(), style.data(out, 3, 1, 2, 3, 4, true));
    }

    @Test
    void holes() {
        check(
                "668e33ef 0001 0002" + COOKIE + "0000000c 0000000000002000 00001000",
                out -> STRUCTURED.hole(out, 0, 7, 0x1000, 0x2000, 4096, true));
        check(
                "6e8a278c 0000 0002"
                        + COOKIE
                        + ORIGIN
                        + "000000000000000c 0000000000002000 00001000",
                out -> EXTENDED.hole(out, 0, 7, 0x1000, 0x2000, 4096, false));
    }

    @Test
    void successes() {
        check("67446698 00000000" + COOKIE, out -> SIMPLE.success(out, 0, 7, 0x1000));
        check("67446698 00000000" + COOKIE, out -> STRUCTURED.success(out, 0, 7, 0x1000));
        check(
                "6e8a278c 0001 0000" + COOKIE + ORIGIN + "0000000000000000",
                out -> EXTENDED.success(out, 0, 7, 0x1000));
        check("668e33ef 0001 0000" + COOKIE + "00000000", out -> STRUCTURED.end(out, 0, 7, 0x1000));
    }

    @Test
    void errors() {
        check(
                "67446698 0000001c" + COOKIE,
                out -> SIMPLE.error(out, 0, 7, 0x1000, NbdError.ENOSPC, "full"));
        check(
                "668e33ef 0001 8001" + COOKIE + "0000000a 0000001c 0004 66756c6c",
                out -> STRUCTURED.error(out, 0, 7, 0x1000, NbdError.ENOSPC, "full"));
        check(
                "6e8a278c 0001 8001" + COOKIE + ORIGIN + "0000000000000006 00000001 0000",
                out -> EXTENDED.error(out, 0, 7, 0x1000, NbdError.EPERM, ""));
        check(
                "668e33ef 0001 8002" + COOKIE + "00000012 00000005 0004 66756c6c 0000000000002000",
                out -> STRUCTURED.errorOffset(out, 0, 7, 0x1000, NbdError.EIO, "full", 0x2000));
    }

    @ParameterizedTest
    @EnumSource
    void longTextsAreCutBetweenCharacters(ReplyStyle style) {
        String text = "x" + "é".repeat(5000);
        int n = style.error(MemorySegment.ofArray(buffer), 0, 7, 0, NbdError.EIO, text);
        assertTrue(n <= ReplyStyle.MAX_ERROR_BYTES);
        if (style != SIMPLE) {
            int header = style == STRUCTURED ? 26 : 38;
            String sent = new String(buffer, header, n - header, StandardCharsets.UTF_8);
            assertTrue(text.startsWith(sent));
            assertEquals(511, n - header);
        }
    }

    @Test
    void blockStatus() {
        check(
                "668e33ef 0001 0005" + COOKIE + "0000000c 00000002",
                out -> STRUCTURED.statusHeader(out, 0, 7, 0x1000, 2, 1, true));
        check("ffff0000 00000003", out -> STRUCTURED.statusExtent(out, 0, 0xffff_0000L, 3));
        check(
                "6e8a278c 0000 0006" + COOKIE + ORIGIN + "0000000000000028 00000002 00000002",
                out -> EXTENDED.statusHeader(out, 0, 7, 0x1000, 2, 2, false));
        check(
                "0000010000000000 00000000 80000000",
                out -> EXTENDED.statusExtent(out, 0, 1L << 40, 0x80000000));
    }
}

package io.blockwharf.nbd.wire;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.util.HexFormat;
import java.util.List;
import java.util.Set;

/** proto.md, "Option types" and "Option reply types". */
class OptionsTest {
    private static OptionRequest decode(int option, String hex) {
        return OptionRequest.decode(option, HexFormat.of().parseHex(hex.replace(" ", "")));
    }

    @Test
    void requests() {
        assertEquals(new OptionRequest.ExportName("ab"), decode(1, "6162"));
        assertEquals(new OptionRequest.ExportName(""), decode(1, ""));
        assertEquals(new OptionRequest.Abort(), decode(2, "00"));
        assertEquals(new OptionRequest.ListExports(), decode(3, ""));
        assertEquals(new OptionRequest.Unknown(4), decode(4, "0102"));
        assertEquals(new OptionRequest.StartTls(), decode(5, ""));
        assertEquals(
                new OptionRequest.Info(false, "a", Set.of(1, 3)),
                decode(6, "00000001 61 0002 0001 0003"));
        assertEquals(new OptionRequest.Info(true, "", Set.of()), decode(7, "00000000 0000"));
        assertEquals(new OptionRequest.StructuredReply(), decode(8, ""));
        assertEquals(
                new OptionRequest.MetaContext(true, "e", List.of("base:", "")),
                decode(10, "00000001 65 00000002 00000005 626173653a 00000000"));
        assertEquals(
                new OptionRequest.MetaContext(false, "", List.of()),
                decode(9, "00000000 00000000"));
        assertEquals(new OptionRequest.ExtendedHeaders(), decode(11, ""));
    }

    /** Lengths that lie about what follows. */
    @ParameterizedTest
    @CsvSource({
        "6, ''",
        "6, 000000",
        "6, 00000001",
        "6, 00000002610000",
        "6, ffffffff6161",
        "6, 7fffffff6161",
        "6, 000000000001",
        "6, 00000000000000",
        "7, 0000000000010001ff",
        "9, 00000000",
        "9, 0000000000000001",
        "9, 00000000ffffffff",
        "9, 000000000000000000",
        "10, 000000000000000100000005",
        "10, 00000000000000010000000561626364",
        "10, 00000000000000020000000161",
        "10, 0000000000000001ffffffff",
    })
    void malformed(int option, String hex) {
        assertInstanceOf(OptionRequest.Malformed.class, decode(option, hex));
    }

    /** "MUST be no longer than 4096". */
    @Test
    void stringsHaveALimit() {
        assertInstanceOf(OptionRequest.Malformed.class, OptionRequest.decode(1, new byte[4097]));
        assertInstanceOf(OptionRequest.ExportName.class, OptionRequest.decode(1, new byte[4096]));
    }

    @Test
    void replies() {
        check("00000001 00000000", new OptionReply.Ack());
        check("00000002 00000007 00000001 61 6263", new OptionReply.Server("a", "bc"));
        check(
                "00000003 0000000c 0000 0000000000000200 018d",
                new OptionReply.ExportInfo(512, 0x18d));
        check("00000003 00000004 0002 6869", new OptionReply.TextInfo(2, "hi"));
        check(
                "00000003 0000000e 0003 00000001 00001000 02000000",
                new OptionReply.BlockSizeInfo(1, 4096, 32 << 20));
        check("00000004 00000005 00000002 78", new OptionReply.Context(2, "x"));
        check("80000001 00000002 6e6f", new OptionReply.Failure(OptionReply.Reason.UNSUP, "no"));
        check("8000000a 00000000", new OptionReply.Failure(OptionReply.Reason.EXT_HEADER_REQD, ""));
    }

    private static void check(String expected, OptionReply reply) {
        assertEquals(
                ("0003e889045565a9 00000007" + expected).replace(" ", ""),
                HexFormat.of().formatHex(reply.encode(7)));
    }

    @Test
    void greetingAndEnd() {
        assertEquals(
                "4e42444d41474943" + "49484156454f5054" + "0003",
                HexFormat.of().formatHex(Handshake.greeting()));
        assertEquals(
                "0000000000000200018d",
                HexFormat.of().formatHex(Handshake.exportNameReply(512, 0x18d, true)));
        assertEquals(134, Handshake.exportNameReply(512, 0x18d, false).length);
    }
}

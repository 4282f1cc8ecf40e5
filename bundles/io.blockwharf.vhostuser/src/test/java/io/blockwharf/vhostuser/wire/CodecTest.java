package io.blockwharf.vhostuser.wire;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.blockwharf.vhostuser.wire.Codec.Header;
import io.blockwharf.vhostuser.wire.Request.Type;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;

/** vhost-user specification, "Header" and "Payload". */
class CodecTest {
    private static ByteBuffer bytes(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
    }

    private static Request decode(int number, ByteBuffer payload) {
        return Codec.request(new Header(number, false, payload.remaining()), payload);
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    version 0             | 0x0 |   0
                    version 2             | 0x2 |   0
                    a reply               | 0x5 |   0
                    payload too large     | 0x1 | 513
                    payload of 4 GiB      | 0x1 |  -1
                    """)
    void aBadHeaderEndsTheConnection(String what, String flags, int size) {
        var in = bytes(12).putInt(1).putInt(Integer.decode(flags)).putInt(size).flip();

        assertThrows(VhostUserException.class, () -> Codec.header(in));
    }

    @Test
    void theHeaderTellsWhetherAReplyIsWanted() throws Exception {
        assertEquals(
                new Header(9, true, 40),
                Codec.header(bytes(12).putInt(9).putInt(0x9).putInt(40).flip()));
        assertEquals(
                new Header(1, false, 0),
                Codec.header(bytes(12).putInt(1).putInt(0x1).putInt(0).flip()));
    }

    @Test
    void messagesAreDecoded() {
        assertEquals(new Request.Plain(Type.GET_FEATURES), decode(1, bytes(0)));
        assertEquals(
                new Request.Number(Type.SET_FEATURES, -2), decode(2, bytes(8).putLong(-2).flip()));
        assertEquals(
                new Request.VringState(Type.SET_VRING_NUM, 3, 256),
                decode(8, bytes(8).putInt(3).putInt(256).flip()));
        assertEquals(
                new Request.VringAddress(1, true, 2, 3, 4, 5),
                decode(
                        9,
                        bytes(40)
                                .putInt(1)
                                .putInt(1)
                                .putLong(2)
                                .putLong(3)
                                .putLong(4)
                                .putLong(5)
                                .flip()));
        assertEquals(
                new Request.VringDescriptor(Type.SET_VRING_KICK, 7, true),
                decode(12, bytes(8).putLong(7).flip()));
        assertEquals(
                new Request.VringDescriptor(Type.SET_VRING_CALL, 7, false),
                decode(13, bytes(8).putLong(0x107).flip()));
        assertEquals(
                new Request.MemoryTable(
                        List.of(
                                new Request.MemoryRegion(1, 2, 3, 4),
                                new Request.MemoryRegion(5, 6, 7, 8))),
                decode(
                        5,
                        bytes(72)
                                .putInt(2)
                                .putInt(0)
                                .putLong(1)
                                .putLong(2)
                                .putLong(3)
                                .putLong(4)
                                .putLong(5)
                                .putLong(6)
                                .putLong(7)
                                .putLong(8)
                                .flip()));
        assertEquals(
                new Request.MemoryRegionChange(
                        Type.ADD_MEM_REG, new Request.MemoryRegion(1, 2, 3, 4)),
                decode(
                        37,
                        bytes(40).putLong(0).putLong(1).putLong(2).putLong(3).putLong(4).flip()));
        assertEquals(
                new Request.InFlight(Type.GET_INFLIGHT_FD, 0, 0, 4, 128),
                decode(
                        31,
                        bytes(20)
                                .putLong(0)
                                .putLong(0)
                                .putShort((short) 4)
                                .putShort((short) 128)
                                .flip()));
    }

    /** Whatever comes with the wrong size is told apart from what is understood. */
    @ParameterizedTest
    @ValueSource(ints = {2, 5, 6, 8, 9, 10, 11, 12, 13, 14, 18, 24, 25, 31, 32, 37, 38, 39})
    void aTruncatedPayloadIsUnknown(int number) {
        assertInstanceOf(Request.Unknown.class, decode(number, bytes(7)));
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 15 + 49, 63, 1000, -1, Integer.MIN_VALUE})
    void anUnknownNumberIsAValue(int number) {
        assertInstanceOf(Request.Unknown.class, decode(number, bytes(8)));
    }

    @Test
    void aTableLargerThanItsPayloadIsUnknown() {
        for (int count : new int[] {2, 9, -1, Integer.MAX_VALUE}) {
            assertInstanceOf(
                    Request.Unknown.class, decode(5, bytes(40).putInt(count).position(40).flip()));
        }
    }

    @ParameterizedTest
    @CsvSource({"0, 257, 257", "-1, 1, 1", "256, 1, 1", "0, 4, 3"})
    void configurationOutsideTheSpaceIsUnknown(int offset, int size, int present) {
        var in = bytes(12 + present).putInt(offset).putInt(size).putInt(0);
        assertInstanceOf(Request.Unknown.class, decode(24, in.position(12 + present).flip()));
        assertInstanceOf(Request.Unknown.class, decode(25, in.position(12 + present).flip()));
    }

    @Test
    void repliesCarryTheRequestAndTheReplyFlag() {
        var to = new Header(1, false, 0);
        assertArrayEquals(
                bytes(20).putInt(1).putInt(5).putInt(8).putLong(42).array(),
                Codec.reply(to, 42).array());
        assertArrayEquals(
                bytes(28)
                        .putInt(1)
                        .putInt(5)
                        .putInt(16)
                        .putInt(1)
                        .putInt(4)
                        .putInt(0)
                        .put(new byte[] {8, 9, 0, 0})
                        .array(),
                Codec.replyConfig(to, new Request.GetConfig(1, 4, 0), new byte[] {7, 8, 9})
                        .array());
    }
}

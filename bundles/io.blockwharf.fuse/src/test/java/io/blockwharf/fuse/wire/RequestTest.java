package io.blockwharf.fuse.wire;

import static io.blockwharf.fuse.wire.Messages.body;
import static io.blockwharf.fuse.wire.Messages.inMemory;
import static io.blockwharf.fuse.wire.Messages.request;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Arrays;

/** linux/fuse.h: struct fuse_in_header and the arguments of the operations. */
final class RequestTest {
    private final Request request = new Request();

    private Request decode(byte[] message) {
        MemorySegment memory = inMemory(Arena.ofAuto(), message, 0);
        assertTrue(request.onDevice(memory, 0, message.length));
        return request;
    }

    @Test
    void headerIsRead() {
        decode(request(17, 0x1122334455667788L, new byte[0]));
        assertEquals(Opcode.STATFS, request.opcode());
        assertEquals(0x1122334455667788L, request.unique());
        assertEquals(1, request.nodeId());
    }

    /** Sizes of the structures in the kernel's header, by the names there. */
    @ParameterizedTest
    @CsvSource(
            textBlock =
                    """
                    LOOKUP,        1,  0
                    FORGET,        2,  8
                    GETATTR,       3, 16
                    SETATTR,       4, 88
                    OPEN,         14,  8
                    READ,         15, 40
                    WRITE,        16, 40
                    STATFS,       17,  0
                    RELEASE,      18, 24
                    FSYNC,        20, 16
                    FLUSH,        25, 24
                    INIT,         26, 16
                    INTERRUPT,    36,  8
                    DESTROY,      38,  0
                    POLL,         40, 24
                    BATCH_FORGET, 42,  8
                    FALLOCATE,    43, 32
                    LSEEK,        46, 24
                    """)
    void numbersAndSizes(Opcode opcode, int number, int bytes) {
        assertEquals(number, opcode.number());
        assertEquals(bytes, opcode.argumentBytes());
        assertEquals(opcode, decode(request(number, 1, new byte[bytes])).opcode());
        if (bytes > 0) {
            assertEquals(
                    Opcode.INVALID,
                    decode(request(number, 1, new byte[bytes - 1])).opcode(),
                    "one byte less");
        }
    }

    @ParameterizedTest
    @CsvSource({"0", "5", "7", "19", "39", "47", "52", "63", "64", "4096", "-1", "2147483647"})
    void otherNumbersAreUnknown(int number) {
        assertEquals(Opcode.UNKNOWN, decode(request(number, 1, new byte[100])).opcode());
    }

    @ParameterizedTest
    @EnumSource(
            mode = EnumSource.Mode.EXCLUDE,
            names = {"FORGET", "BATCH_FORGET", "INTERRUPT"})
    void allButNewsAreAnswered(Opcode opcode) {
        assertTrue(opcode.answered());
    }

    @ParameterizedTest
    @CsvSource({"0", "1", "39"})
    void withoutAHeaderThereIsNothingToAnswer(int length) {
        byte[] message = Arrays.copyOf(request(17, 1, new byte[0]), length);
        assertFalse(request.onDevice(inMemory(Arena.ofAuto(), message, 0), 0, length));
        assertEquals(Opcode.INVALID, request.opcode());
    }

    @ParameterizedTest
    @CsvSource({"0", "39", "41", "-1"})
    void theLengthInTheHeaderIsWhatWasRead(int length) {
        byte[] message = request(17, 1, new byte[0]);
        System.arraycopy(body(length), 0, message, 0, 4);
        assertEquals(Opcode.INVALID, decode(message).opcode());
    }

    @Test
    void readArgument() {
        decode(request(15, 1, Messages.transfer(0x123456789aL, 0x80001000)));
        assertEquals(0x123456789aL, request.offset());
        assertEquals(0x80001000L, request.size());
    }

    @ParameterizedTest
    @CsvSource({"4096, WRITE", "4095, INVALID", "4097, INVALID", "0, INVALID", "-1, INVALID"})
    void writeBringsAsMuchDataAsItSays(int size, Opcode expected) {
        byte[] argument = Messages.transfer(512, size);
        decode(request(16, 1, Arrays.copyOf(argument, argument.length + 4096)));
        assertEquals(expected, request.opcode());
        assertEquals(4096, request.dataBytes());
    }

    @Test
    void setattrArgument() {
        decode(
                request(
                        4,
                        1,
                        body(
                                Request.SET_SIZE | Request.SET_MODE,
                                0,
                                1L,
                                77L, // size
                                0L,
                                0L,
                                0L,
                                0L,
                                0,
                                0,
                                0,
                                0640, // mode
                                0,
                                12, // uid
                                13, // gid
                                0)));
        assertEquals(Opcode.SETATTR, request.opcode());
        assertEquals(Request.SET_SIZE | Request.SET_MODE, request.attributesToSet());
        assertEquals(77, request.newSize());
        assertEquals(0640, request.newMode());
        assertEquals(12, request.newUid());
        assertEquals(13, request.newGid());
    }

    @Test
    void fallocateArgument() {
        decode(request(43, 1, body(1L, 4096L, 8192L, 3, 0)));
        assertEquals(4096, request.offset());
        assertEquals(8192, request.length());
        assertEquals(Request.PUNCH_HOLE | Request.KEEP_SIZE, request.allocationMode());
    }

    @Test
    void lseekArgument() {
        decode(request(46, 1, body(1L, 4096L, Request.SEEK_HOLE, 0)));
        assertEquals(4096, request.offset());
        assertEquals(Request.SEEK_HOLE, request.whence());
    }

    @Test
    void openAndReleaseArguments() {
        assertEquals(02, decode(request(14, 1, body(2, 0))).openFlags());
        assertEquals(9, decode(request(18, 1, body(9L, 0, 0, 0L))).fileHandle());
    }

    @Test
    void offerOfAnOldKernelHas32Flags() {
        Init.Offer offer = decode(request(26, 1, body(7, 31, 65536, -1))).offer();
        assertEquals(new Init.Offer(7, 31, 65536, 0xffffffffL), offer);
    }

    @Test
    void offerOfANewKernelHas64Flags() {
        byte[] argument = Arrays.copyOf(body(7, 44, 65536, 1 << 30, 0x220), 64);
        assertEquals(0x220_4000_0000L, decode(request(26, 1, argument)).offer().flags());
    }

    @Test
    void upperFlagsCountOnlyWithInitExt() {
        byte[] argument = Arrays.copyOf(body(7, 44, 65536, 1, 0x220), 64);
        assertEquals(1, decode(request(26, 1, argument)).offer().flags());
    }

    @Test
    void requestInARingEntry() {
        MemorySegment entry = Arena.ofAuto().allocate(RingEntry.BYTES, 8);
        byte[] header = request(16, 5, Messages.transfer(8192, 512));
        header[0] = (byte) (80 + 512 & 0xff);
        header[1] = (byte) (80 + 512 >> 8);
        MemorySegment.copy(MemorySegment.ofArray(header), 0, entry, 0, 40);
        MemorySegment.copy(MemorySegment.ofArray(header), 40, entry, 128, 40);
        RingEntry.payloadBytes(entry, 0, 512);
        request.onRing(entry, 0, RingEntry.payloadBytes(entry, 0));
        assertEquals(Opcode.WRITE, request.opcode());
        assertEquals(5, request.unique());
        assertEquals(8192, request.offset());
        assertEquals(512, request.dataBytes());
        request.onRing(entry, 0, 511);
        assertEquals(Opcode.INVALID, request.opcode());
    }

    @Test
    void commandOfARingEntry() {
        MemorySegment command = Arena.ofAuto().allocate(80, 8).fill((byte) -1);
        RingEntry.command(command, 0x1122334455667788L, 3);
        assertEquals("0 0 55667788 11223344 3 0", Messages.words(command, 0, 24));
    }
}

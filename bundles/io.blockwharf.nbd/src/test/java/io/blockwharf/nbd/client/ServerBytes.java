package io.blockwharf.nbd.client;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;

/** What a server sends, word by word, right or wrong; independent of the code under test. */
final class ServerBytes {
    static final int STARTTLS = 5;
    static final int GO = 7;
    static final int STRUCTURED = 8;
    static final int SET_CONTEXT = 10;
    static final int EXTENDED = 11;
    static final int ACK = 1;
    static final int INFO = 3;
    static final int CONTEXT = 4;
    static final int UNSUP = 0x80000001;
    static final int DONE = 1;

    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    byte[] bytes() {
        return out.toByteArray();
    }

    ServerBytes put(byte[] bytes) {
        out.writeBytes(bytes);
        return this;
    }

    ServerBytes ascii(String text) {
        return put(text.getBytes(StandardCharsets.US_ASCII));
    }

    ServerBytes u16(int value) {
        return put(ByteBuffer.allocate(2).putShort((short) value).array());
    }

    ServerBytes u32(long value) {
        return put(ByteBuffer.allocate(4).putInt((int) value).array());
    }

    ServerBytes u64(long value) {
        return put(ByteBuffer.allocate(8).putLong(value).array());
    }

    ServerBytes greeting() {
        return ascii("NBDMAGICIHAVEOPT").u16(3);
    }

    ServerBytes reply(int option, int type, byte[] data) {
        return u64(0x3e889045565a9L).u32(option).u32(type).u32(data.length).put(data);
    }

    ServerBytes reply(int option, int type) {
        return reply(option, type, new byte[0]);
    }

    ServerBytes reply(int option, int type, String text) {
        return reply(option, type, text.getBytes(StandardCharsets.UTF_8));
    }

    ServerBytes context(int id, String name) {
        return reply(SET_CONTEXT, CONTEXT, new ServerBytes().u32(id).ascii(name).bytes());
    }

    ServerBytes export(long size, int flags) {
        return reply(GO, INFO, new ServerBytes().u16(0).u64(size).u16(flags).bytes());
    }

    ServerBytes sizes(long minimum, long preferred, long maximum) {
        return reply(
                GO,
                INFO,
                new ServerBytes().u16(3).u32(minimum).u32(preferred).u32(maximum).bytes());
    }

    /** Structured replies and base:allocation with number 7, up to GO. */
    ServerBytes structured() {
        return greeting()
                .reply(EXTENDED, UNSUP)
                .reply(STRUCTURED, ACK)
                .context(7, "base:allocation")
                .reply(SET_CONTEXT, ACK);
    }

    // --- Transmission ------------------------------------------------------------------------

    ServerBytes simple(long cookie, int error) {
        return u32(0x67446698).u32(error).u64(cookie);
    }

    ServerBytes chunk(long cookie, int flags, int type, byte[] payload) {
        return chunk(cookie, flags, type, payload.length).put(payload);
    }

    /** Only the header, with a length that may be a lie. */
    ServerBytes chunk(long cookie, int flags, int type, long length) {
        return u32(0x668e33ef).u16(flags).u16(type).u64(cookie).u32(length);
    }

    ServerBytes data(long cookie, int flags, long offset, byte[] data) {
        return chunk(cookie, flags, 1, new ServerBytes().u64(offset).put(data).bytes());
    }

    ServerBytes hole(long cookie, int flags, long offset, long length) {
        return chunk(cookie, flags, 2, new ServerBytes().u64(offset).u32(length).bytes());
    }

    ServerBytes end(long cookie) {
        return chunk(cookie, DONE, 0, new byte[0]);
    }

    ServerBytes error(long cookie, int flags, int error, String text) {
        return chunk(
                cookie,
                flags,
                0x8001,
                new ServerBytes().u32(error).u16(text.length()).ascii(text).bytes());
    }

    ServerBytes status(long cookie, int context, long... lengthsAndStates) {
        ServerBytes payload = new ServerBytes().u32(context);
        for (long each : lengthsAndStates) {
            payload.u32(each);
        }
        return chunk(cookie, DONE, 5, payload.bytes());
    }
}

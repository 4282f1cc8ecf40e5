package io.blockwharf.nbd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.nbd.wire.ReplyStyle;

import java.io.IOException;
import java.net.ProtocolException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;

/**
 * Replies of any bytes, in any portions, with requests of all kinds under way. The input is a list
 * of chunks with well-formed headers, so that it gets as far as what the headers say; what is left
 * of it is sent as it stands.
 */
class ReplyFuzzTest {
    private static final int REQUESTS = 5;

    @FuzzTest(maxExecutions = 20_000, maxDuration = "60s")
    void anyReplyIsAnAnswerOrTheEnd(byte[] input) throws IOException {
        if (input.length < 2) {
            return;
        }
        ByteBuffer in = ByteBuffer.wrap(input);
        ReplyStyle style = ReplyStyle.values()[Math.floorMod(in.get(), 3)];
        int portion = Math.max(1, Byte.toUnsignedInt(in.get()));
        var scene =
                new ConnectionTest.Scene(
                        ConnectionTest.terms(style, ConnectionTest.ALL_FLAGS),
                        replies(in, style),
                        portion);
        List<ConnectionTest.Buffer> buffers = new ArrayList<>();
        for (int size : new int[] {16, 600}) {
            var buffer = new ConnectionTest.Buffer(size, size / 3);
            buffers.add(buffer);
            scene.read(64, buffer.vector);
        }
        scene.start(Request.Kind.FLUSH, 0, 0, null, 0);
        scene.start(Request.Kind.STATUS, 64, 4096, null, 0);
        scene.start(Request.Kind.WRITE_ZEROES, 0, 4096, null, 0);
        try {
            scene.play();
        } catch (ProtocolException e) {
            scene.collect();
        }
        buffers.forEach(ConnectionTest.Buffer::content);
        assertEquals(
                scene.finished().size(),
                scene.finished().stream().distinct().count(),
                "nobody is told twice");
    }

    /** Chunks: request and last one in a byte, type in another, the payload's length in a third. */
    private static byte[] replies(ByteBuffer in, ReplyStyle style) {
        ServerBytes out = new ServerBytes();
        while (in.remaining() >= 4) {
            int which = Byte.toUnsignedInt(in.get());
            long cookie = which % REQUESTS * 257L;
            int done = which >> 7;
            int type = Byte.toUnsignedInt(in.get());
            int length = Math.min(Byte.toUnsignedInt(in.get()), in.remaining());
            byte[] payload = new byte[length];
            in.get(payload);
            int wire = type < 16 ? type : type < 128 ? 0x8000 | type & 3 : 1 + (type & 1);
            if (style == ReplyStyle.SIMPLE || (which & 0x40) != 0) {
                out.simple(cookie, type & 3).put(payload);
            } else if (type >= 128) { // data or a hole near what was asked for
                byte[] body =
                        wire == 1
                                ? new ServerBytes().u64(64 + (type & 0x7e)).put(payload).bytes()
                                : new ServerBytes().u64(64 + (type & 0x7e)).u32(length).bytes();
                chunk(out, style, cookie, done, wire, body);
            } else {
                chunk(out, style, cookie, done, wire, payload);
            }
        }
        byte[] rest = new byte[in.remaining()];
        in.get(rest);
        return out.put(rest).bytes();
    }

    private static void chunk(
            ServerBytes out, ReplyStyle style, long cookie, int done, int type, byte[] body) {
        if (style == ReplyStyle.EXTENDED) {
            out.u32(0x6e8a278c).u16(done).u16(type).u64(cookie).u64(0).u64(body.length).put(body);
        } else {
            out.chunk(cookie, done, type, body);
        }
    }
}

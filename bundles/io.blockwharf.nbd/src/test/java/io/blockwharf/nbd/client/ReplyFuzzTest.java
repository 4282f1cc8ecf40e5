package io.blockwharf.nbd.client;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.nbd.wire.ReplyStyle;

import java.io.IOException;
import java.net.ProtocolException;
import java.util.ArrayList;
import java.util.List;

/** Replies of any bytes, in any portions, with requests of all kinds under way. */
class ReplyFuzzTest {
    @FuzzTest(maxExecutions = 20_000, maxDuration = "60s")
    void anyReplyIsAnAnswerOrTheEnd(byte[] input) throws IOException {
        if (input.length < 2) {
            return;
        }
        ReplyStyle style = ReplyStyle.values()[Math.floorMod(input[0], 3)];
        int portion = Math.max(1, Byte.toUnsignedInt(input[1]));
        byte[] replies = java.util.Arrays.copyOfRange(input, 2, input.length);
        var scene =
                new ConnectionTest.Scene(
                        ConnectionTest.terms(style, ConnectionTest.ALL_FLAGS), replies, portion);
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
}

package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.nbd.link.Input;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Optional;

/** Whatever a client says instead of a negotiation: an end, and nothing but whole replies. */
class NegotiationFuzzTest {
    private static final int GREETING = 18;

    @FuzzTest(maxExecutions = 20_000, maxDuration = "60s")
    void anyBytesAreAnsweredOrEndTheConnection(byte[] input) throws IOException {
        NbdServer server = RequestFuzzTest.server();
        NbdExport export =
                new NbdExport(
                        server,
                        "disk",
                        "a disk",
                        new FakeNode(1 << 16),
                        true,
                        Access.OPEN,
                        Optional.empty(),
                        StripedBitmap.contexts(),
                        () -> {});
        server.add(export);
        FdSocket[] pair = FdSocket.pair();
        NbdSession session = new NbdSession(server, pair[0], 0);
        ScriptedLink link = new ScriptedLink(input, 0, 100_000);
        boolean exportName = false;
        try (Input in = new Input()) {
            Optional<Terms> terms = new Negotiation(link, in, server, session).run();
            assertEquals(terms.isPresent(), export.inUse());
            exportName = terms.isPresent();
        } catch (EOFException e) {
            // the script is over before the negotiation is
        } finally {
            export.detach(session, false);
            server.remove(export);
            session.discard();
            pair[1].close();
        }
        checkFrames(ByteBuffer.wrap(link.sent()), exportName);
    }

    private static void checkFrames(ByteBuffer out, boolean mayEndOtherwise) {
        out.position(GREETING);
        while (out.remaining() >= 20) {
            if (out.getLong(out.position()) != 0x3e889045565a9L) {
                break;
            }
            int length = out.getInt(out.position() + 16);
            assertTrue(length >= 0 && length <= out.remaining() - 20);
            out.position(out.position() + 20 + length);
        }
        // What EXPORT_NAME is answered with is no reply to an option
        int rest = out.remaining();
        assertTrue(rest == 0 || mayEndOtherwise && (rest == 10 || rest == 134));
    }
}

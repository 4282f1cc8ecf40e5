package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.wire.ReplyStyle;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * Whatever a client sends after its negotiation: no exception, an end, and nothing but whole
 * replies. The first byte of an input chooses style, speed of the disk, kind of thread, size of the
 * portions, whether reads are tried together, and whether the client vanishes after a while.
 */
class RequestFuzzTest {
    private static final int SIZE = 1 << 16;
    private static NbdServer server;

    static synchronized NbdServer server() throws IOException {
        if (server == null) {
            Path directory = Files.createTempDirectory("nbd-fuzz");
            server =
                    NbdServer.bind(
                            Optional.empty(),
                            new SocketAddress.Unix(directory.resolve("s").toString()),
                            NbdServer.Limits.DEFAULT);
        }
        return server;
    }

    @FuzzTest(maxExecutions = 20_000, maxDuration = "60s")
    void anyBytesAreAnsweredOrEndTheConnection(byte[] input) throws LinuxException, IOException {
        if (input.length == 0) {
            return;
        }
        int mode = input[0];
        FakeNode node = new FakeNode(SIZE);
        node.direct = true;
        node.cold = (mode & 4) != 0;
        node.batchesReads = (mode & 64) == 0;
        node.fill(8192, 8192, 3);
        node.badOffset = 12288;
        boolean writable = (mode & 8) == 0;
        boolean shared = (mode & 16) != 0;
        List<MetaContext> contexts = StripedBitmap.contexts();
        ReplyStyle style = ReplyStyle.values()[(mode & 3) % 3];
        NbdExport export =
                new NbdExport(
                        server(),
                        "x",
                        "",
                        node,
                        writable,
                        Access.OPEN,
                        Optional.empty(),
                        contexts,
                        () -> {});
        Terms terms =
                new Terms(
                        export,
                        style,
                        SIZE,
                        export.transmissionFlags(style, true, Optional.empty()),
                        style == ReplyStyle.SIMPLE ? List.of() : contexts);
        ScriptedLink link = new ScriptedLink(input, 1, (mode & 32) != 0 ? 7 : 100_000);
        boolean vanishes = (mode & 128) != 0;
        if (vanishes) {
            link.breakAfter(input.length % 4);
        }
        try (Input in = new Input();
                Transmission transmission = new Transmission(link, in, terms, shared)) {
            if (shared) {
                for (int turns = 0; transmission.turn(); turns++) {
                    assertTrue(turns <= input.length, "a script has an end");
                }
            } else {
                transmission.run();
            }
        } catch (IOException e) {
            assertTrue(vanishes);
        }
        if (style != ReplyStyle.SIMPLE) {
            checkFrames(ByteBuffer.wrap(link.sent()), style == ReplyStyle.EXTENDED);
        }
    }

    /** Simple replies to reads cannot be told apart without the requests; chunks can. */
    private static void checkFrames(ByteBuffer out, boolean extended) {
        while (out.hasRemaining()) {
            int magic = out.getInt();
            if (magic == 0x67446698) {
                assertTrue(!extended);
                out.position(out.position() + 12);
                continue;
            }
            assertEquals(extended ? 0x6e8a278c : 0x668e33ef, magic);
            out.position(out.position() + (extended ? 20 : 12));
            long length = extended ? out.getLong() : out.getInt();
            assertTrue(length >= 0 && length <= out.remaining());
            out.position(out.position() + (int) length);
        }
    }
}

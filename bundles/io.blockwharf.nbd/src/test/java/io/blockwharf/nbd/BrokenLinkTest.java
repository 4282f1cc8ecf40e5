package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.nbd.link.Input;
import io.blockwharf.nbd.wire.ReplyStyle;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.List;
import java.util.Optional;

/** A client that is gone at any moment leaves nothing in flight, and nothing that waits. */
class BrokenLinkTest {
    private static final int SIZE = 1 << 20;
    private static final int REQUESTS = 1000;
    private static final int FLUSH = 3;
    private static final int NO_SUCH_REQUEST = 99;

    /**
     * Requests for the queue, fewer than it takes at once, and between them so many errors that
     * their replies have to leave before all are taken.
     */
    private static byte[] script() {
        ByteBuffer script = ByteBuffer.allocate(28 * REQUESTS);
        for (int i = 0; i < REQUESTS; i++) {
            int type = i % 200 == 0 ? FLUSH : i % 200 == 100 ? Client.READ : NO_SUCH_REQUEST;
            int length = type == Client.READ ? 4096 : 0;
            script.putInt(0x25609513).putInt(type).putLong(i).putLong(i * 512L).putInt(length);
        }
        return script.array();
    }

    private static Transmission transmission(FakeNode node, Input in, int flushes, boolean shared)
            throws IOException {
        NbdExport export =
                new NbdExport(
                        RequestFuzzTest.server(),
                        "x",
                        "",
                        node,
                        true,
                        Access.OPEN,
                        Optional.empty(),
                        List.of(),
                        () -> {});
        int flags = export.transmissionFlags(ReplyStyle.STRUCTURED, false, Optional.empty());
        Terms terms = new Terms(export, ReplyStyle.STRUCTURED, SIZE, flags, List.of());
        ScriptedLink link = new ScriptedLink(script(), 0, 100_000);
        link.breakAfter(flushes);
        return new Transmission(link, in, terms, shared);
    }

    private static FakeNode node() {
        FakeNode node = new FakeNode(SIZE);
        node.fill(0, SIZE, 3);
        node.direct = true;
        node.cold = true;
        return node;
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void onALoopWhatWasBegunIsWaitedFor(int flushes) throws IOException {
        FakeNode node = node();
        try (Input in = new Input();
                Transmission transmission = transmission(node, in, flushes, true)) {
            for (int turns = 0; transmission.turn(); turns++) {
                assertTrue(turns < REQUESTS, "turns without end");
            }
        }
        assertEquals(0, node.openQueues());
    }

    @ParameterizedTest
    @ValueSource(ints = {0, 1, 2})
    void aThreadOfItsOwnEnds(int flushes) throws IOException {
        FakeNode node = node();
        try (Input in = new Input();
                Transmission transmission = transmission(node, in, flushes, false)) {
            assertThrows(IOException.class, transmission::run);
        }
        assertEquals(0, node.openQueues());
    }
}

package io.blockwharf.nbd;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.nio.file.Path;
import java.util.List;

/** The end of an export. */
class NbdExportTest {
    private static final int SIZE = 1 << 20;

    @TempDir Path directory;

    /** What {@link Thread#start} does when the process may have no more of them. */
    private static final class Refused extends Thread {
        Refused(Runnable task) {
            super(task);
        }

        @Override
        public void start() {
            throw new OutOfMemoryError("unable to create native thread");
        }
    }

    @Test
    void anExportIsFlushedAndEndsThoughThreadsHaveRunOut() throws Exception {
        FakeNode node = new FakeNode(SIZE);
        try (TestServer server =
                new TestServer(directory, NbdServer.Limits.DEFAULT, Refused::new)) {
            NbdExport export = server.export("disk", node);
            try (Client client = Client.ready(server.socket, "disk", 8)) {
                client.write(0, 1, 0, new byte[512]);
                assertEquals(0, client.result());
                export.requestShutdown();
                TestServer.awaitClosed(export);
            }
        }
        assertEquals(List.of("write 0+512/0", "flush"), node.calls());
    }
}

package io.blockwharf.vhostuser;

import static io.blockwharf.vhostuser.FakeFrontEnd.payload;
import static io.blockwharf.vhostuser.FakeFrontEnd.u64;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.export.BlockExport;
import io.blockwharf.api.export.ExportSpec;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.ListeningSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.testing.RecordingLog;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.vhostuser.wire.ProtocolFeatures;
import io.blockwharf.virtio.blk.MemoryNode;
import io.blockwharf.virtio.queue.Virtqueue;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.osgi.service.log.Logger;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.ValueLayout;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/** An export's options, and the front ends that come one after the other. */
@Timeout(120)
class VhostUserExportTest {
    private static final Logger SILENT = new RecordingLog().logger;
    private static final long DISK = 1 << 20;
    private static final int GET_FEATURES = 1;

    @TempDir Path directory;
    private final MemoryNode node = new MemoryNode(DISK);
    private final List<BlockExport> exports = new ArrayList<>();

    @AfterEach
    void end() {
        exports.forEach(VhostUserExportTest::remove);
    }

    private static void remove(BlockExport export) {
        export.requestRemoval();
        export.closed().toCompletableFuture().join();
    }

    private SocketAddress.Unix socket() {
        return new SocketAddress.Unix(directory.resolve("vhost").toString());
    }

    private BlockExport open(SocketAddress address, long blockSize, int queues) {
        var options =
                new VhostUserBlkOptions(
                        address, Optional.of(blockSize), Optional.of(queues), Optional.empty());
        var spec = new ExportSpec<>("e", node, true, List.of(), options);
        BlockExport export = new VhostUserBlkDriver(TestIoThread::new, SILENT).open(spec);
        exports.add(export);
        return export;
    }

    private FakeFrontEnd connect() throws LinuxException {
        return new FakeFrontEnd(FdSocket.connect(socket()));
    }

    /** QEMU's words. */
    @ParameterizedTest(name = "{3}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    unix |  512 | 0 | num-queues must be greater than 0
                    unix |  513 | 1 | parameter logical-block-size must be a power of 2 between 512 and 2097152
                    inet |  512 | 1 | Only socket address types 'unix' and 'fd' are supported
                    fd   |  512 | 1 | Unable to parse FD number x
                    """)
    void optionsThatAreRefused(String type, long blockSize, int queues, String why) {
        SocketAddress address =
                switch (type) {
                    case "unix" -> socket();
                    case "fd" -> new SocketAddress.Fd("x");
                    default -> new SocketAddress.Vsock("2", "1");
                };
        assertEquals(
                why,
                assertThrows(QmpException.class, () -> open(address, blockSize, queues))
                        .getMessage());
        assertTrue(Files.notExists(directory.resolve("vhost")));
    }

    @Test
    void theDeviceIsWhatTheOptionsSay() throws Exception {
        BlockExport export = open(socket(), 4096, 3);
        assertEquals(3, export.details().get("queues"));
        try (FakeFrontEnd front = connect()) {
            assertEquals(3, front.ask(17));
            front.send(24, 0, payload(12 + 60).putInt(0).putInt(60).putInt(0).array());
            ByteBuffer config = front.reply(24);
            assertEquals(DISK / 512, config.getLong(12));
            assertEquals(4096, config.getInt(12 + 20), "blk_size");
            assertEquals(3, config.getShort(12 + 34), "num_queues");
        }
    }

    /** A listening socket that the process has been given. */
    @Test
    void anInheritedSocketIsServed() throws Exception {
        Set<String> before = sockets();
        ListeningSocket.open(socket(), 1); // what it listens on becomes the export's
        Set<String> after = sockets();
        after.removeAll(before);
        assertEquals(1, after.size());
        open(new SocketAddress.Fd(after.iterator().next()), 512, 1);
        try (FakeFrontEnd front = connect()) {
            assertTrue((front.ask(GET_FEATURES) & Virtqueue.F_VERSION_1) != 0);
        }
    }

    /** The descriptors of this process that are sockets. */
    private static Set<String> sockets() throws IOException {
        var found = new HashSet<String>();
        try (var all = Files.newDirectoryStream(Path.of("/proc/self/fd"))) {
            for (Path fd : all) {
                // The descriptor of this directory is one of them, and gone soon
                if (Files.isSymbolicLink(fd)
                        && Files.readSymbolicLink(fd).toString().startsWith("socket:")) {
                    found.add(fd.getFileName().toString());
                }
            }
        }
        return found;
    }

    /** The second one is not refused: it is served when the first one has left. */
    @Test
    void frontEndsAreServedOneAfterTheOther() throws Exception {
        BlockExport export = open(socket(), 512, 1);
        assertFalse(export.inUse());
        try (FakeFrontEnd first = connect()) {
            first.ask(GET_FEATURES);
            assertTrue(export.inUse());
            try (FakeFrontEnd second = connect();
                    Arena arena = Arena.ofConfined()) {
                second.send(GET_FEATURES, 0, new byte[0]);
                for (int i = 0; i < 1000; i++) { // time enough for whoever would serve both
                    first.ask(GET_FEATURES);
                }
                assertEquals(1L, export.details().get("connections"));
                var bytes = arena.allocate(1);
                assertEquals(
                        FdSocket.WOULD_BLOCK,
                        second.socket.receive(bytes, 0, 1, FdSocket.DONT_WAIT | FdSocket.PEEK));
                first.socket.shutdown();
                second.reply(GET_FEATURES);
                assertEquals(2L, export.details().get("connections"));
                assertTrue(export.inUse());
            }
        }
    }

    /** From the node to the front end: CONFIG_CHANGE_MSG, and the new capacity behind it. */
    @Test
    void aResizeReachesTheFrontEnd() throws Exception {
        open(socket(), 512, 1);
        node.resize(DISK / 2); // nobody is there yet
        FdSocket[] channel = FdSocket.pair();
        try (FakeFrontEnd front = connect();
                FdSocket backend = channel[0];
                Arena arena = Arena.ofConfined()) {
            front.send(16, 0, u64(ProtocolFeatures.ALL));
            front.good(21, new byte[0], channel[1].fd());
            channel[1].close();
            node.resize(DISK + 512);
            var message = arena.allocate(12, 4);
            assertEquals(12, backend.receive(message, 0, 12, FdSocket.WAIT_ALL));
            assertEquals(2, message.get(ValueLayout.JAVA_INT, 0), "CONFIG_CHANGE_MSG");
            front.send(24, 0, payload(12 + 8).putInt(0).putInt(8).putInt(0).array());
            assertEquals(DISK / 512 + 1, front.reply(24).getLong(12));
        }
    }

    @Test
    void removalDisconnectsTheFrontEnd() throws Exception {
        BlockExport export = open(socket(), 512, 1);
        try (FakeFrontEnd front = connect()) {
            front.ask(GET_FEATURES);
            remove(export);
            assertTrue(front.disconnected());
            assertFalse(export.inUse());
            assertTrue(Files.notExists(directory.resolve("vhost")));
        }
    }
}

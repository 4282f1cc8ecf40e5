package io.blockwharf.it.process;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.SocketChannel;
import java.nio.file.Files;
import java.nio.file.Path;

/** The socket of an export: a front end waits at it, also for a daemon that comes again. */
@Timeout(240)
class VhostUserAcceptIT {
    private static final int GET_FEATURES = 1;

    @TempDir Path directory;

    @Test
    void aFrontEndWaitsUntilItCanBeAccepted() throws Exception {
        Path socket = directory.resolve("vhost");
        try (var daemon =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "driver=null-co,node-name=disk,size=1048576,read-zeroes=on",
                        "--export",
                        "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path="
                                + socket)) {
            assertTrue(features(socket) != 0); // everything that it takes is loaded
            limit(daemon, "0:");
            try (var front = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
                Waiting.until(
                        () -> daemon.stderr().contains("cannot accept a front end"),
                        () -> "a failure to accept:\n" + Waiting.get(daemon::stderr));
                limit(daemon, "1024:");
                assertTrue(features(front) != 0);
            }
        }
    }

    @Test
    void itsFileGoesWithTheExportAndNotWithTheDaemon() throws Exception {
        Path monitor = directory.resolve("m");
        Path removed = directory.resolve("removed");
        Path kept = directory.resolve("kept");
        try (var _ =
                        Daemon.start(
                                directory,
                                "--chardev",
                                "socket,id=m,server=on,wait=off,path=" + monitor,
                                "--monitor",
                                "m",
                                "--blockdev",
                                "null-co,node-name=disk,size=1048576",
                                "--export",
                                "vhost-user-blk,id=r,node-name=disk,addr.type=unix,addr.path="
                                        + removed,
                                "--export",
                                "vhost-user-blk,id=k,node-name=disk,addr.type=unix,addr.path="
                                        + kept);
                var qmp = QmpClient.unix(monitor);
                var front = SocketChannel.open(UnixDomainSocketAddress.of(removed))) {
            assertTrue(features(front) != 0);
            qmp.execute("block-export-del", "{\"id\":\"r\",\"mode\":\"hard\"}");
            qmp.event("BLOCK_EXPORT_DELETED");
            assertTrue(Files.notExists(removed));
        }
        assertTrue(Files.exists(kept));
    }

    /** Sets how many descriptors the daemon may have: soft limit and, if given, hard limit. */
    private static void limit(Daemon daemon, String limit) {
        Tools.run("prlimit", "--pid", Long.toString(daemon.pid()), "--nofile=" + limit).ok();
    }

    private static long features(Path socket) throws Exception {
        try (var front = SocketChannel.open(UnixDomainSocketAddress.of(socket))) {
            return features(front);
        }
    }

    private static long features(SocketChannel front) throws Exception {
        var message = ByteBuffer.allocate(20).order(ByteOrder.nativeOrder());
        front.write(message.putInt(GET_FEATURES).putInt(1).putInt(0).flip());
        message.clear();
        while (message.hasRemaining()) {
            assertTrue(front.read(message) > 0, "the daemon hung up");
        }
        assertEquals(GET_FEATURES, message.getInt(0));
        return message.getLong(12);
    }
}

package io.blockwharf.it.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assertions.fail;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.locks.LockSupport;

/** A Linux guest under QEMU uses the daemon's disk. */
@Timeout(240)
class VhostUserGuestIT {
    private static final long DISK = 96 << 20;
    private static final int SECTOR = 512;

    private static Path guest;

    @TempDir Path directory;
    private Path disk;
    private Path socket;
    private Process daemon;

    @BeforeAll
    static void buildGuest() throws Exception {
        guest = Guest.image();
    }

    @BeforeEach
    void makeDisk() throws IOException {
        disk = directory.resolve("disk.raw");
        socket = directory.resolve("vhost");
        try (var file = new RandomAccessFile(disk.toFile(), "rw")) {
            file.setLength(DISK);
        }
    }

    @AfterEach
    void endDaemon() throws Exception {
        daemon.destroy();
        assertTrue(daemon.waitFor(60, TimeUnit.SECONDS));
    }

    /** Starts the daemon and waits until it serves. */
    private void serve(String... options) throws Exception {
        Path pidFile = directory.resolve("pid");
        Path program =
                Path.of(System.getProperty("blockwharf.distribution"), "bin", "blockwharf")
                        .normalize();
        var command = new ArrayList<>(List.of(program.toString(), "--pidfile", pidFile.toString()));
        command.addAll(List.of(options));
        Path log = directory.resolve("daemon.log");
        Files.deleteIfExists(pidFile);
        daemon =
                new ProcessBuilder(command)
                        .redirectErrorStream(true)
                        .redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()))
                        .start();
        while (!Files.exists(pidFile)) {
            if (daemon.waitFor(5, TimeUnit.MILLISECONDS)) {
                fail(Files.readString(log));
            }
        }
    }

    private String node() {
        return "driver=file,node-name=disk,discard=unmap,filename=" + disk;
    }

    private String export(String options) {
        return "type=vhost-user-blk,id=e,node-name=disk,addr.type=unix,addr.path="
                + socket
                + options;
    }

    /** A QMP monitor; replies and events are compared as text. */
    private record Monitor(SocketChannel channel, BufferedReader in) implements AutoCloseable {
        static Monitor connect(Path path) throws IOException {
            var channel = SocketChannel.open(UnixDomainSocketAddress.of(path));
            var monitor =
                    new Monitor(
                            channel,
                            new BufferedReader(
                                    Channels.newReader(channel, StandardCharsets.UTF_8)));
            assertTrue(monitor.in.readLine().contains("QMP"));
            assertEquals("{\"return\": {}}", monitor.execute("qmp_capabilities", "{}"));
            return monitor;
        }

        /** The next message that holds a word. */
        String await(String word) throws IOException {
            for (String line; (line = in.readLine()) != null; ) {
                if (line.contains(word)) {
                    return line;
                }
            }
            return fail("the monitor was closed before " + word);
        }

        String execute(String command, String arguments) throws IOException {
            send(command, arguments);
            for (String line; (line = in.readLine()) != null; ) {
                if (!line.contains("\"event\"")) {
                    return line;
                }
            }
            return fail("the monitor was closed");
        }

        void send(String command, String arguments) throws IOException {
            String text =
                    "{\"execute\": \"%s\", \"arguments\": %s}\n".formatted(command, arguments);
            channel.write(ByteBuffer.wrap(text.getBytes(StandardCharsets.UTF_8)));
        }

        @Override
        public void close() throws IOException {
            channel.close();
        }
    }

    /** Verified I/O on four queues in an iothread, discard, resize, removal of the export. */
    @Test
    void aGuestLivesOnItsDisk() throws Exception {
        Path monitorSocket = directory.resolve("qmp");
        serve(
                "--chardev",
                "socket,id=c,server=on,wait=off,path=" + monitorSocket,
                "--monitor",
                "c",
                "--object",
                "iothread,id=io0",
                "--blockdev",
                node(),
                "--export",
                export(",writable=on,num-queues=4,iothread=io0"));
        long larger = DISK + (32 << 20);
        try (var monitor = Monitor.connect(monitorSocket);
                var machine =
                        Guest.start(
                                guest,
                                socket,
                                4,
                                "vhost-life.sh",
                                "NEW_SECTORS=" + larger / SECTOR)) {
            machine.await("DISCARDED");
            assertTrue(zeroes(disk), "what was discarded");
            assertTrue(
                    monitor.execute("block-export-del", "{\"id\": \"e\"}")
                            .contains("export 'e' still in use"));
            assertEquals(
                    "{\"return\": {}}",
                    monitor.execute(
                            "block_resize",
                            "{\"node-name\": \"disk\", \"size\": %d}".formatted(larger)));
            machine.await("RESIZED");
            monitor.send("block-export-del", "{\"id\": \"e\", \"mode\": \"hard\"}");
            monitor.await("BLOCK_EXPORT_DELETED");
            machine.succeeds();
        }
    }

    private static boolean zeroes(Path file) throws IOException {
        try (var in = Files.newInputStream(file)) {
            var piece = new byte[1 << 20];
            for (int n; (n = in.read(piece)) > 0; ) {
                for (int i = 0; i < n; i++) {
                    if (piece[i] != 0) {
                        return false;
                    }
                }
            }
            return true;
        }
    }

    @Test
    void aReadOnlyDiskCannotBeWritten() throws Exception {
        serve("--blockdev", node(), "--export", export(",writable=off,serial=read-only-disk"));
        try (var machine = Guest.start(guest, socket, 1, "vhost-readonly.sh")) {
            machine.await("READ-ONLY");
            machine.succeeds();
        }
    }

    /** The in-flight log: what the killed daemon had taken is executed by the next one. */
    @Test
    void aGuestSurvivesTheDeathOfTheDaemon() throws Exception {
        String[] options = {"--blockdev", node(), "--export", export(",writable=on,num-queues=2")};
        serve(options);
        try (var machine = Guest.start(guest, socket, 2, "vhost-crash.sh")) {
            machine.await("WRITING");
            long before = changed();
            while (changed() == before) { // until the daemon is in the middle of it
                LockSupport.parkNanos(1_000_000);
            }
            daemon.destroyForcibly().waitFor();
            serve(options);
            machine.await("VERIFIED");
            machine.succeeds();
        }
    }

    private long changed() throws IOException {
        return Files.getLastModifiedTime(disk).toMillis();
    }
}

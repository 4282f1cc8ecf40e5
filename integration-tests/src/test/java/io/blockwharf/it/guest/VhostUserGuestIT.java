package io.blockwharf.it.guest;

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
import java.net.SocketException;
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

    private static Path image;

    @TempDir Path directory;
    private Path disk;
    private Path socket;
    private Process daemon;

    @BeforeAll
    static void buildGuest() throws Exception {
        image = Guest.image();
    }

    @BeforeEach
    void makeDisk() throws IOException {
        disk = directory.resolve("disk.raw");
        socket = directory.resolve("vhost");
        makeDisk(disk);
    }

    private static void makeDisk(Path file) throws IOException {
        try (var made = new RandomAccessFile(file.toFile(), "rw")) {
            made.setLength(DISK);
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
        /** Connects to a program that may still be about to listen. */
        static Monitor connect(Path path) throws IOException {
            SocketChannel channel = null;
            while (channel == null) {
                try {
                    channel = SocketChannel.open(UnixDomainSocketAddress.of(path));
                } catch (SocketException notYet) {
                    LockSupport.parkNanos(1_000_000);
                }
            }
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

    /** Options of a program that make it listen for QMP. */
    private static List<String> monitorOptions(Path path) {
        return List.of("-qmp", "unix:%s,server=on,wait=off".formatted(path));
    }

    /**
     * Verified I/O on four queues in two iothreads, discard, resize, another cache mode, hot unplug
     * and plug, removal of the export.
     */
    @Test
    void aGuestLivesOnItsDisk() throws Exception {
        Path monitorSocket = directory.resolve("qmp");
        Path machineSocket = directory.resolve("machine");
        serve(
                "--chardev",
                "socket,id=c,server=on,wait=off,path=" + monitorSocket,
                "--monitor",
                "c",
                "--object",
                "iothread,id=io0",
                "--object",
                "iothread,id=io1",
                "--blockdev",
                node(),
                "--export",
                export(",writable=on,num-queues=4,iothread.0=io0,iothread.1=io1"));
        long larger = DISK + (32 << 20);
        var options = new ArrayList<>(Guest.disk("disk", socket, ",num-queues=4"));
        options.addAll(monitorOptions(machineSocket));
        try (var monitor = Monitor.connect(monitorSocket);
                var guest =
                        Guest.startWithProcessors(
                                4,
                                image,
                                "vhost-life.sh",
                                options,
                                "QUEUES=4",
                                "NEW_SECTORS=" + larger / SECTOR);
                var machine = Monitor.connect(machineSocket)) {
            guest.await("DISCARDED");
            assertTrue(zeroes(disk), "what was discarded");
            assertTrue(cpuTicks("IO io0") > 0 && cpuTicks("IO io1") > 0, "queues on both threads");
            assertTrue(
                    monitor.execute("block-export-del", "{\"id\": \"e\"}")
                            .contains("export 'e' still in use"));
            assertEquals(
                    "{\"return\": {}}",
                    monitor.execute(
                            "block_resize",
                            "{\"node-name\": \"disk\", \"size\": %d}".formatted(larger)));
            guest.await("RESIZED");
            machine.send("device_del", "{\"id\": \"disk\"}");
            machine.await("DEVICE_DELETED");
            guest.await("UNPLUGGED");
            machine.execute(
                    "device_add",
                    "{\"driver\": \"vhost-user-blk-pci\", \"id\": \"disk\", \"bus\": \"disk-port\","
                            + " \"chardev\": \"disk-socket\", \"num-queues\": 4}");
            guest.await("PLUGGED");
            monitor.send("block-export-del", "{\"id\": \"e\", \"mode\": \"hard\"}");
            monitor.await("BLOCK_EXPORT_DELETED");
            guest.succeeds();
        }
    }

    /** User and system time of a thread of the daemon. */
    private long cpuTicks(String name) throws IOException {
        try (var tasks = Files.list(Path.of("/proc", Long.toString(daemon.pid()), "task"))) {
            for (Path task : tasks.toList()) {
                if (Files.readString(task.resolve("comm")).strip().equals(name)) {
                    String stat = Files.readString(task.resolve("stat"));
                    String[] fields = stat.substring(stat.lastIndexOf(')') + 2).split(" ");
                    return Long.parseLong(fields[11]) + Long.parseLong(fields[12]);
                }
            }
        }
        return fail("there is no thread " + name);
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
        try (var guest =
                Guest.start(
                        image, "vhost-readonly.sh", Guest.disk("disk", socket, ",num-queues=1"))) {
            guest.await("READ-ONLY");
            guest.succeeds();
        }
    }

    /**
     * The in-flight log, of split and of packed rings: what the killed daemon had taken is executed
     * by the next one.
     */
    @Test
    void aGuestSurvivesTheDeathOfTheDaemon() throws Exception {
        Path second = directory.resolve("second.raw");
        Path packed = directory.resolve("packed");
        makeDisk(second);
        String[] options = {
            "--blockdev",
            node(),
            "--export",
            export(",writable=on,num-queues=2"),
            "--blockdev",
            "driver=file,node-name=second,filename=" + second,
            "--export",
            "type=vhost-user-blk,id=p,node-name=second,writable=on,addr.type=unix,addr.path="
                    + packed
        };
        serve(options);
        var devices = new ArrayList<>(Guest.disk("split", socket, ",num-queues=2"));
        devices.addAll(Guest.disk("packed", packed, ",packed=on,num-queues=1"));
        try (var guest = Guest.start(image, "vhost-crash.sh", devices, "SIZE=12M")) {
            guest.await("WRITING");
            awaitChange(disk);
            awaitChange(second); // until the daemon is in the middle of it
            daemon.destroyForcibly().waitFor();
            serve(options);
            guest.await("VERIFIED");
            guest.succeeds();
        }
    }

    /** Split and packed rings find another node behind their requests. */
    @Test
    void aGuestWritesOnWhileItsDisksGetOverlays() throws Exception {
        Path second = directory.resolve("second.raw");
        Path packed = directory.resolve("packed");
        Path monitorSocket = directory.resolve("qmp");
        makeDisk(second);
        serve(
                "--chardev",
                "socket,id=c,server=on,wait=off,path=" + monitorSocket,
                "--monitor",
                "c",
                "--blockdev",
                node(),
                "--export",
                export(",writable=on,num-queues=2"),
                "--blockdev",
                "driver=file,node-name=second,filename=" + second,
                "--export",
                "type=vhost-user-blk,id=p,node-name=second,writable=on,addr.type=unix,addr.path="
                        + packed);
        var devices = new ArrayList<>(Guest.disk("split", socket, ",num-queues=2"));
        devices.addAll(Guest.disk("packed", packed, ",packed=on,num-queues=1"));
        try (var monitor = Monitor.connect(monitorSocket);
                var guest = Guest.start(image, "vhost-crash.sh", devices, "SIZE=12M", "RATE=400")) {
            guest.await("WRITING");
            awaitChange(disk);
            awaitChange(second);
            for (String base : List.of("disk", "second")) {
                putOverlay(monitor, base, base + "-1");
                putOverlay(monitor, base + "-1", base + "-2");
            }
            awaitChange(directory.resolve("disk-2"));
            awaitChange(directory.resolve("second-2"));
            guest.await("VERIFIED");
            guest.succeeds();
        }
    }

    private void putOverlay(Monitor monitor, String base, String overlay) throws IOException {
        assertEquals(
                "{\"return\": {}}",
                monitor.execute(
                        "blockdev-snapshot-sync",
                        "{\"node-name\": \"%s\", \"snapshot-node-name\": \"%s\","
                                        .formatted(base, overlay)
                                + " \"snapshot-file\": \"%s\"}"
                                        .formatted(directory.resolve(overlay))));
    }

    private static void awaitChange(Path file) throws IOException {
        var before = Files.getLastModifiedTime(file);
        while (Files.getLastModifiedTime(file).equals(before)) {
            LockSupport.parkNanos(1_000_000);
        }
    }

    /**
     * The dirty log, of split and of packed rings: what the disks have written to the guest's
     * memory migrates with it.
     */
    @Test
    void aGuestMigratesWhileItWrites() throws Exception {
        Path second = directory.resolve("second.raw");
        Path source = directory.resolve("source");
        Path target = directory.resolve("target");
        String migration = "unix:" + directory.resolve("migration");
        makeDisk(second);
        var served =
                new ArrayList<>(
                        List.of(
                                "--blockdev",
                                node(),
                                "--blockdev",
                                "driver=file,node-name=second,filename=" + second));
        for (String socket : List.of("here", "there")) {
            served.addAll(List.of("--export", exportTo(socket, "disk", 2)));
            served.addAll(List.of("--export", exportTo(socket + "-packed", "second", 1)));
        }
        serve(served.toArray(String[]::new));
        var here = disks("here");
        here.addAll(monitorOptions(source));
        var other = disks("there");
        other.addAll(monitorOptions(target));
        other.addAll(List.of("-incoming", migration));
        try (var guest =
                        Guest.startMigratable(
                                image, "vhost-crash.sh", here, other, "SIZE=12M", "RATE=400");
                var from = Monitor.connect(source);
                var to = Monitor.connect(target)) {
            guest.await("WRITING");
            awaitChange(disk);
            awaitChange(second);
            from.execute(
                    "migrate-set-parameters",
                    "{\"max-bandwidth\": 1000000000, \"downtime-limit\": 2000}");
            assertEquals(
                    "{\"return\": {}}",
                    from.execute("migrate", "{\"uri\": \"%s\"}".formatted(migration)));
            to.await("RESUME");
            assertTrue(from.execute("query-migrate", "{}").contains("\"completed\""));
            from.execute("quit", "{}");
            guest.await("VERIFIED");
            guest.succeeds();
        }
    }

    /** An export whose id is the name of its socket. */
    private String exportTo(String socket, String node, int queues) {
        return "type=vhost-user-blk,id=%s,node-name=%s,writable=on,num-queues=%d"
                        .formatted(socket, node, queues)
                + ",addr.type=unix,addr.path="
                + directory.resolve(socket);
    }

    /** A disk with split rings and one with a packed ring. */
    private List<String> disks(String socket) {
        var all = new ArrayList<>(Guest.disk("disk", directory.resolve(socket), ",num-queues=2"));
        Path packed = directory.resolve(socket + "-packed");
        all.addAll(Guest.disk("packed", packed, ",packed=on,num-queues=1"));
        return all;
    }
}

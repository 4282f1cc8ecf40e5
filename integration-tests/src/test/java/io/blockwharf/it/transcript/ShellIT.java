package io.blockwharf.it.transcript;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.channels.Channels;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** The shell as a script sees it, on standard input and on a local socket. */
class ShellIT {
    @TempDir Path directory;

    private Process start(String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(Program.OURS.path()));
        command.addAll(List.of(arguments));
        return new ProcessBuilder(command)
                .redirectError(directory.resolve("stderr").toFile())
                .start();
    }

    private static void end(Process daemon) throws InterruptedException {
        try {
            assertTrue(daemon.waitFor(60, TimeUnit.SECONDS), "does not end");
            assertEquals(0, daemon.exitValue());
        } finally {
            daemon.destroyForcibly();
        }
    }

    @Test
    @Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void aScriptOnStandardInput() throws IOException, InterruptedException {
        Path nbd = directory.resolve("nbd");
        Path more = directory.resolve("more");
        int width = more.toString().length();
        Process daemon = start("--shell", "stdio");
        try (var in = daemon.outputWriter(StandardCharsets.UTF_8)) {
            in.write(
                    """
                    node:add null-co node-name=n size=1048576
                    nbd:start %s
                    export:add nbd id=e node-name=n
                    export:add nbd id=e node-name=n
                    each (export:list) {
                      $it id
                    }
                    ((export:list) get 0) type
                    export:add fuse id=f node-name=n mountpoint=%s
                    export:list
                    export:del f
                    export:add nbd node-name=n
                    object:add iothread id=t
                    object:add nbd-server id=more addr.type=unix addr.path=%s
                    export:add nbd id=m node-name=n name=again server=more
                    nbd:servers
                    nbd:clients
                    nbd:exports
                    nbd:disconnect 7
                    export:del m
                    export:del nope
                    export:del
                    export:del e
                    node:del n
                    node:list
                    object:del t
                    nope
                    echo "the end"
                    qmp:run quit
                    """
                            .formatted(nbd, Files.createFile(directory.resolve("file")), more));
        }
        String output = new String(daemon.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        assertEquals(
                """
                NAME  DRIVER   READ-ONLY  SIZE     FILE
                n     null-co  no         1048576  json:{"driver": "null-co", "size": 1048576}
                ID  TYPE  NODE-NAME  SHUTTING-DOWN
                e   nbd   n          no
                error: Block export id 'e' is already in use
                e

                nbd
                ID  TYPE  NODE-NAME  SHUTTING-DOWN
                f   fuse  n          no
                ID  TYPE  NODE-NAME  SHUTTING-DOWN  PATH
                f   fuse  n          no             device
                e   nbd   n          no             -
                error: Parameter 'id' is missing
                ID  TYPE
                t   iothread
                ID    TYPE
                t     iothread
                more  nbd-server
                ID  TYPE  NODE-NAME  SHUTTING-DOWN
                m   nbd   n          no
                ID    ADDRESSES%s  TLS  CLIENTS  EXPORTS
                -     %s%s  no   0        n
                more  %s%s  no   0        again
                NAME   SERVER  CLIENTS  READS  READ-P50  READ-P99  WRITES  WRITE-P50  WRITE-P99  ERRORS  BYTES-READ  BYTES-WRITTEN
                n      -       0        0      -         -         0       -          -          0       0           0
                again  more    0        0      -         -         0       -          -          0       0           0
                error: NBD client 7 not found
                error: Export 'nope' is not found
                error: The arguments do not fit the command: see 'help COMMAND'
                error: Command not found: nope
                the end
                {
                }
                """
                        .formatted(" ".repeat(width - "ADDRESSES".length()), nbd, " ", more, ""),
                // Which of the two ways a FUSE export takes is a setting of the kernel
                output.replace("io_uring", "device"));
        end(daemon);
    }

    /** Most hosts have no VDUSE: the type is not there, and export:types says why. */
    @Test
    @Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void aTypeThatTheHostLacksSaysWhy() throws IOException, InterruptedException {
        boolean there = Files.exists(Path.of("/dev/vduse/control"));
        Process daemon = start("--shell", "stdio");
        try (var in = daemon.outputWriter(StandardCharsets.UTF_8)) {
            in.write(
                    """
                    node:add null-co node-name=n size=1048576
                    export:types
                    export:add vduse-blk id=v node-name=n name=blockwharf-shell-it num-queues=0
                    qmp:run quit
                    """);
        }
        String output = new String(daemon.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        String reason =
                there
                        ? "CONFIG_VDUSE_BLK_EXPORT=auto, and /dev/vduse/control works"
                        : "CONFIG_VDUSE_BLK_EXPORT=auto, but /dev/vduse/control: No such file or"
                                + " directory";
        assertTrue(output.contains(reason), output);
        String error =
                there
                        ? "error: num-queues must be greater than 0"
                        : "error: Parameter 'type' does not accept value 'vduse-blk'";
        assertTrue(output.contains(error), output);
        end(daemon);
    }

    @Test
    @Timeout(value = 120, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
    void sessionsOnALocalSocket() throws IOException, InterruptedException {
        Path socket = directory.resolve("sh");
        Path pid = directory.resolve("pid");
        Process daemon = start("--shell", "path=" + socket, "--pidfile", pid.toString());
        while (Files.notExists(pid)) {
            assertTrue(daemon.isAlive(), () -> "the daemon ended");
            TimeUnit.MILLISECONDS.sleep(20);
        }
        assertEquals(
                "rw-------", PosixFilePermissions.toString(Files.getPosixFilePermissions(socket)));
        try (SocketChannel first = connect(socket);
                SocketChannel second = connect(socket)) {
            assertEquals("2\n2\n", talk(second, "x = 2\necho $x\nexit\n"));
            assertEquals("error: Command not found: y\n", talk(first, "y\nexit\n"));
        }
        try (SocketChannel third = connect(socket)) {
            assertTrue(talk(third, "export:types\nexit\n").contains("nbd"));
        }
        daemon.destroy();
        end(daemon);
        assertTrue(Files.notExists(socket));
    }

    private static SocketChannel connect(Path socket) throws IOException {
        SocketChannel channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        channel.connect(UnixDomainSocketAddress.of(socket));
        return channel;
    }

    private static String talk(SocketChannel channel, String script) throws IOException {
        Channels.newOutputStream(channel).write(script.getBytes(StandardCharsets.UTF_8));
        return new String(Channels.newInputStream(channel).readAllBytes(), StandardCharsets.UTF_8);
    }
}

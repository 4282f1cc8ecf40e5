package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;

/** {@code block_resize} while clients of an NBD export are connected and write. */
class NbdResizeIT {
    @TempDir Path directory;

    @Test
    void clientsLiveThroughResizesAndNewOnesSeeTheNewSize() throws IOException {
        Path image = Image.random(directory.resolve("image"), 16 * MIB);
        Path socket = directory.resolve("s");
        Path monitor = directory.resolve("qmp");
        try (var _ =
                Daemon.start(
                        directory,
                        "--blockdev",
                        "file,node-name=disk,discard=unmap,filename=" + image,
                        "--chardev",
                        "socket,id=mon,server=on,wait=off,path=" + monitor,
                        "--monitor",
                        "mon",
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + socket,
                        "--export",
                        "nbd,id=e,node-name=disk,writable=on")) {
            Tools.nbdsh(
                    """
                    import json, socket
                    uri = "nbd+unix:///disk?socket=%s"
                    M = 1 << 20
                    monitor = socket.socket(socket.AF_UNIX)
                    monitor.connect("%s")
                    lines = monitor.makefile("rw")
                    lines.readline()
                    def qmp(command, **arguments):
                        lines.write(json.dumps({"execute": command, "arguments": arguments}))
                        lines.flush()
                        answer = json.loads(lines.readline())
                        assert "return" in answer, answer
                    qmp("qmp_capabilities")
                    def connect():
                        other = nbd.NBD()
                        other.set_strict_mode(0)
                        other.add_meta_context("base:allocation")
                        other.connect_uri(uri)
                        return other
                    def fails(numbers, call):
                        try:
                            call()
                        except nbd.Error as e:
                            assert e.errno in numbers, (e.errno, e.string)
                        else:
                            assert False, "succeeded"

                    old = connect()
                    assert old.get_size() == 16 * M
                    before = old.pread(M, 7 * M)
                    # Requests are in flight, on both sides of the end to come
                    pending = [old.aio_pread(nbd.Buffer(65536), i * 65536) for i in range(16)]
                    pending += [old.aio_pread(nbd.Buffer(65536), 15 * M + i * 65536) for i in range(16)]
                    qmp("block_resize", **{"node-name": "disk", "size": 8 * M})
                    while old.aio_in_flight() > 0:
                        old.poll(-1)

                    fails(["EINVAL"], lambda: old.pread(512, 8 * M))
                    fails(["EINVAL"], lambda: old.pread(1024, 8 * M - 512))
                    fails(["ENOSPC"], lambda: old.pwrite(b"x" * 512, 12 * M))
                    fails(["ENOSPC"], lambda: old.zero(M, 7 * M + 512))
                    fails(["EINVAL"], lambda: old.trim(M, 15 * M))
                    fails(["EINVAL"], lambda: old.block_status(M, 9 * M, lambda *a: 0))
                    assert old.pread(M, 7 * M) == before
                    old.pwrite(b"last" * 128, 8 * M - 512)

                    smaller = connect()
                    assert smaller.get_size() == 8 * M
                    assert smaller.pread(512, 8 * M - 512) == b"last" * 128

                    qmp("block_resize", **{"node-name": "disk", "size": 32 * M})
                    larger = connect()
                    assert larger.get_size() == 32 * M
                    assert larger.pread(M, 31 * M) == bytes(M)
                    larger.pwrite(b"tail" * 128, 32 * M - 512)
                    larger.flush()
                    # What was cut off has not come back; each client has the size that it was told
                    assert old.pread(M, 8 * M) == bytes(M)
                    fails(["EINVAL"], lambda: old.pread(512, 16 * M))
                    fails(["EINVAL"], lambda: smaller.pread(512, 8 * M))
                    fails(["ENOSPC"], lambda: smaller.pwrite(b"x" * 512, 8 * M))
                    for client in old, smaller, larger:
                        client.shutdown()
                    """
                            .formatted(socket, monitor));
        }
        assertEquals(32 * MIB, Files.size(image));
        byte[] tail = new byte[512];
        try (var file = new RandomAccessFile(image.toFile(), "r")) {
            file.seek(32 * MIB - 512);
            file.readFully(tail);
        }
        assertEquals("tail".repeat(128), new String(tail, StandardCharsets.US_ASCII));
    }
}

package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Peers that know more of the protocol than those of the distribution: libnbd 1.22 and QEMU 10,
 * unpacked by {@code integration-tests/newer-peers}. What they add is extended headers (proto.md,
 * "Extended headers").
 */
class NewerPeersIT {
    private static final long GIB = 1 << 30;
    private static final long TIB = 1L << 40;

    @TempDir Path directory;
    private Path socket;
    private Path image;

    @BeforeEach
    void image() throws IOException {
        socket = directory.resolve("s");
        image = Image.sparse(directory.resolve("image"), 5 * TIB);
        Image.fill(image, 0, 65536, 0x5a);
        Image.fill(image, 3 * TIB, (int) MIB, 0x5a);
    }

    private String uri() {
        return "nbd+unix:///disk?socket=" + socket;
    }

    private void script(String exportOptions, String script) throws IOException {
        try (var _ = Daemon.serving(directory, socket, image, exportOptions)) {
            Tools.run(
                            NewerPeers.program("nbdsh"),
                            "-n",
                            "-c",
                            """
                            import nbd, errno
                            h = nbd.NBD()
                            h.set_strict_mode(nbd.STRICT_AUTO_FLAG)
                            h.add_meta_context("base:allocation")
                            h.connect_uri("%s")
                            G, T = 1 << 30, 1 << 40
                            def extents(length, offset):
                                found = []
                                def add(context, start, entries, error):
                                    found.extend(entries)
                                h.block_status_64(length, offset, add)
                                return found
                            """
                                            .formatted(uri())
                                    + script
                                    + "\nh.shutdown()\n")
                    .ok();
        }
    }

    @Test
    void extendedHeadersAreNegotiated() throws IOException {
        try (var _ = Daemon.serving(directory, socket, image, "")) {
            String info = Tools.run(NewerPeers.program("nbdinfo"), uri()).ok();
            assertTrue(info.contains("using extended packets"), info);
            String list = Tools.run(NewerPeers.program("nbdinfo"), "--list", uri()).ok();
            assertTrue(list.contains("using extended packets"), list);
        }
    }

    /** An answer with 32-bit lengths needs more than a thousand requests. */
    @Test
    void terabytesAreMappedInOneRequest() throws IOException {
        script(
                "",
                """
                assert h.get_extended_headers_negotiated()
                found = extents(5 * T, 0)
                assert [length for length, flags in found] == \
                    [65536, 3 * T - 65536, 1 << 20, 2 * T - (1 << 20)], found
                assert [flags for length, flags in found] == [0, 3, 0, 3], found
                """);
        try (var _ = Daemon.serving(directory, socket, image, "")) {
            String map = Tools.run(NewerPeers.program("nbdinfo"), "--map", uri()).ok();
            assertEquals(4, map.lines().count(), map);
        }
    }

    /** Requests whose length has more than 32 bits; nothing but the middle is touched. */
    @Test
    void gigabytesAreZeroedAndTrimmedInOneRequest() throws IOException {
        script(
                ",writable=on",
                """
                h.zero(6 * G, 3 * T - 3 * G)
                assert h.pread(1 << 20, 3 * T) == bytes(1 << 20)
                h.pwrite(b"x" * 65536, 4 * T)
                h.trim(5 * G, 4 * T - 2 * G)
                assert h.pread(65536, 0) == b"\\x5a" * 65536
                h.flush()
                """);
        assertTrue(Files.size(image) == 5 * TIB);
    }

    @Test
    void requestsPastTheEndAreRefused() throws IOException {
        script(
                ",writable=on",
                """
                for call, number in (
                    (lambda: h.zero(6 * T, 0), "ENOSPC"),
                    (lambda: h.trim(1, 5 * T), "EINVAL"),
                    (lambda: h.zero((1 << 64) - 4096, 8192), "ENOSPC"),
                    (lambda: extents(1 << 62, 4 * T), "EINVAL"),
                    (lambda: h.pwrite(bytes(512), 5 * T), "ENOSPC"),
                ):
                    try:
                        call()
                    except nbd.Error as e:
                        assert e.errno == number, (e.errno, number, e.string)
                    else:
                        assert False, "succeeded"
                assert h.pread(65536, 0) == b"\\x5a" * 65536
                """);
    }

    /** proto.md, "NBD_CMD_FLAG_PAYLOAD_LEN" of NBD_CMD_BLOCK_STATUS. */
    @Test
    void blockStatusOfSomeContexts() throws IOException {
        script(
                "",
                """
                assert h.can_block_status_payload()
                contexts = []
                def add(context, start, entries, error):
                    contexts.append(context)
                h.block_status_filter(G, 0, ["base:allocation"], add)
                assert contexts == ["base:allocation"], contexts
                """);
    }

    @Test
    void copiesAreEqual() throws IOException {
        image = Image.sparse(directory.resolve("small"), 64 * MIB);
        Image.fill(image, 5 * MIB, (int) MIB, 0x11);
        Path source = Image.sparse(directory.resolve("source"), 64 * MIB);
        Image.fill(source, 0, (int) (3 * MIB), 0x22);
        Image.fill(source, 40 * MIB, (int) MIB, 0x33);
        Path copy = directory.resolve("copy");
        try (var _ = Daemon.serving(directory, socket, image, ",writable=on")) {
            Tools.run(NewerPeers.program("nbdcopy"), source.toString(), uri()).ok();
            Tools.run(NewerPeers.program("nbdcopy"), uri(), copy.toString()).ok();
            Tools.run(
                            NewerPeers.program("qemu-img"),
                            "compare",
                            "-f",
                            "raw",
                            "-F",
                            "raw",
                            uri(),
                            copy.toString())
                    .ok();
            // QEMU's client forgets the flag that says that a write has a payload
            Tools.run(
                            NewerPeers.program("qemu-io"),
                            "-f",
                            "raw",
                            "-c",
                            "write -P 0x33 40M 1M",
                            "-c",
                            "read -P 0x33 40M 1M",
                            uri())
                    .ok();
        }
        Tools.run("cmp", source.toString(), copy.toString()).ok();
        Tools.run("cmp", source.toString(), image.toString()).ok();
    }
}

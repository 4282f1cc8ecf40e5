package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * An image goes from one daemon to another and back, with {@code blockdev-set-active}, while the
 * clients of both stay connected; the other daemon is one of ours or QEMU 10's.
 */
class HandoverIT {
    private static final int ROUNDS = 6;

    /** Python: a monitor, and requests that succeed or do not. */
    private static final String HELPERS =
            """
            import json, socket, threading
            class Qmp:
                def __init__(self, path):
                    self.socket = socket.socket(socket.AF_UNIX)
                    self.socket.connect(path)
                    self.file = self.socket.makefile("rw")
                    self.file.readline()
                    self("qmp_capabilities")
                def call(self, command, arguments):
                    self.file.write(json.dumps({"execute": command, "arguments": arguments}) + "\\n")
                    self.file.flush()
                    while True:
                        answer = json.loads(self.file.readline())
                        if "event" not in answer:
                            return answer
                def __call__(self, command, **arguments):
                    answer = self.call(command, {k.replace("_", "-"): v for k, v in arguments.items()})
                    assert "return" in answer, answer
                    return answer["return"]
                def error(self, command, **arguments):
                    answer = self.call(command, {k.replace("_", "-"): v for k, v in arguments.items()})
                    return answer["error"]["desc"]
                def active(self):
                    return [n["active"] for n in self("query-named-block-nodes")]
            def connect(path):
                h = nbd.NBD()
                h.add_meta_context("base:allocation")
                h.connect_uri("nbd+unix:///disk?socket=" + path)
                return h
            def refused(call):
                try:
                    call()
                except nbd.Error as e:
                    assert e.errno == "EPERM", e
                else:
                    assert False, "not refused"
            K = 1 << 10
            M = 1 << 20
            """;

    @TempDir Path directory;

    private Path image;

    private Daemon start(String program, String name, String format, boolean active)
            throws IOException {
        return Daemon.launch(
                directory,
                List.of(
                        program,
                        "--chardev",
                        "socket,id=m,server=on,wait=off,path=" + directory.resolve(name + ".qmp"),
                        "--monitor",
                        "m",
                        "--blockdev",
                        "file,node-name=file,discard=unmap,filename="
                                + image
                                + (active ? "" : ",active=off"),
                        "--blockdev",
                        format
                                + ",node-name=disk,discard=unmap,file=file"
                                + (active ? "" : ",active=off"),
                        "--nbd-server",
                        "addr.type=unix,addr.path=" + directory.resolve(name),
                        "--export",
                        "nbd,id=e,node-name=disk,writable=on,allow-inactive=on"));
    }

    private String script(String text) {
        return Tools.nbdsh(HELPERS + text.replace("@DIR@", directory.toString()));
    }

    private void create(String format, String options) throws IOException {
        image = directory.resolve("image");
        Tools.run("qemu-img", "create", "-q", "-f", format, "-o", options, image.toString(), "16M")
                .ok();
    }

    private static String daemon(String which) throws IOException {
        return which.equals("ours") ? Daemon.PROGRAM : NewerPeers.program("qemu-storage-daemon");
    }

    /**
     * Python: whether a daemon is to be asked for an image that the other one has. Writers of raw
     * images share them. QEMU's leaves the file active and the image not, and after the next try
     * still goes by the length that the file had then.
     */
    private static String refusal(String which, String format) {
        return which.equals("ours") && format.equals("qcow2") ? "True" : "False";
    }

    @ParameterizedTest(name = "{0} to {1} and back, {2} {3}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    ours | ours | raw   | preallocation=off
                    ours | ours | qcow2 | cluster_size=64k
                    ours | qemu | raw   | preallocation=off
                    ours | qemu | qcow2 | cluster_size=4k,extended_l2=off
                    qemu | ours | qcow2 | lazy_refcounts=on
                    """)
    void aDiskGoesToAnotherDaemonAndBack(String first, String second, String format, String options)
            throws IOException {
        create(format, options);
        try (var _ = start(daemon(first), "a", format, true);
                var _ = start(daemon(second), "b", format, false)) {
            script(
                    """
                    def side(name):
                        return Qmp("@DIR@/" + name + ".qmp"), connect("@DIR@/" + name)
                    (here, h), (there, t) = side("a"), side("b")
                    h.pwrite(b"s" * M, 0)
                    stop = threading.Event()
                    faults = []
                    def kept(qmp, fails):
                        if fails:
                            assert qmp.error("blockdev-set-active", active=True).startswith(
                                'Failed to get "write" lock')
                            assert qmp.active() == [False, False]
                    def look(h):
                        while not stop.is_set():
                            if h.pread(64 * K, 128 * K) != b"s" * 64 * K:
                                faults.append("other bytes")
                                return
                    # A client of the first daemon reads all the time what nobody changes
                    reader = threading.Thread(target=look, args=(connect("@DIR@/a"),))
                    reader.start()
                    try:
                        for i in range(%d):
                            kept(there, %s)
                            h.pwrite(bytes([i]) * 256 * K, (i + 1) * M)
                            h.pwrite(b"h" * 700, (i + 1) * M + 300 * K + 100)
                            here("blockdev-set-active", node_name="disk", active=False)
                            assert here.active() == [False, False]
                            for change in (
                                lambda: h.pwrite(bytes(512), 0),
                                lambda: h.zero(512, 0),
                                lambda: h.trim(512, 0),
                                lambda: h.flush(),
                                lambda: h.cache(512, 0),
                            ):
                                refused(change)
                            assert h.pread(M, 0) == b"s" * M
                            there("blockdev-set-active", active=True)
                            assert there.active() == [True, True]
                            assert t.pread(256 * K, (i + 1) * M) == bytes([i]) * 256 * K
                            assert t.pread(700, (i + 1) * M + 300 * K + 100) == b"h" * 700
                            kept(here, %s)
                            t.pwrite(b"t" * 512 * K, (i + 1) * M + 512 * K)
                            t.trim(64 * K, (i + 1) * M + 128 * K)
                            t.zero(64 * K, (i + 1) * M)
                            there("blockdev-set-active", node_name="disk", active=False)
                            refused(lambda: t.pwrite(bytes(512), 0))
                            here("blockdev-set-active", node_name="disk", active=True)
                            assert h.pread(512 * K, (i + 1) * M + 512 * K) == b"t" * 512 * K
                            assert h.pread(64 * K, (i + 1) * M) == bytes(64 * K)
                            h.flush()
                    finally:
                        stop.set()
                        reader.join()
                    assert not faults, faults
                    """
                            .formatted(ROUNDS, refusal(second, format), refusal(first, format)));
        }
        assertTrue(
                format.equals("raw")
                        || Tools.run("qemu-img", "check", "-f", format, image.toString())
                                .ok()
                                .startsWith("No errors were found on the image."));
    }

    /** What the other daemon does to the size and to the bitmaps is seen afterwards. */
    @ParameterizedTest
    @CsvSource({"ours", "qemu"})
    void whatAnImageKeepsIsReadAgain(String other) throws IOException {
        create("qcow2", "cluster_size=64k");
        Tools.run("qemu-img", "bitmap", "--add", image.toString(), "old").ok();
        try (var _ = start(Daemon.PROGRAM, "a", "qcow2", true);
                var _ = start(daemon(other), "b", "qcow2", false)) {
            script(
                    """
                    here, there = Qmp("@DIR@/a.qmp"), Qmp("@DIR@/b.qmp")
                    def bitmaps(qmp):
                        for node in qmp("query-named-block-nodes"):
                            if node["node-name"] == "disk":
                                return {b["name"]: b["count"] for b in node.get("dirty-bitmaps", [])}
                    h = connect("@DIR@/a")
                    here("block-dirty-bitmap-add", node="disk", name="new", persistent=True)
                    h.pwrite(b"x" * M, 0)
                    assert bitmaps(here) == {"old": M, "new": M}, bitmaps(here)
                    assert bitmaps(there) is None or bitmaps(there) == {}, bitmaps(there)
                    here("blockdev-set-active", active=False)
                    assert bitmaps(here) == {}, bitmaps(here)
                    there("blockdev-set-active", active=True)
                    assert bitmaps(there) == {"old": M, "new": M}, bitmaps(there)
                    there("block-dirty-bitmap-remove", node="disk", name="old")
                    t = connect("@DIR@/b")
                    t.pwrite(b"y" * M, 4 * M)
                    t.shutdown()
                    there("block-export-del", id="e", mode="hard")
                    there("block_resize", node_name="disk", size=32 * M)
                    there("blockdev-set-active", active=False)
                    here("blockdev-set-active", active=True)
                    assert bitmaps(here) == {"new": 2 * M}, bitmaps(here)
                    assert h.pread(M, 4 * M) == b"y" * M
                    assert connect("@DIR@/a").get_size() == 32 * M
                    """);
        }
        assertTrue(Tools.run("qemu-img", "check", image.toString()).ok().startsWith("No errors"));
        String info = Tools.run("qemu-img", "info", image.toString()).ok();
        assertTrue(info.contains("virtual size: 32 MiB"), info);
        assertTrue(info.contains("name: new") && !info.contains("name: old"), info);
        assertTrue(!info.contains("in-use"), info);
    }

    @Test
    void aRawFileMayGrowMeanwhile() throws IOException {
        create("raw", "preallocation=off");
        try (var _ = start(Daemon.PROGRAM, "a", "raw", true)) {
            script(
                    """
                    here, h = Qmp("@DIR@/a.qmp"), connect("@DIR@/a")
                    here("blockdev-set-active", active=False)
                    with open("@DIR@/image", "r+b") as f:
                        f.seek(24 * M - 512)
                        f.write(b"e" * 512)
                    here("blockdev-set-active", active=True)
                    again = connect("@DIR@/a")
                    assert again.get_size() == 24 * M
                    assert again.pread(512, 24 * M - 512) == b"e" * 512
                    again.pwrite(b"w" * 512, 24 * M - 512)
                    """);
        }
        assertEquals(24 * MIB, Files.size(image));
    }

    /** Nobody writes an image that is left, at its end neither. */
    @ParameterizedTest
    @CsvSource({"TERM", "KILL"})
    void whoEndsWhileAnImageIsLeftDoesNotTouchIt(String signal) throws IOException {
        create("qcow2", "lazy_refcounts=on");
        Daemon first = start(Daemon.PROGRAM, "a", "qcow2", true);
        try {
            script(
                    """
                    here, h = Qmp("@DIR@/a.qmp"), connect("@DIR@/a")
                    here("block-dirty-bitmap-add", node="disk", name="b", persistent=True)
                    h.pwrite(b"x" * M, 0)
                    here("blockdev-set-active", active=False)
                    """);
            Path copy = Files.copy(image, directory.resolve("copy"));
            first.signal(signal);
            assertEquals(signal.equals("TERM") ? 0 : 137, first.awaitExit());
            assertEquals(-1, Files.mismatch(copy, image));
            String info = Tools.run("qemu-img", "info", image.toString()).ok();
            assertTrue(info.contains("name: b") && !info.contains("in-use"), info);
        } finally {
            first.process().destroyForcibly();
        }
    }
}

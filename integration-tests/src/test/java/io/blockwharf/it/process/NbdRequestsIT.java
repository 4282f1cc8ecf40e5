package io.blockwharf.it.process;

import static io.blockwharf.it.process.Image.MIB;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.nio.file.Path;

/**
 * NBD requests (proto.md, "Request types") sent by libnbd with its own checks switched off, so that
 * the server has to make them. The scripts are Python; an assertion that fails in one fails the
 * test with its line.
 */
class NbdRequestsIT {
    @TempDir Path directory;
    private Path socket;
    private Path image;

    @BeforeEach
    void image() throws IOException {
        socket = directory.resolve("s");
        image = Image.sparse(directory.resolve("image"), 16 * MIB);
    }

    /** Serves the image and runs a script that is connected to it. */
    private void session(String exportOptions, String script) throws IOException {
        script(exportOptions, "h.connect_uri(uri)\n" + script + "\nh.shutdown()\n");
    }

    /** Serves the image and runs a script that connects itself, to {@code uri}. */
    private void script(String exportOptions, String script) throws IOException {
        try (var _ = Daemon.serving(directory, socket, image, exportOptions)) {
            Tools.nbdsh(
                    """
                    import os
                    uri = "nbd+unix:///disk?socket=%s"
                    image = "%s"
                    K, M = 1 << 10, 1 << 20
                    h.set_strict_mode(0)
                    h.add_meta_context("base:allocation")
                    def extents(offset, length, flags=0):
                        found = []
                        def add(context, start, entries, error):
                            assert context == "base:allocation" and start == offset
                            found.extend(zip(entries[0::2], entries[1::2]))
                        h.block_status(length, offset, add, flags)
                        return found
                    def fails(number, call):
                        try:
                            call()
                        except nbd.Error as e:
                            assert e.errno == number, (e.errno, number, e.string)
                        else:
                            assert False, "succeeded"
                    """
                                    .formatted(socket, image)
                            + script);
        }
    }

    @Test
    void readsAreStructuredAndTellHoles() throws IOException {
        Image.fill(image, 65536, 65536, 0x5a);
        session(
                "",
                """
                assert h.get_structured_replies_negotiated()
                chunks = []
                def chunk(data, offset, status, error):
                    chunks.append((offset, len(data), status))
                data = h.pread_structured(256 * K, 0, chunk)
                assert data == bytes(64 * K) + b"\\x5a" * 64 * K + bytes(128 * K)
                chunks.sort()
                assert [c[2] for c in chunks] == [nbd.READ_HOLE, nbd.READ_DATA, nbd.READ_HOLE], chunks
                assert sum(c[1] for c in chunks if c[2] == nbd.READ_DATA) == 64 * K
                """);
    }

    /** proto.md, "NBD_CMD_FLAG_DF": one chunk, whatever the holes. */
    @Test
    void dontFragmentGivesOneChunk() throws IOException {
        Image.fill(image, 65536, 65536, 0x5a);
        session(
                "",
                """
                assert h.can_df()
                chunks = []
                def chunk(data, offset, status, error):
                    chunks.append((offset, len(data), status))
                data = h.pread_structured(256 * K, 0, chunk, nbd.CMD_FLAG_DF)
                assert data == bytes(64 * K) + b"\\x5a" * 64 * K + bytes(128 * K)
                assert chunks == [(0, 256 * K, nbd.READ_DATA)], chunks
                """);
    }

    @Test
    void aClientWithoutStructuredRepliesIsServed() throws IOException {
        Image.fill(image, 65536, 65536, 0x5a);
        script(
                ",writable=on",
                """
                h.set_request_structured_replies(False)
                h.connect_uri(uri)
                assert not h.get_structured_replies_negotiated()
                assert not h.can_df() and not h.can_meta_context("base:allocation")
                assert h.pread(192 * K, 0) == bytes(64 * K) + b"\\x5a" * 64 * K + bytes(64 * K)
                h.pwrite(b"abc", 1)
                assert h.pread(5, 0) == b"\\0abc\\0"
                fails("EINVAL", lambda: h.pread(512, 16 * M))
                h.shutdown()
                """);
    }

    @Test
    void blockStatusFollowsWritesZeroesAndTrims() throws IOException {
        session(
                ",writable=on",
                """
                HOLE = nbd.STATE_HOLE | nbd.STATE_ZERO
                assert h.can_meta_context("base:allocation")
                assert extents(0, 16 * M) == [(16 * M, HOLE)]
                h.pwrite(b"x" * M, 4 * M)
                assert extents(0, 16 * M) == [(4 * M, HOLE), (M, 0), (11 * M, HOLE)]
                assert extents(0, 16 * M, nbd.CMD_FLAG_REQ_ONE) == [(4 * M, HOLE)]
                first = extents(4 * M + 64 * K, 128 * K, nbd.CMD_FLAG_REQ_ONE)
                assert first == [(128 * K, 0)], first
                h.trim(512 * K, 4 * M)
                assert h.pread(512 * K, 4 * M) == bytes(512 * K)
                h.zero(256 * K, 4 * M + 512 * K)
                assert h.pread(M, 4 * M) == bytes(768 * K) + b"x" * 256 * K
                assert all(flags & nbd.STATE_ZERO for _, flags in extents(4 * M, 256 * K))
                before = os.stat(image).st_blocks
                h.zero(256 * K, 8 * M, nbd.CMD_FLAG_NO_HOLE)
                assert os.stat(image).st_blocks - before >= 256 * K // 512
                """);
    }

    @Test
    void everyWritingRequestTakesForceUnitAccess() throws IOException {
        session(
                ",writable=on",
                """
                assert h.can_fua() and h.can_flush() and h.can_trim() and h.can_zero()
                h.pwrite(b"y" * 64 * K, 64 * K, nbd.CMD_FLAG_FUA)
                h.zero(4 * K, 64 * K, nbd.CMD_FLAG_FUA)
                h.trim(4 * K, 68 * K, nbd.CMD_FLAG_FUA)
                h.flush()
                assert h.pread(64 * K, 64 * K) == bytes(8 * K) + b"y" * 56 * K
                """);
    }

    /** proto.md, "NBD_CMD_FLAG_FAST_ZERO": either fast, or ENOTSUP and nothing changed. */
    @Test
    void fastZeroIsFastOrRefused() throws IOException {
        session(
                ",writable=on",
                """
                assert h.can_fast_zero()
                h.pwrite(b"z" * 64 * K, 0)
                try:
                    h.zero(64 * K, 0, nbd.CMD_FLAG_FAST_ZERO)
                    assert h.pread(64 * K, 0) == bytes(64 * K)
                except nbd.Error as e:
                    assert e.errno in ("ENOTSUP", "EOPNOTSUPP"), e.errno
                    assert h.pread(64 * K, 0) == b"z" * 64 * K
                """);
    }

    @Test
    void cacheAnswersAndChangesNothing() throws IOException {
        Image.fill(image, 0, 65536, 0x77);
        session(
                "",
                """
                assert h.can_cache()
                h.cache(64 * K, 0)
                h.cache(16 * M, 0)
                assert h.pread(64 * K, 0) == b"\\x77" * 64 * K
                """);
    }

    @ParameterizedTest(name = "{0} bytes at {1}")
    @CsvSource({
        "1,0",
        "1,511",
        "3,4095",
        "513,1",
        "4095,4097",
        "65537,131071",
        "1,16777215",
        "33554432,0"
    })
    void ioNeedsNoAlignment(int length, int offset) throws IOException {
        session(
                ",writable=on",
                """
                length, offset = min(%d, 16 * M), %d
                pattern = bytes((i * 7 + 3) %% 251 for i in range(251)) * (length // 251 + 1)
                h.pwrite(pattern[:length], offset)
                assert h.pread(length, offset) == pattern[:length]
                if offset > 0:
                    assert h.pread(1, offset - 1) == b"\\0"
                if offset + length < 16 * M:
                    assert h.pread(1, offset + length) == b"\\0"
                """
                        .formatted(length, offset));
    }

    /**
     * proto.md, "Error values". The specification wants EPERM for a write to a read-only export and
     * ENOSPC for one past the end; QEMU answers EINVAL to everything, also to a read that is too
     * long, and there we differ from it on purpose.
     */
    @ParameterizedTest(name = "{0} on {1} export -> {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    h.pwrite(b"x" * 512, 0)                                | read-only | EPERM
                    h.trim(512, 0)                                         | read-only | EPERM
                    h.zero(512, 0)                                         | read-only | EPERM
                    h.pread(512, 16 * M)                                   | read-only | EINVAL
                    h.pread(512, 16 * M - 1)                               | read-only | EINVAL
                    h.pread(512, 1 << 62)                                  | read-only | EINVAL
                    h.pread(512, (1 << 63) - 1)                            | read-only | EINVAL
                    h.cache(512, 16 * M)                                   | read-only | EINVAL
                    h.block_status(512, 16 * M, lambda *a: 0)              | read-only | EINVAL
                    h.pwrite(b"x" * 512, 16 * M)                           | writable  | ENOSPC
                    h.pwrite(b"x" * 512, 16 * M - 1)                       | writable  | ENOSPC
                    h.pwrite(b"x" * 512, (1 << 63) - 1)                    | writable  | ENOSPC
                    h.zero(512, 16 * M)                                    | writable  | ENOSPC
                    h.zero(512, 16 * M - 511)                              | writable  | ENOSPC
                    h.trim(512, 16 * M)                                    | writable  | EINVAL
                    h.pwrite(b"x" * 512, 0, 0x80)                          | writable  | EINVAL
                    h.pread(512, 0, 0x80)                                  | writable  | EINVAL
                    h.pread(33 * M, 0)                                     | writable  | EOVERFLOW
                    """)
    void aRequestThatMayNotBeIsAnsweredAndTheConnectionGoesOn(
            String request, String mode, String error) throws IOException {
        session(
                mode.equals("writable") ? ",writable=on" : "",
                """
                fails("%s", lambda: %s)
                assert h.pread(512, 0) == bytes(512)
                """
                        .formatted(Daemon.REFERENCE ? "EINVAL" : error, request));
    }

    @Test
    void anExportThatIsNotThereIsRefused() throws IOException {
        script(
                "",
                """
                fails("ENOENT", lambda: h.connect_uri(uri.replace("/disk?", "/nope?")))
                """);
    }

    @Test
    void optionsCanBeAskedBeforeAnExportIsChosen() throws IOException {
        script(
                ",description=hello",
                """
                names = []
                h.set_opt_mode(True)
                h.connect_uri(uri)
                assert h.opt_list(lambda name, description: names.append((name, description))) == 1
                assert names == [("disk", "hello")], names
                contexts = []
                h.opt_list_meta_context(lambda name: contexts.append(name))
                assert contexts == ["base:allocation"], contexts
                fails("ENOENT", lambda: (h.set_export_name("nope"), h.opt_info()))
                h.set_export_name("disk")
                h.set_full_info(True)
                h.opt_info()
                assert h.get_size() == 16 * M
                assert h.get_canonical_export_name() == "disk"
                assert h.get_export_description() == "hello"
                h.opt_go()
                assert h.pread(512, 0) == bytes(512)
                h.shutdown()
                """);
    }

    @Test
    void anOptionNegotiationMayBeAborted() throws IOException {
        script(
                "",
                """
                h.set_opt_mode(True)
                h.connect_uri(uri)
                h.opt_abort()
                h = nbd.NBD()
                h.connect_uri(uri)
                assert h.get_size() == 16 * M
                h.shutdown()
                """);
    }

    /** More requests than QEMU's 16 may be in flight; each reply finds its request. */
    @ParameterizedTest(name = "{0} requests in flight")
    @ValueSource(ints = {16, 64, 512})
    void manyRequestsMayBeInFlight(int depth) throws IOException {
        session(
                ",writable=on",
                """
                depth = %d
                block = 4 * K
                def pattern(i):
                    return i.to_bytes(4, "big") * (block // 4)
                writes = [h.aio_pwrite(pattern(i), i * block) for i in range(depth)]
                while h.aio_in_flight() > 0:
                    h.poll(-1)
                for cookie in writes:
                    assert h.aio_command_completed(cookie)
                buffers = [nbd.Buffer(block) for _ in range(depth)]
                reads = [h.aio_pread(b, i * block) for i, b in enumerate(buffers)]
                while h.aio_in_flight() > 0:
                    h.poll(-1)
                for i, cookie in enumerate(reads):
                    assert h.aio_command_completed(cookie)
                    assert buffers[i].to_bytearray() == pattern(i), i
                """
                        .formatted(depth));
    }

    /** proto.md, "NBD_FLAG_CAN_MULTI_CONN": what one connection has flushed, all the others see. */
    @Test
    void connectionsSeeEachOthersWrites() throws IOException {
        session(
                ",writable=on",
                """
                assert h.can_multi_conn()
                others = []
                for i in range(8):
                    other = nbd.NBD()
                    other.connect_uri(uri)
                    others.append(other)
                for i, other in enumerate(others):
                    other.pwrite(bytes([i + 1]) * 4096, i * 4096)
                    other.flush()
                    for reader in others + [h]:
                        assert reader.pread(4096, i * 4096) == bytes([i + 1]) * 4096
                for other in others:
                    other.shutdown()
                """);
    }

    /** The block layer serves whole sectors: what is missing in the last one reads as zeroes. */
    @Test
    void aFileOfAnOddLengthIsServedInFullSectors() throws IOException {
        image = Image.random(directory.resolve("odd"), MIB + 3);
        session(
                "",
                """
                assert h.get_size() == M + 512, h.get_size()
                assert h.pread(512, M)[3:] == bytes(509)
                """);
        assertEquals(MIB + 3, java.nio.file.Files.size(image));
    }
}

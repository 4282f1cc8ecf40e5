package io.blockwharf.block;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.NodeSpec;
import io.blockwharf.api.block.OpenFlags;
import io.blockwharf.block.FileOptions.Aio;
import io.blockwharf.block.FileOptions.OnOffAuto;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/** What the tests of images have in common: options as core would hand them over, and buffers. */
final class Images {
    static final OpenFlags WRITABLE = new OpenFlags(false, false, false, true, false, false);
    static final OpenFlags READ_ONLY = new OpenFlags(true, false, false, true, false, false);
    static final OpenFlags DIRECT = new OpenFlags(false, false, true, true, false, false);

    private Images() {}

    static NodeSpec<FileOptions> spec(
            Path file, OpenFlags flags, Optional<Aio> aio, OnOffAuto locking) {
        FileOptions options =
                new FileOptions(
                        file.toString(),
                        Optional.of(locking),
                        aio,
                        Optional.empty(),
                        Optional.empty());
        return new NodeSpec<>("node0", options, flags, Map.of());
    }

    static FileImage file(Path file, OpenFlags flags) {
        return (FileImage)
                new FileDriver().open(spec(file, flags, Optional.empty(), OnOffAuto.AUTO));
    }

    static NodeSpec<RawOptions> raw(BlockNode child, Optional<Long> offset, Optional<Long> size) {
        RawOptions options =
                new RawOptions(
                        new io.blockwharf.api.block.BlockdevRef.Reference("child"), offset, size);
        return new NodeSpec<>("node0", options, WRITABLE, Map.of("file", child));
    }

    /** Bytes that differ from page to page. */
    static MemorySegment pattern(int bytes, int seed) {
        MemorySegment memory = Arena.ofAuto().allocate(bytes, 4096);
        for (int i = 0; i < bytes; i++) {
            memory.set(JAVA_BYTE, i, (byte) (i * 31 + i / 256 * 7 + seed));
        }
        return memory;
    }

    static MemorySegment zeroes(int bytes) {
        return Arena.ofAuto().allocate(bytes, 4096);
    }

    /** All of a segment in one piece. */
    static IoVector whole(MemorySegment memory) {
        return new IoVector(Arena.ofAuto(), 1).set(memory, 0, memory.byteSize());
    }

    /** All of a segment in pieces of at most that many bytes. */
    static IoVector pieces(MemorySegment memory, int bytes) {
        int count = (int) ((memory.byteSize() + bytes - 1) / bytes);
        IoVector vector = new IoVector(Arena.ofAuto(), count);
        for (int i = 0; i < count; i++) {
            long at = (long) i * bytes;
            vector.add(memory, at, Math.min(bytes, memory.byteSize() - at));
        }
        return vector;
    }

    /** What a program printed, and its exit status. */
    record Outcome(int status, String output) {}

    static Outcome run(String... command) throws IOException {
        Process process = new ProcessBuilder(command).redirectErrorStream(true).start();
        String output = new String(process.getInputStream().readAllBytes(), StandardCharsets.UTF_8);
        return new Outcome(process.onExit().join().exitValue(), output.strip());
    }
}

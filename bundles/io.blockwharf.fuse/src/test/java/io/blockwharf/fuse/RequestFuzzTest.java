package io.blockwharf.fuse;

import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.fuse.wire.Opcode;
import io.blockwharf.fuse.wire.Request;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Whatever the kernel might send: no exception, no answer larger than the buffer, nothing outside
 * the file. Seeds are well-formed requests of every kind.
 */
final class RequestFuzzTest {
    private static final int MAX_TRANSFER = 1 << 16;
    private static final int FILE_BYTES = 1 << 16;
    private static final long DATA_AT = 4096;
    private static final long REQUEST_AT = DATA_AT - Request.WRITE_HEADER_BYTES;

    @FuzzTest(maxExecutions = 2_000, maxDuration = "60s")
    void anyBytesAreAnswered(byte[] input) throws IOException {
        if (input.length > Request.WRITE_HEADER_BYTES + MAX_TRANSFER) {
            return; // The buffer would not have taken it.
        }
        Path image = Files.createTempFile("fuzz", ".raw");
        Files.write(image, new byte[FILE_BYTES]);
        try (FileNode node = new FileNode(image);
                Arena arena = Arena.ofConfined()) {
            node.maxSize = 4 * FILE_BYTES;
            BlockQueue queue = node.openQueue(1);
            FuseFile file =
                    new FuseFile(
                            node,
                            true,
                            true,
                            true,
                            0,
                            0,
                            MAX_TRANSFER,
                            new Passthrough(node, true, true, null, "not here"));
            MemorySegment memory = arena.allocate(DATA_AT + MAX_TRANSFER, 8);
            MemorySegment.copy(MemorySegment.ofArray(input), 0, memory, REQUEST_AT, input.length);
            Slot slot = new Slot(0, memory, DATA_AT, () -> queue, arena);
            if (slot.request.onDevice(memory, REQUEST_AT, input.length)) {
                slot.accept();
                int answer = file.begin(slot);
                if (answer == FuseFile.LATER) {
                    answer = file.end(slot, Errno.OK);
                }
                if (answer == FuseFile.NONE) {
                    assertTrue(!slot.opcode.answered());
                } else {
                    assertTrue(answer > -512 && answer <= MAX_TRANSFER, "answer " + answer);
                }
                assertTrue(node.length() <= node.maxSize);
                assertTrue(slot.opcode != Opcode.INVALID || answer == -Errno.EIO.number());
            }
            queue.close();
        } finally {
            Files.delete(image);
        }
    }
}

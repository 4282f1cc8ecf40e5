package io.blockwharf.virtio.blk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.virtio.queue.FakeVirtqueue;
import io.blockwharf.virtio.queue.InFlightLog;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;
import io.blockwharf.virtio.queue.VirtqueueException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/**
 * A driver that does whatever it likes with its ring: the device stays within the memory that it
 * was given, breaks the queue at most, and comes to an end. The first byte of an input chooses the
 * kind of ring; then come steps: descriptors whose addresses lie near places that matter, indices,
 * headers, other bytes, and calls of the device, its death and its next life.
 */
class RingFuzzTest {
    private static final int SIZE = 16;
    private static final int DISK = 1 << 16;
    private static final byte UNTOUCHED = 0x5c;

    /** Where descriptors may point to. */
    private static final long[] PLACES = {
        FakeVirtqueue.BUFFERS,
        FakeVirtqueue.BUFFERS + 0x1000,
        FakeVirtqueue.BUFFERS + 0x2000,
        FakeVirtqueue.BUFFERS + 0x3000,
        SharedMemory.BASE,
        SharedMemory.SECOND - 16,
        SharedMemory.SECOND + SharedMemory.BYTES - 16,
        SharedMemory.READ_ONLY,
        SharedMemory.READ_ONLY + 4080,
        0,
        -16,
        Long.MAX_VALUE
    };

    private static final long[] LENGTHS = {0, 1, 16, 17, 32, 512, 513, 4096, 8192, 1 << 20, -1};

    /** The bytes of an input, and zeroes behind its end. */
    private static final class Steps {
        private final byte[] bytes;
        private int at;

        Steps(byte[] bytes) {
            this.bytes = bytes;
        }

        boolean more() {
            return at < bytes.length;
        }

        int u8() {
            return more() ? bytes[at++] & 0xff : 0;
        }

        int u16() {
            return u8() | u8() << 8;
        }

        long oneOf(long[] values) {
            return values[u8() % values.length];
        }
    }

    /** A ring, its device, and what the driver does to them. */
    private static final class Machine implements AutoCloseable {
        private static final ValueLayout.OfShort U16 = ValueLayout.JAVA_SHORT_UNALIGNED;
        private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED;
        private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED;

        private final Arena arena = Arena.ofShared();
        private final SharedMemory memory = new SharedMemory(arena);
        private final MemorySegment bytes = memory.bytes();
        private final MemoryNode node = new MemoryNode(DISK);
        private final MemorySegment logBytes = arena.allocate(InFlightLog.byteSize(SIZE), 64);
        private final VirtioBlk device;
        private final boolean packed;
        private final boolean logged;
        private final long features;
        private Optional<BlkQueueServer> server = Optional.empty();

        Machine(int mode) {
            packed = (mode & 1) != 0;
            logged = (mode & 2) != 0;
            features =
                    Virtqueue.F_VERSION_1
                            | ((mode & 4) != 0 ? Virtqueue.F_EVENT_IDX : 0)
                            | ((mode & 8) != 0 ? 0 : Virtqueue.F_INDIRECT_DESC)
                            | ((mode & 64) != 0 ? Virtqueue.F_IN_ORDER : 0)
                            | (packed ? Virtqueue.F_RING_PACKED : 0);
            node.batchesReads = (mode & 16) != 0;
            device = new VirtioBlk(node, (mode & 32) == 0, 512, 1, "fuzz");
            memory.readOnly().fill(UNTOUCHED);
        }

        void step(Steps in) {
            switch (in.u8() % 12) {
                case 0, 1, 2 -> descriptor(16L * (in.u8() % SIZE), in);
                case 3 -> descriptor(FakeVirtqueue.BUFFERS - SharedMemory.BASE + 16L * in.u8(), in);
                case 4 -> header(in);
                case 5 -> bytes.set(U16, 2L * (in.u16() % 0x1900), (short) in.u16());
                case 6 -> available(in);
                case 7 -> logBytes.set(ValueLayout.JAVA_BYTE, in.u16() % 512, (byte) in.u8());
                case 8 -> {
                    int how = in.u8();
                    node.cold = (how & 1) != 0;
                    node.held = (how & 2) != 0;
                }
                case 9 -> {
                    if (node.heldBack() > 0) {
                        node.release(in.u8() % node.heldBack());
                    }
                }
                case 10 -> die();
                default -> serve();
            }
        }

        private void descriptor(long at, Steps in) {
            bytes.set(U64, at, in.oneOf(PLACES) + in.u8());
            bytes.set(U32, at + 8, (int) in.oneOf(LENGTHS));
            bytes.set(U16, at + 12, (short) (in.u8() % 32));
            bytes.set(U16, at + 14, (short) in.u8());
            if (packed) { // flags are the last word, and their upper bits matter
                bytes.set(U16, at + 14, (short) (in.u8() & 7 | (in.u8() & 0x81) << 7));
            }
        }

        /** A request at one of the places, with a sector that may be right. */
        private void header(Steps in) {
            long at = FakeVirtqueue.BUFFERS - SharedMemory.BASE + 0x1000L * (in.u8() % 4);
            bytes.set(U32, at, in.u8() % 16);
            bytes.set(U64, at + 8, in.u8() < 250 ? in.u8() : -1L);
        }

        private void available(Steps in) {
            var split = new FakeVirtqueue.Split(bytes, SIZE, features);
            int count = in.u8() % (SIZE + 4);
            int index = bytes.get(U16, split.avail + 2);
            for (int i = 0; i < count; i++) {
                bytes.set(
                        U16,
                        split.avail + 4 + 2L * ((index + i) % SIZE & 15),
                        (short) (in.u8() % 18));
            }
            bytes.set(U16, split.avail + 2, (short) (index + count));
        }

        private void serve() {
            try {
                if (server.isEmpty()) {
                    Virtqueue queue =
                            packed
                                    ? new FakeVirtqueue.Packed(bytes, SIZE, features)
                                            .device(memory, features, 0x8000_8000)
                                    : new FakeVirtqueue.Split(bytes, SIZE, features)
                                            .device(memory, features, 0);
                    if (logged) {
                        queue.log(logBytes);
                    }
                    server = Optional.of(new BlkQueueServer(device, queue, () -> {}));
                }
                server.get().poll();
                server.get().arm();
                assertTrue(server.get().inFlight() <= SIZE, "no more than the ring has");
            } catch (VirtqueueException e) {
                die();
            }
        }

        private void die() {
            while (node.heldBack() > 0) {
                node.release(0);
            }
            server.ifPresent(BlkQueueServer::close);
            server = Optional.empty();
        }

        @Override
        public void close() {
            node.held = false;
            die();
            assertEquals(-1, memory.readOnly().mismatch(untouched()));
            arena.close();
        }

        private MemorySegment untouched() {
            return arena.allocate(memory.readOnly().byteSize()).fill(UNTOUCHED);
        }
    }

    @FuzzTest(maxExecutions = 10_000, maxDuration = "60s")
    void noDriverDoesHarm(byte[] input) {
        var in = new Steps(input);
        try (var machine = new Machine(in.u8())) {
            for (int i = 0; i < 200 && in.more(); i++) {
                machine.step(in);
            }
            machine.serve();
        }
    }
}

package io.blockwharf.vhostuser;

import static io.blockwharf.vhostuser.FakeFrontEnd.USER;
import static io.blockwharf.vhostuser.FakeFrontEnd.address;
import static io.blockwharf.vhostuser.FakeFrontEnd.state;
import static io.blockwharf.vhostuser.FakeFrontEnd.u64;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.testing.Allocation;
import io.blockwharf.testing.RecordingLog;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.vhostuser.wire.ProtocolFeatures;
import io.blockwharf.virtio.blk.MemoryNode;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;

import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.lang.invoke.VarHandle;
import java.util.List;
import java.util.concurrent.CompletableFuture;

/** From the kick to the doorbell nothing is left for the garbage collector. */
@Timeout(300)
class ServingAllocationTest {
    private static final int SIZE = 16;
    private static final long FEATURES =
            Virtqueue.F_VERSION_1 | Virtqueue.F_EVENT_IDX | ProtocolFeatures.F_PROTOCOL_FEATURES;
    private static final ValueLayout.OfShort U16 = ValueLayout.JAVA_SHORT_UNALIGNED;
    private static final ValueLayout.OfInt U32 = ValueLayout.JAVA_INT_UNALIGNED;
    private static final ValueLayout.OfLong U64 = ValueLayout.JAVA_LONG_UNALIGNED;

    /** Offsets in the shared memory of a ring's parts, and how far rings are apart. */
    private static final int AVAIL = 0x1000;

    private static final int USED = 0x2000;
    private static final int HEADER = 0x3000;
    private static final int STATUS = 0x3800;
    private static final int DATA = 0x4000;
    private static final int RING = 0x10000;

    private FakeFrontEnd front;

    /** A ring whose every entry is the same read of 4 KiB. */
    private final class Ring {
        private final MemorySegment bytes;
        private final EventFd kick = EventFd.open();
        private short index;

        Ring(int number, EventFd call) throws LinuxException {
            long at = (long) RING * number;
            bytes = front.memory.segment().asSlice(at, RING);
            descriptor(0, SharedMemory.BASE + at + HEADER, 16, 1);
            descriptor(1, SharedMemory.BASE + at + DATA, 4096, 3);
            descriptor(2, SharedMemory.BASE + at + STATUS, 1, 2);
            front.good(8, state(number, SIZE));
            front.good(10, state(number, 0));
            front.good(9, address(number, USER + at, USER + at + USED, USER + at + AVAIL));
            front.good(13, u64(number), call.fd());
            front.good(12, u64(number), kick.fd());
            front.good(18, state(number, 1));
        }

        private void descriptor(int i, long address, int length, int flags) {
            bytes.set(U64, 16L * i, address);
            bytes.set(U32, 16L * i + 8, length);
            bytes.set(U16, 16L * i + 12, (short) flags);
            bytes.set(U16, 16L * i + 14, (short) (i + 1));
        }

        /** Makes one request available and asks to be told when it is done. */
        void add() throws LinuxException {
            bytes.set(U16, AVAIL + 4 + 2L * SIZE, index); // used_event
            VarHandle.releaseFence();
            bytes.set(U16, AVAIL + 2, ++index);
            VarHandle.fullFence();
            kick.signal();
        }

        boolean done() {
            VarHandle.acquireFence();
            return bytes.get(U16, USED + 2) == index;
        }
    }

    @ParameterizedTest(name = "{0} queues, polls for {1} ns")
    @CsvSource({"1, 0", "4, 0", "4, 32000"})
    void nothingIsAllocatedBetweenKickAndDoorbell(int queues, long pollNanos) throws Exception {
        var silent = new RecordingLog().logger;
        var node = new MemoryNode(1 << 20);
        FdSocket[] pair = FdSocket.pair();
        try (var loop = new TestIoThread("test");
                var call = EventFd.open()) {
            loop.loop().polling(pollNanos, 0, 0);
            front = new FakeFrontEnd(pair[0]);
            var session =
                    new VhostUserSession(
                            new VirtioBlk(node, true, 512, queues, "serial"),
                            pair[1],
                            queues,
                            new QueueThreads(List.of(loop)),
                            silent,
                            new Complaints(silent, System::nanoTime));
            Thread control = Thread.ofPlatform().start(session::run);
            try {
                front.send(3, 0, new byte[0]);
                front.ask(1);
                front.send(16, 0, u64(front.ask(15) & ~ProtocolFeatures.INFLIGHT_SHMFD));
                front.good(2, u64(FEATURES));
                front.shareMemory();
                Ring[] rings = new Ring[queues];
                for (int i = 0; i < queues; i++) {
                    rings[i] = new Ring(i, call);
                }
                var serving = new CompletableFuture<Thread>();
                loop.execute(() -> serving.complete(Thread.currentThread()));
                Allocation.assertNone(
                        "a request on each ring", serving.join(), () -> serve(rings, call));
                for (Ring ring : rings) {
                    assertEquals(0, ring.bytes.get(ValueLayout.JAVA_BYTE, STATUS));
                    ring.kick.close();
                }
            } finally {
                front.close();
                control.join();
            }
        }
    }

    private static void serve(Ring[] rings, EventFd call) throws LinuxException {
        for (Ring ring : rings) {
            ring.add();
        }
        for (Ring ring : rings) {
            while (!ring.done()) {
                call.await();
            }
        }
    }
}

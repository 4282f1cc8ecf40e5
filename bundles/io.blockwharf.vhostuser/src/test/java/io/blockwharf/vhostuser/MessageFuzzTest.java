package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;

import com.code_intelligence.jazzer.junit.FuzzTest;

import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MemFd;
import io.blockwharf.testing.TestIoThread;
import io.blockwharf.virtio.blk.MemoryNode;
import io.blockwharf.virtio.blk.QueueThreads;
import io.blockwharf.virtio.blk.VirtioBlk;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;

import org.osgi.service.log.Logger;

import java.lang.reflect.Proxy;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Whatever messages a front end sends, with whatever descriptors: the session ends with them, all
 * that it held is closed, and nothing went wrong inside. An input is a list of messages: what it
 * begins with, then payloads made of numbers that matter to their kind, or of the input's own
 * bytes.
 */
class MessageFuzzTest {
    private static final int QUEUES = 2;
    private static final int MOST_MESSAGES = 40;
    private static final int MEMORY = 1 << 20;

    /** A ring's parts as user addresses, memory regions, sizes, features, and what is none. */
    private static final long[] NUMBERS = {
        0,
        1,
        2,
        16,
        256,
        4096,
        MEMORY,
        -1,
        Long.MIN_VALUE,
        FakeFrontEnd.USER,
        FakeFrontEnd.USER + 0x1000,
        FakeFrontEnd.USER + 0x2000,
        FakeFrontEnd.USER + MEMORY,
        SharedMemory.BASE,
        SharedMemory.BASE + MEMORY,
        1L << 32,
        0x10002_00000000L,
        Virtqueue.F_VERSION_1 | 1L << 30,
        Virtqueue.F_VERSION_1 | Virtqueue.F_RING_PACKED | 1L << 30,
        Virtqueue.F_VERSION_1 | 1L << 30 | 1L << 26,
        0xffff
    };

    private static final List<String> ERRORS = new ArrayList<>();

    /** Remembers what is said to be our own fault. */
    private static final Logger LOG =
            (Logger)
                    Proxy.newProxyInstance(
                            Logger.class.getClassLoader(),
                            new Class<?>[] {Logger.class},
                            (_, method, arguments) -> {
                                if (method.getName().equals("error")) {
                                    synchronized (ERRORS) {
                                        ERRORS.add(Arrays.deepToString(arguments));
                                    }
                                }
                                return null;
                            });

    private static final QueueThreads THREADS = new QueueThreads(List.of(new TestIoThread("fuzz")));

    @FuzzTest(maxExecutions = 3_000, maxDuration = "60s")
    void noFrontEndDoesHarm(byte[] input) throws LinuxException {
        var device = new VirtioBlk(new MemoryNode(1 << 16), true, 512, QUEUES, "fuzz");
        FdSocket[] pair = FdSocket.pair();
        var session =
                new VhostUserSession(
                        device,
                        pair[1],
                        QUEUES,
                        THREADS,
                        LOG,
                        new Complaints(LOG, System::nanoTime));
        try (var front = new FakeFrontEnd(pair[0]);
                var event = EventFd.open();
                var small = MemFd.create("small", 4096)) {
            int[] descriptors = {front.file.fd(), event.fd(), small.fd()};
            var in = ByteBuffer.wrap(input).order(ByteOrder.LITTLE_ENDIAN);
            for (int i = 0; i < MOST_MESSAGES && in.remaining() >= 4; i++) {
                send(front, in, descriptors);
            }
            front.socket.shutdownOutput();
            session.run();
        }
        synchronized (ERRORS) {
            assertEquals(List.of(), ERRORS);
        }
    }

    /** Four bytes tell number, flags, descriptors, and how the payload is made. */
    private static void send(FakeFrontEnd front, ByteBuffer in, int[] descriptors)
            throws LinuxException {
        int number = (in.get() & 0xff) % 44;
        int flags = (in.get() & 1) != 0 ? FakeFrontEnd.NEED_REPLY : 0;
        int kinds = in.get();
        int shape = in.get() & 0xff;
        var fds = new int[kinds & 3];
        for (int i = 0; i < fds.length; i++) {
            fds[i] = descriptors[((kinds >> 2 + 2 * i) & 3) % descriptors.length];
        }
        if (shape >= 128) { // bytes as they come
            var payload = new byte[Math.min(in.remaining(), shape - 128)];
            in.get(payload);
            front.send(number, flags, payload, fds);
            return;
        }
        var payload = FakeFrontEnd.payload(size(number, fds.length));
        while (payload.remaining() >= 4) {
            // Even choices are 64 bits, odd ones 32.
            int choice = in.hasRemaining() ? in.get() & 0xff : 0;
            long value = NUMBERS[(choice >> 1) % NUMBERS.length];
            if ((choice & 1) == 0 && payload.remaining() >= 8) {
                payload.putLong(value);
            } else {
                payload.putInt((int) value);
            }
        }
        front.send(number, flags, payload.array(), fds);
    }

    /** What a message of this number should have. */
    private static int size(int number, int regions) {
        return switch (number) {
            case 2, 8, 10, 11, 12, 13, 14, 16, 18, 39 -> 8;
            case 5 -> 8 + 32 * regions;
            case 6 -> 16;
            case 9, 37, 38 -> 40;
            case 24, 25 -> 12 + 4 * regions;
            case 31, 32 -> 24;
            default -> 0;
        };
    }
}

package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.management.ManagementFactory;
import java.nio.file.Path;

/** The calls that are made once per request leave nothing for the garbage collector. */
@Timeout(120)
class AllocationTest {
    private static final com.sun.management.ThreadMXBean THREADS =
            (com.sun.management.ThreadMXBean) ManagementFactory.getThreadMXBean();

    /** Rounds until compiled code runs, at most; and rounds that are then measured. */
    private static final int ROUNDS = 20_000;

    private static final int ATTEMPTS = 40;

    /** What the measuring itself, or a compilation in between, may take; not a byte per call. */
    private static final long NOISE = ROUNDS / 20;

    private interface Call {
        void run() throws IOException;
    }

    @TempDir Path directory;

    /** Tries until compiled code runs: interpreted foreign calls do allocate. */
    private static void assertAllocatesNothing(String name, Call call) throws IOException {
        long least = Long.MAX_VALUE;
        for (int attempt = 0; attempt < ATTEMPTS && least > NOISE; attempt++) {
            long before = THREADS.getCurrentThreadAllocatedBytes();
            for (int i = 0; i < ROUNDS; i++) {
                call.run();
            }
            least = Math.min(least, THREADS.getCurrentThreadAllocatedBytes() - before);
        }
        assertTrue(least <= NOISE, name + ": " + least / (double) ROUNDS + " bytes a call");
    }

    @Test
    void files() throws IOException {
        try (Arena arena = Arena.ofShared();
                HostFile file =
                        HostFile.open(
                                directory.resolve("f").toString(),
                                HostFile.Flag.WRITE,
                                HostFile.Flag.CREATE)) {
            MemorySegment memory = arena.allocate(64);
            file.truncate(64);
            MemorySegment iovecs = arena.allocate(16, 8);
            iovecs.set(java.lang.foreign.ValueLayout.JAVA_LONG, 0, memory.address());
            iovecs.set(java.lang.foreign.ValueLayout.JAVA_LONG, 8, 64);
            assertAllocatesNothing("write", () -> file.write(0, memory, 0, 64));
            assertAllocatesNothing("read", () -> file.read(0, memory, 0, 64));
            assertAllocatesNothing("tryRead", () -> file.tryRead(0, memory, 0, 64));
            assertAllocatesNothing("readv", () -> file.read(0, iovecs, 1));
            assertAllocatesNothing("writev", () -> file.write(0, iovecs, 1, false));
        }
    }

    @Test
    void sockets() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (Arena arena = Arena.ofShared();
                FdSocket a = pair[0];
                FdSocket b = pair[1];
                HostFile zero =
                        HostFile.open(
                                directory.resolve("f").toString(),
                                HostFile.Flag.WRITE,
                                HostFile.Flag.CREATE)) {
            MemorySegment memory = arena.allocate(64);
            zero.write(0, memory, 0, 64);
            IoVec list = new IoVec(2);
            assertAllocatesNothing(
                    "would block", () -> a.receive(memory, 0, 8, FdSocket.DONT_WAIT));
            assertAllocatesNothing(
                    "send, receive",
                    () -> {
                        a.sendAll(memory, 0, 8, 0);
                        b.receive(memory, 0, 8, 0);
                    });
            assertAllocatesNothing(
                    "sendmsg",
                    () -> {
                        list.add(memory, 0, 8);
                        list.add(memory, 16, 8);
                        a.sendAll(list, 0);
                        b.receive(memory, 0, 16, 0);
                    });
            assertAllocatesNothing(
                    "sendfile",
                    () -> {
                        a.sendFile(zero.fd(), 0, 16);
                        b.receive(memory, 0, 16, 0);
                    });
        }
    }

    @Test
    void waiting() throws IOException {
        try (EventFd event = EventFd.open();
                Epoll epoll = new Epoll(4)) {
            epoll.add(event.fd(), Epoll.IN, 1);
            Poll poll = new Poll(1);
            poll.set(0, event.fd(), Poll.IN);
            assertAllocatesNothing(
                    "eventfd, poll, epoll",
                    () -> {
                        event.signal();
                        poll.await(-1);
                        epoll.await(-1);
                        event.clear();
                    });
        }
    }

    @Test
    void rings() throws IOException {
        try (Arena arena = Arena.ofShared();
                IoUring ring = IoUring.open(8);
                HostFile file =
                        HostFile.open(
                                directory.resolve("f").toString(),
                                HostFile.Flag.WRITE,
                                HostFile.Flag.CREATE)) {
            MemorySegment memory = arena.allocate(64);
            int fd = file.fd();
            assertAllocatesNothing(
                    "io_uring",
                    () -> {
                        ring.write(fd, memory, 0, 64, 0, false, 1, 0);
                        ring.submitAndWait(1);
                        ring.next();
                        ring.read(fd, memory, 0, 64, 0, 2, 0);
                        ring.submitAndWait(1);
                        ring.next();
                    });
        }
    }
}

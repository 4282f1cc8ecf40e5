package io.blockwharf.linux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;

/** io_uring(7) of the running kernel, which must have it. */
@Timeout(120)
class IoUringTest {
    private static final int SIZE = 1 << 20;

    private final Arena arena = Arena.ofAuto();
    private HostFile file;

    @TempDir Path directory;

    @BeforeEach
    void openFile() throws IOException {
        assertTrue(IoUring.available());
        String path = directory.resolve("f").toString();
        file = HostFile.open(path, HostFile.Flag.WRITE, HostFile.Flag.CREATE);
        file.truncate(SIZE);
    }

    @AfterEach
    void closeFile() {
        file.close();
    }

    private static Map<Long, Integer> collect(IoUring ring, int count) throws LinuxException {
        Map<Long, Integer> results = new HashMap<>();
        while (results.size() < count) {
            ring.submitAndWait(1);
            while (ring.next()) {
                results.put(ring.cookie(), ring.result());
            }
        }
        return results;
    }

    @Test
    void aBatchIsReadAndWritten() throws IOException {
        try (IoUring ring = IoUring.open(16)) {
            MemorySegment data = arena.allocate(SIZE);
            for (int i = 0; i < 16; i++) {
                data.asSlice(i * 4096L, 4096).fill((byte) (i + 1));
                ring.write(file.fd(), data, i * 4096L, 4096, i * 4096L, i % 2 == 0, i, 0);
            }
            assertEquals(16, ring.inFlight());
            Map<Long, Integer> written = collect(ring, 16);
            for (long i = 0; i < 16; i++) {
                assertEquals(4096, written.get(i));
            }
            assertEquals(0, ring.inFlight());
            MemorySegment back = arena.allocate(65_536);
            for (int i = 0; i < 16; i++) {
                ring.read(file.fd(), back, i * 4096L, 4096, i * 4096L, -i, 0);
            }
            collect(ring, 16);
            assertEquals(-1, data.asSlice(0, 65_536).mismatch(back));
        }
    }

    @Test
    void manyRoundsGoAroundTheRing() throws IOException {
        try (IoUring ring = IoUring.open(4)) {
            for (long i = 0; i < 1000; i++) {
                ring.nop(i, 0);
                ring.nop(~i, 0);
                assertEquals(2, collect(ring, 2).size());
            }
        }
    }

    @Test
    void registeredFilesAndBuffersAreUsed() throws IOException {
        try (IoUring ring = IoUring.open(4)) {
            MemorySegment pinned = arena.allocate(65_536, 4096);
            MemorySegment loose = arena.allocate(4096);
            ring.registerFiles(file.fd());
            ring.registerBuffers(arena.allocate(4096), pinned);
            pinned.asSlice(61_440).fill((byte) 7);
            int registered = IoUring.registered(0);
            ring.write(registered, pinned, 61_440, 4096, 8192, false, 1, IoUring.LINK);
            ring.read(registered, pinned, 0, 4096, 8192, 2, IoUring.LINK);
            ring.read(registered, loose, 0, 4096, 8192, 3, 0);
            assertEquals(Map.of(1L, 4096, 2L, 4096, 3L, 4096), collect(ring, 3));
            assertEquals(-1, pinned.asSlice(61_440).mismatch(pinned.asSlice(0, 4096)));
            assertEquals(-1, pinned.asSlice(61_440).mismatch(loose));
        }
    }

    @Test
    void listsOfRangesAreReadAndWritten() throws IOException {
        try (IoUring ring = IoUring.open(4)) {
            MemorySegment data = arena.allocate(100).fill((byte) 5);
            MemorySegment iovecs = arena.allocate(32, 8);
            iovecs.set(JAVA_LONG, 0, data.address());
            iovecs.set(JAVA_LONG, 8, 40);
            iovecs.set(JAVA_LONG, 16, data.address() + 40);
            iovecs.set(JAVA_LONG, 24, 60);
            ring.write(file.fd(), iovecs, 2, 10, true, 1, 0);
            assertEquals(Map.of(1L, 100), collect(ring, 1));
            MemorySegment back = arena.allocate(100);
            file.read(10, back, 0, 100);
            assertEquals(-1, data.mismatch(back));
            data.fill((byte) 0);
            ring.read(file.fd(), iovecs, 2, 10, 2, 0);
            assertEquals(Map.of(2L, 100), collect(ring, 1));
            assertEquals(-1, data.mismatch(back));
        }
    }

    @Test
    void filesAreSyncedAndZeroed() throws IOException {
        try (IoUring ring = IoUring.open(4)) {
            MemorySegment data = arena.allocate(16_384).fill((byte) 5);
            file.write(0, data, 0, 16_384);
            ring.syncData(file.fd(), 1, IoUring.LINK);
            ring.punchHole(file.fd(), 0, 4096, 2, IoUring.LINK);
            ring.zeroRange(file.fd(), 4096, 4096, 3, 0);
            assertEquals(Map.of(1L, 0, 2L, 0, 3L, 0), collect(ring, 3));
            data.asSlice(0, 8192).fill((byte) 0);
            MemorySegment back = arena.allocate(16_384);
            file.read(0, back, 0, 16_384);
            assertEquals(-1, data.mismatch(back));
        }
    }

    @Test
    void aFailureCancelsWhatIsLinkedToIt() throws IOException {
        try (IoUring ring = IoUring.open(4)) {
            MemorySegment data = arena.allocate(8);
            ring.read(9999, data, 0, 8, 0, 1, IoUring.LINK);
            ring.nop(2, 0);
            ring.nop(3, IoUring.DRAIN);
            assertEquals(Map.of(1L, -Errnos.EBADF, 2L, -Errnos.ECANCELED, 3L, 0), collect(ring, 3));
        }
    }

    @Test
    void theRingCanBeWaitedForBesideOtherDescriptors() throws IOException {
        try (IoUring ring = IoUring.open(4);
                EventFd event = EventFd.open()) {
            ring.poll(event.fd(), Poll.IN, 7, 0);
            ring.submit();
            assertFalse(ring.next());
            Poll poll = new Poll(1);
            poll.set(0, ring.fd(), Poll.IN);
            assertEquals(0, poll.await(0));
            event.signal();
            assertEquals(1, poll.await(-1));
            ring.submit();
            assertTrue(ring.next());
            assertEquals(7, ring.cookie());
            assertEquals(Poll.IN, ring.result());
            assertFalse(ring.next());
        }
    }

    /** The owner sleeps in epoll, perhaps on a set in a set, when a request completes. */
    @ParameterizedTest(name = "nested: {0}")
    @ValueSource(booleans = {false, true})
    void aCompletionWakesASleepingOwner(boolean nested) throws Exception {
        try (EventFd event = EventFd.open()) {
            CompletableFuture<Integer> result = new CompletableFuture<>();
            CountDownLatch submitted = new CountDownLatch(1);
            Thread owner =
                    Thread.ofPlatform()
                            .name("ring owner")
                            .daemon()
                            .start(() -> awaitEvent(nested, event, submitted, result));
            assertTrue(submitted.await(20, TimeUnit.SECONDS));
            awaitSleep(owner);
            event.signal();
            assertEquals(Poll.IN, result.get(20, TimeUnit.SECONDS));
        }
    }

    /** Until the kernel says that the thread sleeps: proc(5), third field of stat. */
    private static void awaitSleep(Thread thread) throws IOException {
        Path tasks = Path.of("/proc/self/task");
        boolean asleep = false;
        while (!asleep) {
            try (var each = Files.list(tasks)) {
                for (Path task : each.toList()) {
                    asleep |= state(task).contains("(ring owner) S");
                }
            }
        }
        assertTrue(thread.isAlive());
    }

    private static String state(Path task) {
        try {
            return Files.readString(task.resolve("stat"));
        } catch (IOException e) {
            return ""; // the thread has ended
        }
    }

    /** A thread that computes and makes no calls sees completions all the same. */
    @Test
    void aCompletionIsSeenWithoutACall() throws Exception {
        try (IoUring ring = IoUring.open(4);
                EventFd event = EventFd.open()) {
            ring.poll(event.fd(), Poll.IN, 7, 0);
            ring.submit();
            Thread other =
                    Thread.ofPlatform()
                            .start(
                                    () -> {
                                        try {
                                            event.signal();
                                        } catch (LinuxException e) {
                                            throw new AssertionError(e);
                                        }
                                    });
            while (!ring.next()) {
                Thread.onSpinWait();
            }
            assertEquals(7, ring.cookie());
            other.join();
        }
    }

    private static void awaitEvent(
            boolean nested,
            EventFd event,
            CountDownLatch submitted,
            CompletableFuture<Integer> result) {
        try (IoUring ring = IoUring.open(4);
                Epoll inner = new Epoll(1);
                Epoll outer = new Epoll(1)) {
            inner.add(ring.fd(), Epoll.IN, 1);
            outer.add(inner.fd(), Epoll.IN, 2);
            ring.poll(event.fd(), Poll.IN, 7, 0);
            ring.submit();
            submitted.countDown();
            (nested ? outer : inner).await(-1);
            ring.submit();
            result.complete(ring.next() ? ring.result() : -1);
        } catch (LinuxException e) {
            result.completeExceptionally(e);
        }
    }

    @Test
    void aDriversCommandCarriesItsBytes() throws IOException {
        FdSocket[] pair = FdSocket.pair();
        try (IoUring ring = IoUring.openForCommands(4);
                FdSocket a = pair[0];
                ListeningSocket listener =
                        ListeningSocket.open(new SocketAddress.Inet("127.0.0.1", "0"), 1);
                FdSocket client = FdSocket.connect(listener.address());
                FdSocket server = listener.accept().orElseThrow()) {
            server.sendAll(arena.allocate(5), 0, 5, 0);
            client.receive(arena.allocate(5), 0, 5, FdSocket.PEEK);
            // SOCKET_URING_OP_SIOCINQ: the bytes that can be received
            MemorySegment bytes = ring.command(client.fd(), 0, MemorySegment.NULL, 0, 9);
            assertEquals(80, bytes.byteSize());
            assertEquals(Map.of(9L, 5), collect(ring, 1));
            assertTrue(a.fd() >= 0);
        }
        pair[1].close();
    }

    @Test
    void aFullRingRefuses() throws IOException {
        try (IoUring ring = IoUring.open(2)) {
            assertEquals(2, ring.space());
            ring.nop(1, 0);
            ring.nop(2, 0);
            assertEquals(0, ring.space());
            assertThrows(IllegalStateException.class, () -> ring.nop(3, 0));
            ring.submit();
            ring.nop(3, 0);
            ring.nop(4, 0);
            ring.submit();
            // Four completions fit: nothing more may be in flight before they are taken
            assertEquals(0, ring.space());
            assertEquals(4, collect(ring, 4).size());
        }
    }

    @Test
    void anotherThreadMayOpenTheRing() throws Exception {
        try (IoUring ring = IoUring.open(4)) {
            ring.registerFiles(file.fd());
            CompletableFuture<Integer> result = new CompletableFuture<>();
            Thread.ofPlatform()
                    .daemon()
                    .start(
                            () -> {
                                try {
                                    ring.nop(5, 0);
                                    ring.submitAndWait(1);
                                    result.complete(ring.next() ? ring.result() : -1);
                                } catch (LinuxException e) {
                                    result.completeExceptionally(e);
                                }
                            });
            assertEquals(0, result.get(20, TimeUnit.SECONDS));
        }
    }
}

package io.blockwharf.fuse;

import static java.lang.foreign.ValueLayout.JAVA_LONG;

import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.fuse.wire.Reply;
import io.blockwharf.fuse.wire.RingEntry;
import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.CpuSet;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.IoUring;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.Poll;

import org.osgi.service.log.Logger;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.BitSet;

/**
 * FUSE over io_uring: the kernel has one queue per processor, for requests of processes that run
 * there. This serves one of them with a ring and a thread on that processor: each entry holds a
 * request or waits for one, and a reply and the wait for the next request are one command. Nothing
 * is allocated per request.
 *
 * <p>The kernel begins to use the queues when all of them have an entry. If it refuses one it goes
 * on with {@code /dev/fuse}.
 */
final class RingQueue implements Queue, Slot.Later {
    /** Requests under way at once. */
    private static final int DEPTH = 64;

    /** The cookie of the wait for the block queue. */
    private static final long BLOCK_QUEUE = DEPTH;

    private static final int PAGE = 4096;

    private final CharDevice device;
    private final int processor;
    private final FuseFile file;
    private final BlockNode node;
    private final int maxTransfer;
    private final Logger log;
    private final Runnable ended;
    private final Slot[] slots = new Slot[DEPTH];
    private final MemorySegment[] entries = new MemorySegment[DEPTH];
    private final long[] commitIds = new long[DEPTH];
    private final BlockQueue.Completion completion = this::completed;

    private volatile int busy;
    private volatile boolean refused;

    private final IoUring ring;
    private final MappedRegion data;

    /** Entries that the kernel has not given up. */
    private int live;

    private BlockQueue blockQueue;
    private boolean started;
    private boolean waiting;

    /**
     * A queue that does not run yet.
     *
     * @param device stays the caller's, to be closed after {@code ended} was called
     * @param processor whose requests it serves
     * @param ended called once, when the connection has ended and nothing is under way any more
     */
    RingQueue(
            CharDevice device,
            int processor,
            FuseFile file,
            BlockNode node,
            int maxTransfer,
            Logger log,
            Runnable ended)
            throws LinuxException {
        this.device = device;
        this.processor = processor;
        this.file = file;
        this.node = node;
        this.maxTransfer = maxTransfer;
        this.log = log;
        this.ended = ended;
        ring = IoUring.openForCommands(2 * DEPTH);
        try {
            data = MappedRegion.anonymous((long) DEPTH * maxTransfer);
        } catch (LinuxException e) {
            ring.close();
            throw e;
        }
    }

    /** Gives everything back; only if it was never run. */
    void discard() {
        ring.close();
        data.close();
    }

    @Override
    public boolean busy() {
        return busy > 0;
    }

    @Override
    public void stop() {
        // The end of the connection stops it.
    }

    /** Whether the kernel did not want it. */
    boolean refused() {
        return refused;
    }

    @Override
    public BlockQueue blockQueue() {
        if (blockQueue == null) {
            blockQueue = node.openQueue(DEPTH);
        }
        started = true;
        return blockQueue;
    }

    /** Serves until the connection ends. */
    void run() {
        pin();
        try (Arena arena = Arena.ofConfined()) {
            for (int i = 0; i < DEPTH; i++) {
                register(i, data.segment().asSlice((long) i * maxTransfer, maxTransfer), arena);
            }
            while (live > 0 || busy > 0) {
                ring.submitAndWait(1);
                while (ring.next()) {
                    take(ring.cookie(), ring.result());
                }
                submit();
            }
        } catch (LinuxException e) {
            refused = true;
            log.error("A FUSE ring fails: {}", e.getMessage());
        } catch (RuntimeException | Error e) {
            log.error("A FUSE queue fails", e);
        } finally {
            if (blockQueue != null) {
                blockQueue.close();
            }
            ring.close();
            data.close();
            ended.run();
        }
    }

    /** A client waits on its processor: served there, it need not be woken from another one. */
    private void pin() {
        BitSet one = new BitSet();
        one.set(processor);
        try {
            CpuSet.pinThisThread(one);
        } catch (LinuxException e) {
            log.debug("Processor {} is not ours: {}", processor, e.getMessage());
        }
    }

    private void register(int number, MemorySegment data, Arena arena) {
        MemorySegment entry = arena.allocate(RingEntry.BYTES, PAGE);
        MemorySegment vectors = arena.allocate(32, 8); // struct iovec, twice
        vectors.set(JAVA_LONG, 0, entry.address());
        vectors.set(JAVA_LONG, 8, RingEntry.BYTES);
        vectors.set(JAVA_LONG, 16, data.address());
        vectors.set(JAVA_LONG, 24, maxTransfer);
        entries[number] = entry;
        slots[number] = new Slot(number, data, 0, this, arena);
        MemorySegment command = ring.command(device.fd(), RingEntry.REGISTER, vectors, 2, number);
        RingEntry.command(command, 0, processor);
        live++;
    }

    private void take(long cookie, int result) {
        if (cookie == BLOCK_QUEUE) {
            waiting = false;
            blockQueue.reap(completion);
            return;
        }
        if (result < 0) {
            live--;
            // ENOTCONN and ECONNABORTED: unmounted or aborted; else the kernel never began.
            if (result != -Errnos.ENOTCONN && result != -Errnos.ECONNABORTED) {
                refused = true;
            }
            return;
        }
        busy = busy + 1;
        Slot slot = slots[(int) cookie];
        MemorySegment entry = entries[slot.number];
        commitIds[slot.number] = RingEntry.commitId(entry, 0);
        slot.request.onRing(entry, 0, RingEntry.payloadBytes(entry, 0));
        slot.accept();
        int answer = file.begin(slot);
        if (answer != FuseFile.LATER) {
            commit(slot, answer == FuseFile.NONE ? 0 : answer);
        }
    }

    private void commit(Slot slot, int answer) {
        MemorySegment entry = entries[slot.number];
        int body = Math.max(answer, 0);
        Reply.header(entry, 0, body, Math.max(-answer, 0), slot.unique);
        RingEntry.payloadBytes(entry, 0, body);
        MemorySegment command =
                ring.command(
                        device.fd(),
                        RingEntry.COMMIT_AND_FETCH,
                        MemorySegment.NULL,
                        0,
                        slot.number);
        RingEntry.command(command, commitIds[slot.number], processor);
        busy = busy - 1;
    }

    private void completed(long cookie, Errno result) {
        Slot slot = slots[(int) cookie];
        commit(slot, file.end(slot, result));
    }

    private void submit() {
        if (started) {
            started = false;
            blockQueue.submit();
        }
        if (!waiting && blockQueue != null && blockQueue.inFlight() > 0) {
            waiting = true;
            ring.poll(blockQueue.fd(), Poll.IN, BLOCK_QUEUE, 0);
        }
    }
}

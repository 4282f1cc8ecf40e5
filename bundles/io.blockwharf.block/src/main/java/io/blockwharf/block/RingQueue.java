package io.blockwharf.block;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockQueue;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.block.IoVector;
import io.blockwharf.api.block.RequestFlags;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.IoUring;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;

import java.io.UncheckedIOException;
import java.util.Queue;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;

/**
 * Requests to a file through a ring of their own. What a ring cannot do (discards of block devices,
 * zeroes where the host has no way for them) goes to a few threads, whose completions come back
 * through the ring; only that allocates.
 *
 * <p>With nothing in flight the ring has nothing to tell: then {@link #fd} stays unreadable, and
 * nobody need ask.
 */
final class RingQueue implements BlockQueue {
    /** Cookie of the request that waits for {@link #asideDone}; slots are not negative. */
    private static final long ASIDE = -1;

    private static final int ASIDE_THREADS = 4;
    private static final long ASIDE_IDLE_SECONDS = 5;

    /** The file, which is registered with the ring. */
    private static final int FILE = IoUring.registered(0);

    private enum Operation {
        READ,
        TRY_READ,
        WRITE,
        FLUSH,
        DISCARD,
        WRITE_ZEROES,
        /** Its result was known before. */
        NOTHING
    }

    private record Aside(int slot, Errno result) {}

    private final FileImage image;
    private final IoUring ring;
    private final int maxBatch;
    private int unsubmitted;

    // Of a request in flight, by slot
    private final Operation[] operations;
    private final long[] cookies;
    private final long[] offsets;
    private final long[] lengths;
    private final IoVector[] vectors;
    private final int[] flags;
    private final FileImage.Fallocate[] ways;

    private final int[] free;
    private int freeCount;

    /** Requests that are to be reported; their slots. */
    private final int[] finished;

    private final Errno[] results;
    private int finishedCount;

    // Made when they are needed
    private ThreadPoolExecutor aside;
    private EventFd asideDone;
    private final Queue<Aside> asideResults = new ConcurrentLinkedQueue<>();
    private int asideInFlight;
    private boolean asideArmed;

    /**
     * Opens a queue.
     *
     * @param maxBatch requests that are submitted together at most, 0 for no limit
     */
    RingQueue(FileImage image, int depth, int maxBatch) throws LinuxException {
        this.image = image;
        this.maxBatch = maxBatch;
        operations = new Operation[depth];
        cookies = new long[depth];
        offsets = new long[depth];
        lengths = new long[depth];
        vectors = new IoVector[depth];
        flags = new int[depth];
        ways = new FileImage.Fallocate[depth];
        finished = new int[depth];
        results = new Errno[depth];
        free = new int[depth];
        for (int i = 0; i < depth; i++) {
            free[i] = depth - 1 - i;
        }
        freeCount = depth;
        ring = IoUring.open(depth + 1); // one more waits for the threads
        try {
            ring.registerFiles(image.file().fd());
        } catch (LinuxException e) {
            ring.close();
            throw e;
        }
    }

    // --- Starting ----------------------------------------------------------------------------

    private int slot(Operation operation, long cookie, long offset, long length, int flags) {
        if (freeCount == 0) {
            throw new IllegalStateException("more requests in flight than the queue is deep");
        }
        int slot = free[--freeCount];
        operations[slot] = operation;
        cookies[slot] = cookie;
        offsets[slot] = offset;
        lengths[slot] = length;
        this.flags[slot] = flags;
        return slot;
    }

    @Override
    public boolean batchesReads() {
        // From three or four on: one system call, no iovec to copy (measured)
        return !image.file().inMemory();
    }

    @Override
    public void read(long cookie, long offset, IoVector into) {
        int slot = slot(Operation.READ, cookie, offset, into.byteCount(), 0);
        vectors[slot] = into;
        makeRoom();
        if (into.count() == 1) {
            int length = (int) into.length(0); // BlockLimits.maxTransfer is an int
            ring.read(FILE, into.base(0), into.offset(0), length, offset, slot, 0);
        } else {
            ring.read(FILE, into.entries(), into.count(), offset, slot, 0);
        }
        started();
    }

    @Override
    public void tryRead(long cookie, long offset, IoVector into) {
        int slot = slot(Operation.TRY_READ, cookie, offset, into.byteCount(), 0);
        if (into.count() != 1 || !image.cached()) {
            finishEarly(slot, Errno.EAGAIN);
            return;
        }
        makeRoom();
        int length = (int) into.length(0);
        ring.tryRead(FILE, into.base(0), into.offset(0), length, offset, slot);
        started();
    }

    @Override
    public void write(long cookie, long offset, IoVector from, int flags) {
        int slot = slot(Operation.WRITE, cookie, offset, from.byteCount(), flags);
        vectors[slot] = from;
        boolean durably = isDurable(slot);
        makeRoom();
        if (from.count() == 1) {
            int length = (int) from.length(0);
            ring.write(FILE, from.base(0), from.offset(0), length, offset, durably, slot, 0);
        } else {
            ring.write(FILE, from.entries(), from.count(), offset, durably, slot, 0);
        }
        started();
    }

    @Override
    public void flush(long cookie) {
        startFlush(slot(Operation.FLUSH, cookie, 0, 0, 0));
    }

    private void startFlush(int slot) {
        if (image.isLost()) {
            finishEarly(slot, Errno.EIO);
            return;
        }
        makeRoom();
        ring.syncData(FILE, slot, 0);
        started();
    }

    @Override
    public void discard(long cookie, long offset, long length) {
        int slot = slot(Operation.DISCARD, cookie, offset, length, 0);
        startFallocate(slot, image.discardWay());
    }

    @Override
    public void writeZeroes(long cookie, long offset, long length, int flags) {
        int slot = slot(Operation.WRITE_ZEROES, cookie, offset, length, flags);
        startFallocate(slot, image.zeroWay(offset, length, flags));
    }

    private void startFallocate(int slot, FileImage.Fallocate way) {
        ways[slot] = way;
        if (lengths[slot] == 0) {
            finishEarly(slot, Errno.OK);
            return;
        }
        switch (way) {
            case PUNCH -> {
                makeRoom();
                ring.punchHole(FILE, offsets[slot], lengths[slot], slot, 0);
                started();
            }
            case ZERO -> {
                makeRoom();
                ring.zeroRange(FILE, offsets[slot], lengths[slot], slot, 0);
                started();
            }
            case NONE -> startAside(slot);
        }
    }

    private boolean isDurable(int slot) {
        return (flags[slot] & RequestFlags.FUA) != 0;
    }

    private void makeRoom() {
        if (ring.space() == 0) {
            enter(0);
        }
    }

    private void started() {
        unsubmitted++;
        if (unsubmitted == maxBatch) {
            enter(0);
        }
    }

    @Override
    public void submit() {
        if (unsubmitted > 0) {
            enter(0);
        }
    }

    private void enter(int awaited) {
        try {
            ring.submitAndWait(awaited);
            unsubmitted = 0;
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    // --- Finishing ---------------------------------------------------------------------------

    @Override
    public int reap(Completion completion) {
        int reported = 0;
        try {
            while (ring.next()) {
                long cookie = ring.cookie();
                if (cookie == ASIDE) {
                    asideArmed = false;
                    asideDone.clear();
                    collectAside();
                } else {
                    completed((int) cookie, ring.result());
                }
            }
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
        while (finishedCount > 0) {
            int slot = finished[--finishedCount];
            free[freeCount++] = slot;
            completion.completed(cookies[slot], results[slot]);
            reported++;
        }
        submit(); // what a completion has started anew
        return reported;
    }

    /** Gives a request to the ring that has no need of it: who waits for {@link #fd} is told. */
    private void finishEarly(int slot, Errno result) {
        operations[slot] = Operation.NOTHING;
        results[slot] = result;
        makeRoom();
        ring.nop(slot, 0);
        started();
    }

    private void finish(int slot, Errno result) {
        vectors[slot] = null;
        results[slot] = result;
        finished[finishedCount++] = slot;
    }

    /** Takes the kernel's answer: bytes, or a negated error number. */
    private void completed(int slot, int answer) {
        switch (operations[slot]) {
            case READ, WRITE -> transferred(slot, answer);
            case TRY_READ -> finish(slot, tried(slot, answer));
            case FLUSH -> {
                if (answer < 0) {
                    image.flushFailed(new LinuxException("fdatasync", -answer));
                }
                finish(slot, errno(answer));
            }
            case DISCARD -> {
                image.changed();
                boolean missing = answer < 0 && image.isMissing(ways[slot], -answer);
                finish(slot, missing ? Errno.OK : errno(answer));
            }
            case WRITE_ZEROES -> zeroed(slot, answer);
            case NOTHING -> finish(slot, results[slot]);
        }
    }

    /** Some of the bytes are as good as none: the file ends there, or the page cache. */
    private Errno tried(int slot, int answer) {
        if (answer == lengths[slot]) {
            return Errno.OK;
        }
        boolean failed =
                answer < 0
                        && answer != -Errnos.EAGAIN
                        && answer != -Errnos.EINTR
                        && answer != -Errnos.EOPNOTSUPP;
        return failed ? Errno.of(-answer) : Errno.EAGAIN;
    }

    private static Errno errno(int answer) {
        return answer < 0 ? Errno.of(-answer) : Errno.OK;
    }

    private void transferred(int slot, int answer) {
        boolean again = answer == -Errnos.EAGAIN || answer == -Errnos.EINTR;
        int done = again ? 0 : answer;
        Errno result = errno(done);
        if (done >= 0 && done < lengths[slot]) {
            result = transferRest(slot, done);
        }
        if (operations[slot] == Operation.WRITE) {
            image.written(offsets[slot], lengths[slot]);
        }
        finish(slot, result);
    }

    /** Rare: at the end of a file that became shorter, or on a full disk. */
    private Errno transferRest(int slot, int done) {
        try {
            if (operations[slot] == Operation.READ) {
                image.readRest(offsets[slot], vectors[slot], done);
            } else {
                image.writeRest(offsets[slot], vectors[slot], done, isDurable(slot));
            }
            return Errno.OK;
        } catch (LinuxException e) {
            return Errno.of(e.errno());
        } catch (InternalError e) {
            return Errno.EIO; // the virtual machine's word for memory whose owner took it away
        }
    }

    private void zeroed(int slot, int answer) {
        image.changed();
        if (answer < 0 && image.isMissing(ways[slot], -answer)) {
            startFallocate(slot, image.zeroWay(offsets[slot], lengths[slot], flags[slot]));
        } else if (answer >= 0 && isDurable(slot)) {
            operations[slot] = Operation.FLUSH;
            startFlush(slot);
        } else {
            finish(slot, errno(answer));
        }
    }

    @Override
    public int inFlight() {
        return operations.length - freeCount;
    }

    @Override
    public int fd() {
        return ring.fd();
    }

    // --- Aside -------------------------------------------------------------------------------

    private void startAside(int slot) {
        try {
            if (aside == null) {
                asideDone = EventFd.open();
                aside =
                        new ThreadPoolExecutor(
                                ASIDE_THREADS,
                                ASIDE_THREADS,
                                ASIDE_IDLE_SECONDS,
                                TimeUnit.SECONDS,
                                new LinkedBlockingQueue<>(),
                                Thread.ofPlatform().daemon().name("file-aside-", 0).factory());
                aside.allowCoreThreadTimeOut(true);
            }
        } catch (LinuxException e) {
            finishEarly(slot, Errno.of(e.errno()));
            return;
        }
        asideInFlight++;
        armAside();
        aside.execute(() -> runAside(slot));
    }

    private void armAside() {
        if (!asideArmed && asideInFlight > 0) {
            asideArmed = true;
            makeRoom();
            ring.poll(asideDone.fd(), Poll.IN, ASIDE, 0);
            started();
        }
    }

    /** On one of the threads, to which the slot belongs until its result is there. */
    private void runAside(int slot) {
        Errno result = Errno.OK;
        try {
            if (operations[slot] == Operation.DISCARD) {
                image.discard(offsets[slot], lengths[slot]);
            } else {
                image.writeZeroes(offsets[slot], lengths[slot], flags[slot]);
            }
        } catch (BlockIoException e) {
            result = e.errno();
        }
        asideResults.add(new Aside(slot, result));
        try {
            asideDone.signal();
        } catch (LinuxException e) {
            throw new UncheckedIOException(e);
        }
    }

    /**
     * After the ring has told that there are some: results taken sooner would leave it waiting for
     * a signal that nobody asks for. One that comes later than its result only wakes in vain.
     */
    private void collectAside() {
        Aside each;
        while ((each = asideResults.poll()) != null) {
            asideInFlight--;
            finish(each.slot(), each.result());
        }
        armAside();
    }

    @Override
    public void close() {
        try {
            while (inFlight() > 0) {
                if (finishedCount == 0 && ring.inFlight() > 0) {
                    enter(1);
                }
                reap((_, _) -> {});
            }
        } finally {
            ring.close();
            if (aside != null) {
                aside.close(); // not before the last signal was given
                asideDone.close();
            }
        }
    }
}

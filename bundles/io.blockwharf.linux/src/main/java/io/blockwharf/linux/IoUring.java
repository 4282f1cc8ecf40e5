package io.blockwharf.linux;

import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import com.sun.jna.Native;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.invoke.VarHandle;

/**
 * A submission and a completion queue shared with the kernel (io_uring(7)): requests are prepared
 * without a call, submitted together with one, and complete in any order, each with the cookie that
 * it was prepared with.
 *
 * <p>Owned by one thread, which submits and takes completions; it may be opened by another. Buffers
 * and lists of ranges belong to the kernel from the preparation until the completion was returned
 * by {@link #next}: let nothing be in flight when the ring is closed. Nothing is allocated per
 * request.
 *
 * <pre>
 *   ring.read(file, buffer, 0, 4096, position, cookie, 0);
 *   ring.submitAndWait(1);
 *   while (ring.next()) { finish(ring.cookie(), ring.result()); }
 * </pre>
 */
public final class IoUring implements AutoCloseable {
    /** Flag: the next prepared request starts when this one has succeeded, else is cancelled. */
    public static final int LINK = 1 << 2;

    /** Flag: starts when everything before it has completed. */
    public static final int DRAIN = 1 << 1;

    private static final int FIXED_FILE = 1;

    private static final int OP_NOP = 0;
    private static final int OP_READV = 1;
    private static final int OP_WRITEV = 2;
    private static final int OP_FSYNC = 3;
    private static final int OP_READ_FIXED = 4;
    private static final int OP_WRITE_FIXED = 5;
    private static final int OP_POLL_ADD = 6;
    private static final int OP_FALLOCATE = 17;
    private static final int OP_READ = 22;
    private static final int OP_WRITE = 23;
    private static final int OP_COMMAND = 46;

    private static final int RWF_DSYNC = 2;
    private static final int RWF_NOWAIT = 8;
    private static final int FSYNC_DATA = 1;

    private static final int SETUP_SUBMIT_ALL = 1 << 7;
    private static final int SETUP_COOP_TASKRUN = 1 << 8;
    private static final int SETUP_TASKRUN_FLAG = 1 << 9;
    private static final int SETUP_SQE128 = 1 << 10;
    private static final int SETUP_SINGLE_ISSUER = 1 << 12;
    private static final int SETUP_DEFER_TASKRUN = 1 << 13;
    private static final int SUBMISSION_TASKRUN = 1 << 2;
    private static final int FEATURE_SINGLE_MMAP = 1;
    private static final int ENTER_GETEVENTS = 1;
    private static final int REGISTER_BUFFERS = 0;
    private static final int REGISTER_FILES = 2;
    private static final int REGISTER_EVENTFD = 4;
    private static final long SYS_SETUP = 425;
    private static final long SYS_REGISTER = 427;
    private static final long OFFSET_SQES = 0x10000000L;

    /**
     * Completions without interrupting the owner while it computes (5.19), else plain. Not
     * DEFER_TASKRUN, although it is made for rings of one thread: an owner that sleeps in poll or
     * epoll is not woken by completions then (seen on 6.18), and it measured no faster.
     */
    private static final int[] SETUPS = {
        SETUP_SUBMIT_ALL | SETUP_COOP_TASKRUN | SETUP_TASKRUN_FLAG, 0
    };

    private static final VarHandle INDEX = JAVA_INT.varHandle();
    private static final MemorySegment MEMORY = RawMemory.ALL;

    private final Descriptor ring;
    private final MappedRegion rings;
    private final MappedRegion entries;
    private final int entryBytes;
    private final int submissions;
    private final int completions;

    /** Addresses in the shared memory. */
    private final long submissionTail;

    private final long submissionFlags;
    private final long completionHead;
    private final long completionTail;
    private final long completionEntries;
    private final long submissionEntries;

    private int tail;
    private int submitted;
    private int head;
    private int inFlight;
    private long cookie;
    private int result;

    /** Registered buffers: address and end of each. */
    private long[] buffers = {};

    private IoUring(Descriptor ring, MemorySegment parameters) throws LinuxException {
        this.ring = ring;
        submissions = parameters.get(JAVA_INT, 0);
        completions = parameters.get(JAVA_INT, 4);
        if ((parameters.get(JAVA_INT, 20) & FEATURE_SINGLE_MMAP) == 0) {
            throw new LinuxException("io_uring_setup", Errnos.EOPNOTSUPP);
        }
        entryBytes = (parameters.get(JAVA_INT, 8) & SETUP_SQE128) != 0 ? 128 : 64;
        // struct io_uring_params: sq_off at 40, cq_off at 80
        long array = parameters.get(JAVA_INT, 64);
        long cqes = parameters.get(JAVA_INT, 100);
        long bytes = Math.max(array + 4L * submissions, cqes + 16L * completions);
        MappedRegion.Access access = MappedRegion.Access.READ_WRITE;
        rings = MappedRegion.map(ring.fd(), 0, bytes, access);
        try {
            entries =
                    MappedRegion.map(
                            ring.fd(), OFFSET_SQES, (long) entryBytes * submissions, access);
        } catch (LinuxException e) {
            rings.close();
            throw e;
        }
        long base = rings.segment().address();
        submissionTail = base + parameters.get(JAVA_INT, 44);
        submissionFlags = base + parameters.get(JAVA_INT, 56);
        completionHead = base + parameters.get(JAVA_INT, 80);
        completionTail = base + parameters.get(JAVA_INT, 84);
        completionEntries = base + cqes;
        submissionEntries = entries.segment().address();
        for (int i = 0; i < submissions; i++) { // entries are used in order, always
            MEMORY.set(JAVA_INT, base + array + 4L * i, i);
        }
    }

    /** Whether this kernel lets this process have rings; asked anew with each call. */
    public static boolean available() {
        try (IoUring ring = open(1)) {
            return ring.submissions > 0;
        } catch (LinuxException e) {
            return false;
        }
    }

    /**
     * Opens a ring.
     *
     * @param requests most requests that can be prepared before {@link #submit}, up to 32768,
     *     rounded up to a power of two; twice as many can be in flight
     * @throws LinuxException ENOSYS, EPERM or EOPNOTSUPP where there is no io_uring
     */
    public static IoUring open(int requests) throws LinuxException {
        return open(requests, 0);
    }

    /** Opens a ring whose entries have room for {@link #command}s of 80 bytes (Linux 5.19). */
    public static IoUring openForCommands(int requests) throws LinuxException {
        return open(requests, SETUP_SQE128);
    }

    /**
     * Opens a ring for requests that complete when they are submitted, by this thread alone (Linux
     * 6.1). Its completions need no lock, which makes a request a seventh cheaper; but nobody who
     * sleeps would be told of one that comes later.
     */
    static IoUring openForThisThread(int requests) throws LinuxException {
        return setup(requests, SETUP_SINGLE_ISSUER | SETUP_DEFER_TASKRUN);
    }

    private static IoUring open(int requests, int flags) throws LinuxException {
        LinuxException last = null;
        for (int setup : SETUPS) {
            try {
                return setup(requests, setup | flags);
            } catch (LinuxException e) {
                last = e;
                if (!e.is(Errnos.EINVAL)) { // not a matter of the flags
                    break;
                }
            }
        }
        throw last;
    }

    private static IoUring setup(int requests, int flags) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment parameters = RawMemory.argument(arena, 120);
            parameters.set(JAVA_INT, 8, flags);
            long fd = Libc.syscall(SYS_SETUP, requests, parameters.address(), 0, 0, 0);
            if (fd < 0) {
                throw new LinuxException("io_uring_setup", Native.getLastError());
            }
            Descriptor ring = new Descriptor((int) fd);
            try {
                return new IoUring(ring, parameters);
            } catch (LinuxException e) {
                ring.close();
                throw e;
            }
        }
    }

    /** Readable when {@link #next} has something; -1 if closed. */
    public int fd() {
        return ring.fd();
    }

    /** Requests that can be prepared before the next {@link #submit}. */
    public int space() {
        return Math.min(submissions - (tail - submitted), completions - inFlight);
    }

    /** Requests that were prepared and not yet returned by {@link #next}. */
    public int inFlight() {
        return inFlight;
    }

    /**
     * Makes files known to the kernel, which spares work in each request: afterwards {@link
     * #registered} of an index here stands for the descriptor. Once per ring.
     */
    public void registerFiles(int... fds) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment array = arena.allocateFrom(JAVA_INT, fds);
            register(REGISTER_FILES, array.address(), fds.length);
        }
    }

    /** What to give instead of a descriptor for the registered file {@code index}. */
    public static int registered(int index) {
        return ~index;
    }

    /**
     * Pins buffers in memory for the time of the ring; requests whose bytes lie in one of them use
     * it by themselves. Once per ring. Counts against RLIMIT_MEMLOCK.
     */
    public void registerBuffers(MemorySegment... segments) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment array = RawMemory.argument(arena, 16L * segments.length);
            long[] ranges = new long[2 * segments.length];
            for (int i = 0; i < segments.length; i++) {
                long length = segments[i].byteSize();
                long address = RawMemory.address(segments[i], 0, length);
                array.set(JAVA_LONG, 16L * i, address);
                array.set(JAVA_LONG, 16L * i + 8, length);
                ranges[2 * i] = address;
                ranges[2 * i + 1] = address + length;
            }
            register(REGISTER_BUFFERS, array.address(), segments.length);
            buffers = ranges;
        }
    }

    /** Lets the kernel raise an eventfd whenever it posts completions. Once per ring. */
    public void registerEventFd(int fd) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            register(REGISTER_EVENTFD, arena.allocateFrom(JAVA_INT, fd).address(), 1);
        }
    }

    private void register(int what, long address, int count) throws LinuxException {
        if (Libc.syscall(SYS_REGISTER, ring.fd(), what, address, count, 0) < 0) {
            throw new LinuxException("io_uring_register", Native.getLastError());
        }
    }

    private int bufferOf(long address, long length) {
        for (int i = 0; i < buffers.length; i += 2) {
            if (address >= buffers[i] && address <= buffers[i + 1] - length) {
                return i / 2;
            }
        }
        return -1;
    }

    /**
     * Prepares a read of at most {@code length} bytes; the result is the number of bytes read.
     *
     * @param file descriptor, or {@link #registered} index
     * @param flags {@link #LINK}, {@link #DRAIN} or 0
     * @throws IllegalStateException if there is no {@link #space}
     */
    public void read(
            int file,
            MemorySegment segment,
            long offset,
            int length,
            long position,
            long cookie,
            int flags) {
        long address = RawMemory.address(segment, offset, length);
        int buffer = bufferOf(address, length);
        int operation = buffer < 0 ? OP_READ : OP_READ_FIXED;
        prepare(operation, flags, file, position, address, length, 0, cookie, buffer);
    }

    /**
     * Prepares a read that completes when it is submitted (RWF_NOWAIT); the result is the number of
     * bytes that were there, or a negated error number: EAGAIN if there were none, EOPNOTSUPP if
     * the file system cannot tell.
     *
     * @param file descriptor, or {@link #registered} index
     * @throws IllegalStateException if there is no {@link #space}
     */
    public void tryRead(
            int file, MemorySegment segment, long offset, int length, long position, long cookie) {
        long address = RawMemory.address(segment, offset, length);
        int buffer = bufferOf(address, length);
        int operation = buffer < 0 ? OP_READ : OP_READ_FIXED;
        prepare(operation, 0, file, position, address, length, RWF_NOWAIT, cookie, buffer);
    }

    /**
     * Prepares a write; the result is the number of bytes written.
     *
     * @param durably whether it completes only when the bytes are on the disk
     * @throws IllegalStateException if there is no {@link #space}
     */
    public void write(
            int file,
            MemorySegment segment,
            long offset,
            int length,
            long position,
            boolean durably,
            long cookie,
            int flags) {
        long address = RawMemory.address(segment, offset, length);
        int buffer = bufferOf(address, length);
        int operation = buffer < 0 ? OP_WRITE : OP_WRITE_FIXED;
        int how = durably ? RWF_DSYNC : 0;
        prepare(operation, flags, file, position, address, length, how, cookie, buffer);
    }

    /**
     * Prepares a read into {@code count} ranges.
     *
     * @param iovecs {@code struct iovec[]}; the kernel's until the completion
     */
    public void read(
            int file, MemorySegment iovecs, int count, long position, long cookie, int flags) {
        long address = RawMemory.address(iovecs, 0, 16L * count);
        prepare(OP_READV, flags, file, position, address, count, 0, cookie, -1);
    }

    /**
     * Prepares a write from {@code count} ranges.
     *
     * @param iovecs {@code struct iovec[]}; the kernel's until the completion
     * @param durably whether it completes only when the bytes are on the disk
     */
    public void write(
            int file,
            MemorySegment iovecs,
            int count,
            long position,
            boolean durably,
            long cookie,
            int flags) {
        long address = RawMemory.address(iovecs, 0, 16L * count);
        int how = durably ? RWF_DSYNC : 0;
        prepare(OP_WRITEV, flags, file, position, address, count, how, cookie, -1);
    }

    /** Prepares an fdatasync of writes that have completed; result 0. */
    public void syncData(int file, long cookie, int flags) {
        prepare(OP_FSYNC, flags, file, 0, 0, 0, FSYNC_DATA, cookie, -1);
    }

    /** Prepares {@link HostFile#punchHole}; result 0. */
    public void punchHole(int file, long position, long length, long cookie, int flags) {
        prepare(OP_FALLOCATE, flags, file, position, length, HostFile.PUNCH_HOLE, 0, cookie, -1);
    }

    /** Prepares {@link HostFile#zeroRange}; result 0. */
    public void zeroRange(int file, long position, long length, long cookie, int flags) {
        prepare(OP_FALLOCATE, flags, file, position, length, HostFile.ZERO_RANGE, 0, cookie, -1);
    }

    /** Prepares a wait for one of {@code events} of {@link Poll}; the result is what happened. */
    public void poll(int fd, int events, long cookie, int flags) {
        prepare(OP_POLL_ADD, flags, fd, 0, 0, 0, events, cookie, -1);
    }

    /** Prepares a request that does nothing; result 0. */
    public void nop(long cookie, int flags) {
        prepare(OP_NOP, flags, -1, 0, 0, 0, 0, cookie, -1);
    }

    /**
     * Prepares a command of a device driver (IORING_OP_URING_CMD).
     *
     * @param iovecs {@code struct iovec[]} of {@code count} entries if the command takes it, else
     *     an empty segment
     * @return the command's own bytes in the entry, zero, to be filled in before {@link #submit}:
     *     16, or 80 on a ring {@link #openForCommands}
     */
    public MemorySegment command(
            int file, int operation, MemorySegment iovecs, int count, long cookie) {
        long address = count == 0 ? 0 : RawMemory.address(iovecs, 0, 16L * count);
        long entry = prepare(OP_COMMAND, 0, file, operation, address, count, 0, cookie, -1);
        return entries.segment().asSlice(entry + 48, entryBytes - 48L);
    }

    /**
     * Fills in {@code struct io_uring_sqe}, every byte of it.
     *
     * @return offset of the entry in its region
     */
    private long prepare(
            int operation,
            int flags,
            int file,
            long offset,
            long address,
            int length,
            int operationFlags,
            long cookie,
            int buffer) {
        if (space() == 0) {
            throw new IllegalStateException("the ring is full");
        }
        long at = (long) (tail & submissions - 1) * entryBytes;
        long entry = submissionEntries + at;
        int fd = file;
        int entryFlags = flags;
        if (file < 0 && operation != OP_NOP) {
            fd = ~file;
            entryFlags |= FIXED_FILE;
        }
        MEMORY.set(JAVA_LONG, entry, operation | entryFlags << 8 | (long) fd << 32);
        MEMORY.set(JAVA_LONG, entry + 8, offset);
        MEMORY.set(JAVA_LONG, entry + 16, address);
        MEMORY.set(
                JAVA_LONG,
                entry + 24,
                Integer.toUnsignedLong(length) | (long) operationFlags << 32);
        MEMORY.set(JAVA_LONG, entry + 32, cookie);
        MEMORY.set(JAVA_LONG, entry + 40, buffer < 0 ? 0 : buffer);
        for (int i = 48; i < entryBytes; i += 8) {
            MEMORY.set(JAVA_LONG, entry + i, 0);
        }
        tail++;
        inFlight++;
        return at;
    }

    /**
     * Hands what was prepared to the kernel, and collects completions that are due; does not wait.
     * Requests that need not wait for a device complete inside.
     */
    public void submit() throws LinuxException {
        submitAndWait(0);
    }

    /**
     * Hands what was prepared to the kernel and waits until {@code count} completions can be had
     * from {@link #next}, those that are there already included.
     */
    public void submitAndWait(int count) throws LinuxException {
        submit(count, ENTER_GETEVENTS);
    }

    /** Hands over requests of which is known that they complete at once. */
    void submitImmediate() throws LinuxException {
        submit(0, 0);
    }

    private void submit(int count, int flags) throws LinuxException {
        // Pairs with the kernel's acquire of the tail: the entries are complete before it moves
        INDEX.setRelease(MEMORY, submissionTail, tail);
        do {
            long n = HotCalls.ioUringEnter(ring.fd(), tail - submitted, count, flags);
            LinuxException.checkHot(n, "io_uring_enter");
            submitted += (int) n;
        } while (submitted != tail);
    }

    /**
     * Takes the next completion, whose {@link #cookie} and {@link #result} can be asked then.
     *
     * @return false if there is none at present
     */
    public boolean next() throws LinuxException {
        // Pairs with the kernel's release of the tail: what it counts has been written
        if (head == (int) INDEX.getAcquire(MEMORY, completionTail) && !collect()) {
            return false;
        }
        long entry = completionEntries + 16L * (head & completions - 1);
        cookie = MEMORY.get(JAVA_LONG, entry);
        result = MEMORY.get(JAVA_INT, entry + 8);
        head++;
        // Pairs with the kernel's acquire of the head: it may write there again now
        INDEX.setRelease(MEMORY, completionHead, head);
        inFlight--;
        return true;
    }

    /**
     * Lets the kernel post completions that have happened while this thread was computing, if it
     * says that there are any (IORING_SQ_TASKRUN). Whether one is there now.
     */
    private boolean collect() throws LinuxException {
        if (((int) INDEX.getAcquire(MEMORY, submissionFlags) & SUBMISSION_TASKRUN) == 0) {
            return false;
        }
        long n = HotCalls.ioUringEnter(ring.fd(), 0, 0, ENTER_GETEVENTS);
        LinuxException.checkHot(n, "io_uring_enter");
        return head != (int) INDEX.getAcquire(MEMORY, completionTail);
    }

    /** The cookie of the completion that {@link #next} took. */
    public long cookie() {
        return cookie;
    }

    /** Its result: not negative, or a negated number of {@link Errnos}. */
    public int result() {
        return result;
    }

    /** Closes the ring. Idempotent. */
    @Override
    public void close() {
        ring.close();
        rings.close();
        entries.close();
    }
}

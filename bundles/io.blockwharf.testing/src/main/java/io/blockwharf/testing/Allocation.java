package io.blockwharf.testing;

import com.sun.management.ThreadMXBean;

import java.lang.management.ManagementFactory;

/** Proves that a request leaves nothing for the garbage collector. */
public final class Allocation {
    private static final ThreadMXBean THREADS = (ThreadMXBean) ManagementFactory.getThreadMXBean();

    private static final int ROUNDS = 20_000;

    /** The compiler may be late on a busy machine. */
    private static final int ATTEMPTS = 200;

    /** What a compilation in between may take; not a byte per request. */
    private static final long NOISE = ROUNDS / 20;

    private Allocation() {}

    /** A request, made again and again. */
    @FunctionalInterface
    public interface Request {
        /** Makes it once. */
        void run() throws Exception;
    }

    /**
     * Makes requests on this thread until many in a row allocated nothing on it. That takes until
     * they are compiled: interpreted foreign calls do allocate.
     *
     * @param name of the request, for the message
     * @throws AssertionError if every series allocated
     */
    public static void assertNone(String name, Request request) throws Exception {
        assertNone(name, Thread.currentThread(), request);
    }

    /** The same for requests that this thread makes and another one carries out. */
    public static void assertNone(String name, Thread server, Request request) throws Exception {
        long least = Long.MAX_VALUE;
        for (int attempt = 0; attempt < ATTEMPTS && least > NOISE; attempt++) {
            long before = THREADS.getThreadAllocatedBytes(server.threadId());
            for (int i = 0; i < ROUNDS; i++) {
                request.run();
            }
            long after = THREADS.getThreadAllocatedBytes(server.threadId());
            least = Math.min(least, after - before);
        }
        if (least > NOISE) {
            throw new AssertionError(name + ": " + least / (double) ROUNDS + " bytes a request");
        }
    }
}

package io.blockwharf.core.graph;

import org.osgi.service.log.Logger;

/**
 * Platform threads that carry out requests which block, started as they are needed and ended when
 * they have had nothing to do for a while. Requests are linked by a field of their own, so that
 * handing them over allocates nothing.
 */
final class WorkerPool {
    private static final long IDLE_NANOS = 10_000_000_000L;

    private final Logger logger;
    private final String name;
    private final int most;

    // Guarded by this
    private WorkerQueue.Request head;
    private WorkerQueue.Request tail;
    private int queued;
    private int idle;
    private int threads;
    private boolean closed;

    /**
     * A pool without threads.
     *
     * @param name of its threads
     * @param most how many there are at most
     * @param logger for mistakes of drivers
     */
    WorkerPool(String name, int most, Logger logger) {
        this.logger = logger;
        this.name = name;
        this.most = most;
    }

    /** Hands a chain of requests over. */
    synchronized void submit(WorkerQueue.Request first, WorkerQueue.Request last, int count) {
        if (closed) {
            throw new IllegalStateException("closed");
        }
        if (tail == null) {
            head = first;
        } else {
            tail.next = first;
        }
        tail = last;
        queued += count;
        for (int i = 0; i < count && i < idle; i++) {
            notify();
        }
        while (threads < most && idle < queued) {
            // The new thread is idle until it has taken its first request
            idle++;
            threads++;
            Thread.ofPlatform().daemon().name(name).start(this::work);
        }
    }

    private void work() {
        for (WorkerQueue.Request request = first(); request != null; request = next()) {
            request.run();
        }
    }

    private synchronized WorkerQueue.Request first() {
        idle--;
        return await();
    }

    private synchronized WorkerQueue.Request next() {
        return await();
    }

    /** The next request; null to end the thread. With the monitor held. */
    private WorkerQueue.Request await() {
        long since = 0;
        while (head == null) {
            long now = System.nanoTime();
            since = since == 0 ? now : since;
            long rest = IDLE_NANOS - (now - since);
            if (closed || rest <= 0) {
                threads--;
                return null;
            }
            idle++;
            try {
                wait(rest / 1_000_000 + 1);
            } catch (InterruptedException e) {
                // Nobody interrupts these threads; if somebody does it means nothing.
            }
            idle--;
        }
        WorkerQueue.Request request = head;
        head = request.next;
        if (head == null) {
            tail = null;
        }
        request.next = null;
        queued--;
        return request;
    }

    /** A driver failed otherwise than it may. */
    void failed(Throwable bug) {
        logger.error("{}: the driver failed unexpectedly", name, bug);
    }

    /** Ends the threads. No requests are under way. */
    synchronized void close() {
        closed = true;
        notifyAll();
    }
}

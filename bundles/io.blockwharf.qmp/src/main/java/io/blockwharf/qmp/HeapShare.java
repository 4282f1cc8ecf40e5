package io.blockwharf.qmp;

import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;

/**
 * A session's share of the heap for large requests: of all sessions in the daemon, one at a time
 * has such a request, from when it becomes large until it is answered. The heap holds a few of them
 * with what is made of them, and a daemon that runs out of it ends.
 *
 * <p>A session's requests are read on one thread and answered on another.
 */
final class HeapShare {
    private static final Semaphore DAEMON = new Semaphore(1, true);
    private static final long PATIENCE_SECONDS = 10;

    private boolean held;

    /** The reading thread's: whether the share was given for what is being read. */
    private boolean reading;

    /** What is being read has become large: waits until no other large request is there. */
    boolean take() {
        try {
            if (!DAEMON.tryAcquire(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                return false;
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return false;
        }
        synchronized (this) {
            held = true;
        }
        reading = true;
        return true;
    }

    /** Something was read: whether it has the share. */
    boolean read() {
        boolean large = reading;
        reading = false;
        return large;
    }

    /** Gives the share back, if the session has it. */
    synchronized void giveBack() {
        if (held) {
            held = false;
            DAEMON.release();
        }
    }
}

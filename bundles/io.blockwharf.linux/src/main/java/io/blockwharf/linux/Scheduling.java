package io.blockwharf.linux;

/** How the kernel's scheduler treats a thread (sched(7)). */
public final class Scheduling {
    private static final int SCHED_OTHER = 0;
    private static final int SCHED_BATCH = 3;

    private Scheduling() {}

    /**
     * Lets this platform thread wait, when it is woken, until the thread that runs on its processor
     * sleeps or has used up its slice (SCHED_BATCH), instead of interrupting it at once. On an idle
     * processor nothing changes, and its share of a busy one stays the same. For a thread that
     * serves a client on the same processor: a client that sends many requests one by one has sent
     * them all by then, so that they are served, and answered, in one go.
     *
     * <p>A policy that the process was started with (real-time, idle) is left alone, and so is
     * everything if the kernel refuses.
     *
     * @return whether the thread is one of that sort now
     */
    public static boolean batchThisThread() {
        if (Libc.sched_getscheduler(0) == SCHED_OTHER) {
            long priority = Scratch.ofThread().number(0);
            Libc.sched_setscheduler(0, SCHED_BATCH, priority);
        }
        return Libc.sched_getscheduler(0) == SCHED_BATCH;
    }
}

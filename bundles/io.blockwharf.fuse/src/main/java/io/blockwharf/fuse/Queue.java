package io.blockwharf.fuse;

/** A thread, or a part of one, that takes requests from the kernel. Any thread may call this. */
sealed interface Queue permits DeviceQueue, RingQueue {
    /** Whether a request is being worked on. */
    boolean busy();

    /** Asks it to end, if the end of the connection might not do that. */
    void stop();
}

package io.blockwharf.vhostuser;

import org.osgi.service.log.Logger;

import java.util.function.LongSupplier;

/**
 * Warnings about what the front ends of an export do, who could cause any number of them: the first
 * few of a minute are logged. Any thread may use it.
 */
final class Complaints {
    /** How many warnings of a minute are logged. */
    static final int MOST = 10;

    private static final long MINUTE_NANOS = 60_000_000_000L;

    private final Logger log;
    private final LongSupplier clock;

    // Guarded by this
    private long since;
    private int count;

    /**
     * Nothing was warned of yet.
     *
     * @param clock nanoseconds from some moment on
     */
    Complaints(Logger log, LongSupplier clock) {
        this.log = log;
        this.clock = clock;
        since = clock.getAsLong();
    }

    /** Logs a warning, or only counts it. */
    synchronized void warn(String message) {
        long now = clock.getAsLong();
        if (now - since >= MINUTE_NANOS) {
            if (count > MOST) {
                log.warn("{} more warnings like these were left out", count - MOST);
            }
            since = now;
            count = 0;
        }
        if (++count <= MOST) {
            log.warn(message);
        } else {
            log.debug(message);
        }
    }
}

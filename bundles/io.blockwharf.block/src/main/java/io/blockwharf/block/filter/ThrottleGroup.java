package io.blockwharf.block.filter;

import java.util.List;
import java.util.concurrent.locks.Condition;
import java.util.concurrent.locks.ReentrantLock;
import java.util.function.LongSupplier;

/**
 * How much all nodes of a group together may do: leaky buckets, as QEMU's docs/throttle.txt
 * describes them. Any number of threads.
 *
 * <p>A request is poured into its buckets at once, and waits until what was in them before has
 * leaked to where it may go on. Requests of all nodes therefore go on in the order in which they
 * came, and nobody has to queue them.
 */
final class ThrottleGroup {
    /** Without a burst of its own a bucket takes what may be done in a tenth of a second. */
    private static final double SLICE = 0.1;

    private static final double NANOS = 1e9;

    /** QEMU's {@code THROTTLE_VALUE_MAX}. */
    private static final long MOST = 1_000_000_000_000_000L;

    /**
     * A limit.
     *
     * @param average per second, 0 for none
     * @param burst per second for a while, 0 for none
     * @param burstSeconds how long
     */
    record Rate(long average, long burst, long burstSeconds) {
        private void check() {
            if (average < 0 || burst < 0 || average > MOST || burst > MOST) {
                throw new IllegalArgumentException(
                        "bps/iops/max values must be within [0, " + MOST + "]");
            } else if (burstSeconds == 0) {
                throw new IllegalArgumentException("the burst length cannot be 0");
            } else if (burstSeconds > 1 && burst == 0) {
                throw new IllegalArgumentException("burst length set without burst rate");
            } else if (burst > 0 && burstSeconds > MOST / burst) {
                throw new IllegalArgumentException("burst length too high for this burst rate");
            } else if (burst > 0 && average == 0) {
                throw new IllegalArgumentException(
                        "bps_max/iops_max require corresponding bps/iops values");
            } else if (burst > 0 && burst < average) {
                throw new IllegalArgumentException(
                        "bps_max/iops_max cannot be lower than bps/iops");
            }
        }
    }

    /** Limits of reads and writes together, of reads, and of writes. */
    record Rates(Rate total, Rate read, Rate write) {
        private boolean mixed() {
            return total.average > 0 && (read.average > 0 || write.average > 0)
                    || total.burst > 0 && (read.burst > 0 || write.burst > 0);
        }

        private boolean limited() {
            return total.average > 0 || read.average > 0 || write.average > 0;
        }

        private List<Rate> all() {
            return List.of(total, read, write);
        }
    }

    /**
     * What is limited.
     *
     * @param operationBytes a request counts as one operation for each so many bytes; 0: always one
     */
    record Limits(Rates operations, Rates bytes, long operationBytes) {
        /** Refuses what does not go together. */
        Limits {
            if (operations.mixed() || bytes.mixed()) {
                throw new IllegalArgumentException(
                        "bps/iops/max total values and read/write values cannot be used at the same"
                                + " time");
            }
            if (operationBytes > 0 && !operations.limited()) {
                throw new IllegalArgumentException("iops size requires an iops value to be set");
            }
            bytes.all().forEach(Rate::check);
            operations.all().forEach(Rate::check);
        }

        boolean none() {
            return !operations.limited() && !bytes.limited();
        }
    }

    /** What was done lately under one limit. */
    private static final class Bucket {
        private final Rate rate;
        private double level;
        private double burstLevel;

        Bucket(Rate rate) {
            this.rate = rate;
        }

        void leak(double seconds) {
            level = Math.max(level - rate.average * seconds, 0);
            burstLevel = Math.max(burstLevel - rate.burst * seconds, 0);
        }

        /** Seconds until a request may go on that comes now. */
        double delay() {
            if (rate.average == 0) {
                return 0;
            } else if (rate.burst == 0) {
                return Math.max(0, (level - rate.average * SLICE) / rate.average);
            }
            double over = level - (double) rate.burst * rate.burstSeconds;
            if (over > 0 || rate.burstSeconds == 1) {
                return Math.max(0, over / rate.average);
            }
            return Math.max(0, (burstLevel - rate.burst * SLICE) / rate.burst);
        }

        void pour(double units) {
            if (rate.average > 0) {
                level += units;
                burstLevel += units;
            }
        }
    }

    private static final class Buckets {
        private final Bucket total;
        private final Bucket read;
        private final Bucket write;

        Buckets(Rates rates) {
            total = new Bucket(rates.total);
            read = new Bucket(rates.read);
            write = new Bucket(rates.write);
        }

        void leak(double seconds) {
            total.leak(seconds);
            read.leak(seconds);
            write.leak(seconds);
        }

        double delay(boolean isWrite) {
            return Math.max(total.delay(), (isWrite ? write : read).delay());
        }

        void pour(boolean isWrite, double units) {
            total.pour(units);
            (isWrite ? write : read).pour(units);
        }
    }

    private final LongSupplier clock;
    private final ReentrantLock lock = new ReentrantLock();
    private final Condition changed = lock.newCondition();

    // Written under the lock
    private volatile Limits limits;
    private Buckets operations;
    private Buckets bytes;
    private long leaked;

    /** A group by the system's clock. */
    ThrottleGroup(Limits limits) {
        this(limits, System::nanoTime);
    }

    /**
     * A group.
     *
     * @param clock nanoseconds that pass
     */
    ThrottleGroup(Limits limits, LongSupplier clock) {
        this.clock = clock;
        limits(limits);
    }

    Limits limits() {
        return limits;
    }

    /** Begins anew with other limits; who waits under the old ones goes on. */
    void limits(Limits next) {
        lock.lock();
        try {
            limits = next;
            operations = new Buckets(next.operations);
            bytes = new Buckets(next.bytes);
            leaked = clock.getAsLong();
            changed.signalAll();
        } finally {
            lock.unlock();
        }
    }

    /** Whether nothing is limited. */
    boolean unlimited() {
        return limits.none();
    }

    /**
     * Counts a request in.
     *
     * @return how many nanoseconds it has to wait, from now
     */
    long admit(boolean isWrite, long length) {
        lock.lock();
        try {
            long now = clock.getAsLong();
            double seconds = (now - leaked) / NANOS;
            leaked = now;
            operations.leak(seconds);
            bytes.leak(seconds);
            double delay = Math.max(operations.delay(isWrite), bytes.delay(isWrite));
            long unit = limits.operationBytes;
            operations.pour(isWrite, unit > 0 && length > unit ? (double) length / unit : 1);
            bytes.pour(isWrite, length);
            return (long) Math.ceil(delay * NANOS);
        } finally {
            lock.unlock();
        }
    }

    /** Counts a request in and waits until it may go on. */
    void await(boolean isWrite, long length) {
        if (unlimited()) {
            return;
        }
        boolean interrupted = false;
        lock.lock();
        try {
            Limits mine = limits;
            long left = admit(isWrite, length);
            while (left > 0 && limits == mine) {
                try {
                    left = changed.awaitNanos(left);
                } catch (InterruptedException e) {
                    // A request is carried out, whatever its thread is told meanwhile
                    interrupted = true;
                }
            }
        } finally {
            lock.unlock();
            if (interrupted) {
                Thread.currentThread().interrupt();
            }
        }
    }
}

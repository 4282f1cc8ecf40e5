package io.blockwharf.linux;

import java.util.Optional;

/**
 * An eventfd that a peer has sent and that is raised for it. The flags of such a descriptor are the
 * peer's too: it may fill the counter and make it blocking at any moment, and a thread that writes
 * to it would wait as long as the peer likes. So the kernel raises it, as it does when a request on
 * a ring completes, which never waits. Where there is no io_uring it is written to after all.
 *
 * <p>One thread rings, always the same; another one may make and close it. Nothing is allocated.
 */
public final class Doorbell implements AutoCloseable {
    private final EventFd event;

    /** Empty without io_uring. Changed by the first ring, to one of the thread that rings. */
    private Optional<IoUring> ring;

    private boolean rung;

    private Doorbell(EventFd event, Optional<IoUring> ring) {
        this.event = event;
        this.ring = ring;
    }

    /**
     * Takes over a descriptor that was received. It is closed with this object, and also if this
     * fails.
     *
     * @throws LinuxException EINVAL if it is no eventfd
     */
    public static Doorbell of(int fd) throws LinuxException {
        var event = EventFd.of(fd);
        Optional<IoUring> ring = open();
        try {
            if (ring.isPresent()) {
                ring.get().registerEventFd(fd);
            } else {
                event.blocking(false);
            }
            return new Doorbell(event, ring);
        } catch (LinuxException e) {
            ring.ifPresent(IoUring::close);
            event.close();
            throw e;
        }
    }

    private static Optional<IoUring> open() {
        try {
            return Optional.of(IoUring.open(1));
        } catch (LinuxException e) {
            return Optional.empty(); // forbidden or missing: see above
        }
    }

    /** Raises the eventfd. A counter that is full stays so. */
    public void ring() throws LinuxException {
        if (ring.isEmpty()) {
            event.signal();
            return;
        }
        if (!rung) {
            rung = true;
            takeOver();
        }
        IoUring own = ring.get();
        own.nop(0, 0);
        own.submitImmediate();
        while (own.next()) {
            // nothing to learn: its completion is what raised the eventfd
        }
    }

    /** Exchanges the ring for a cheaper one that is this thread's, if there is one to be had. */
    private void takeOver() {
        try {
            var own = IoUring.openForThisThread(1);
            try {
                own.registerEventFd(event.fd());
                ring.get().close();
                ring = Optional.of(own);
            } catch (LinuxException e) {
                own.close();
            }
        } catch (LinuxException e) {
            // Linux before 6.1, or no descriptor left: the ring that is there does as well
        }
    }

    @Override
    public void close() {
        ring.ifPresent(IoUring::close);
        event.close();
    }
}

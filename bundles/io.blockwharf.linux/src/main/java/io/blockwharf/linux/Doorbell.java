package io.blockwharf.linux;

import java.util.Optional;

/**
 * An eventfd that a peer has sent and that is raised for it. The flags of such a descriptor are the
 * peer's too: it may fill the counter and make it blocking at any moment, and a thread that writes
 * to it would wait as long as the peer likes. So the kernel raises it, as it does when a request on
 * a ring completes, which never waits. Where there is no io_uring it is written to after all.
 *
 * <p>One thread rings at a time. Nothing is allocated.
 */
public final class Doorbell implements AutoCloseable {
    private final EventFd event;
    private final Optional<IoUring> ring;

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
        IoUring own = ring.get();
        own.nop(0, 0);
        own.submit();
        while (own.next()) {
            // nothing to learn: its completion is what raised the eventfd
        }
    }

    @Override
    public void close() {
        ring.ifPresent(IoUring::close);
        event.close();
    }
}

package io.blockwharf.nbd.client;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.SocketAddress;
import io.blockwharf.nbd.link.Link;
import io.blockwharf.nbd.link.PlainLink;
import io.blockwharf.nbd.link.TlsLink;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Supplier;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLException;

/**
 * An effort to reach a server, on a thread of its own: connecting and negotiating wait, and a call
 * that waits in the kernel cannot always be ended. Whoever gives up leaves the thread behind, which
 * ends when its call does.
 */
final class Attempt {
    private static final long FIRST_PAUSE_MILLIS = 100;
    private static final long LONGEST_PAUSE_MILLIS = 1000;

    /**
     * Where a server is and what is wanted of it.
     *
     * @param engine makes the client's side of TLS, if there is to be TLS
     */
    record Target(
            SocketAddress address,
            String export,
            String context,
            boolean contextRequired,
            Optional<Supplier<SSLEngine>> engine) {}

    private final Target target;
    private final Runnable ended;

    // Guarded by this
    private boolean again;
    private boolean abandoned;
    private FdSocket negotiating;
    private IOException failure;
    private Negotiation.Outcome outcome;
    private boolean over;

    private Attempt(Target target, boolean again, Runnable ended) {
        this.target = target;
        this.again = again;
        this.ended = ended;
    }

    /**
     * Begins.
     *
     * @param again whether to try again and again until {@link #abandon}
     * @param pause milliseconds to wait first
     * @param ended told on another thread when it is over
     */
    static Attempt start(String name, Target target, boolean again, long pause, Runnable ended) {
        Attempt attempt = new Attempt(target, again, ended);
        Thread.ofPlatform()
                .daemon()
                .name("blockwharf-" + name + "-connect")
                .start(() -> attempt.run(pause));
        return attempt;
    }

    private void run(long firstPause) {
        pause(firstPause);
        long pause = FIRST_PAUSE_MILLIS;
        while (!tried()) {
            pause(pause);
            pause = Math.min(2 * pause, LONGEST_PAUSE_MILLIS);
        }
        ended.run();
    }

    private synchronized void pause(long millis) {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        while (!abandoned && end - System.nanoTime() > 0) {
            try {
                TimeUnit.NANOSECONDS.timedWait(this, Math.max(1, end - System.nanoTime()));
            } catch (InterruptedException e) {
                return; // nobody interrupts this thread; if somebody does, it means nothing
            }
        }
    }

    /** Whether that was all. */
    private boolean tried() {
        try {
            Negotiation.Outcome agreed = reach();
            synchronized (this) {
                negotiating = null;
                if (abandoned) {
                    agreed.link().close();
                } else {
                    outcome = agreed;
                }
                over = true;
                notifyAll();
                return true;
            }
        } catch (IOException | RuntimeException | Error e) {
            synchronized (this) {
                failure =
                        e instanceof IOException expected
                                ? expected
                                : new IOException("unexpected failure: " + e, e);
                over = abandoned || !again;
                notifyAll();
                return over;
            }
        }
    }

    private Negotiation.Outcome reach() throws IOException {
        FdSocket socket = FdSocket.connect(target.address());
        Negotiation.Wish wish =
                new Negotiation.Wish(
                        target.export(),
                        target.context(),
                        target.contextRequired(),
                        target.engine().map(engine -> () -> secure(socket, engine.get())));
        try (Arena arena = Arena.ofConfined()) {
            Negotiation negotiation = new Negotiation(new PlainLink(socket), wish, arena);
            try {
                synchronized (this) {
                    if (abandoned) {
                        throw new IOException("given up");
                    }
                    negotiating = socket;
                }
                // "both the client and server SHOULD disable Nagle's algorithm"
                socket.noDelay(true);
                Negotiation.Outcome agreed = negotiation.run();
                agreed.link().blocking(false);
                return agreed;
            } catch (IOException | RuntimeException | Error e) {
                synchronized (this) {
                    negotiating = null;
                }
                negotiation.link().close();
                throw e;
            }
        }
    }

    private static Link secure(FdSocket socket, SSLEngine engine) throws IOException {
        String check = engine.getSSLParameters().getEndpointIdentificationAlgorithm();
        String host = engine.getPeerHost();
        if (check != null && !check.isEmpty() && (host == null || host.isEmpty())) {
            throw new Refusal("No hostname for certificate validation", "");
        }
        try {
            return TlsLink.open(socket, engine);
        } catch (SSLException e) {
            throw new IOException("TLS handshake failed: " + e.getMessage(), e);
        }
    }

    // --- For its owner -----------------------------------------------------------------------

    /** Waits for its end, or until the time is over. */
    synchronized void await(long millis) {
        long end = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(millis);
        boolean interrupted = false;
        while (!over && end - System.nanoTime() > 0) {
            try {
                TimeUnit.NANOSECONDS.timedWait(this, Math.max(1, end - System.nanoTime()));
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    /** Whether it has ended. */
    synchronized boolean over() {
        return over;
    }

    /** What was agreed on; the caller owns the link. Empty if it has failed, or is not over. */
    synchronized Optional<Negotiation.Outcome> take() {
        Optional<Negotiation.Outcome> taken = Optional.ofNullable(outcome);
        outcome = null;
        return taken;
    }

    /** Why the last try failed; empty if none has. */
    synchronized Optional<IOException> failure() {
        return Optional.ofNullable(failure);
    }

    /** Gives up; what comes later is closed. Idempotent. */
    synchronized void abandon() {
        abandoned = true;
        again = false;
        if (negotiating != null) {
            negotiating.shutdown();
        }
        take().ifPresent(agreed -> agreed.link().close());
        notifyAll();
    }
}

package io.blockwharf.nbd.client;

import io.blockwharf.api.block.Errno;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;
import io.blockwharf.nbd.wire.TransmissionFlags;

import org.osgi.service.log.Logger;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.ProtocolException;
import java.util.Optional;
import java.util.concurrent.TimeUnit;

/**
 * An export of a server, whether there is a connection to it at the moment or not.
 *
 * <p>Requests may be submitted from any thread and never wait here: what the socket does not take
 * at once is sent by the one thread that also receives, tells the owners, and follows the
 * connection's fate. While there is no connection, requests are parked:
 *
 * <ul>
 *   <li>after a loss, up to {@code reconnect-delay} seconds, during which the server is tried again
 *       and again; then they fail, and so do those that come before it is back
 *   <li>without that option the requests under way fail at once, and the next one tries the server
 *       once more
 *   <li>a server that breaks the protocol gets none of its requests twice
 * </ul>
 */
final class Remote implements AutoCloseable {
    /** How long one effort may take that nobody has set a time for. */
    private static final long LIMIT_MILLIS = 30_000;

    /** A connection that did not live longer is not replaced at once. */
    private static final long SHORT_LIFE_NANOS = TimeUnit.SECONDS.toNanos(1);

    private static final long PAUSE_MILLIS = 500;

    private final String name;
    private final Attempt.Target target;
    private final Terms terms;

    /** Whether users write, so that a server has to let them. */
    private volatile boolean writes;

    private final long delayNanos;
    private final Logger logger;
    private final EventFd signal;
    private final Thread thread;
    private final Poll poll = new Poll(2);

    // Guarded by this

    /** Null while there is none. */
    private Connection connection;

    private long connectedAt;

    /** Why the connection has to be given up, seen by a thread that sent; null if it has not. */
    private IOException broken;

    /** Null while nobody tries. */
    private Attempt attempt;

    private long attemptEnd;

    /** Requests are parked until {@link #windowEnd}, rather than until one attempt has failed. */
    private boolean window;

    private long windowEnd;
    private Request parked;
    private Request lastParked;
    private boolean closing;
    private boolean closed;

    /** The log tells of this absence already. */
    private boolean complained;

    private Remote(
            String name,
            Attempt.Target target,
            Negotiation.Outcome agreed,
            boolean writes,
            long delaySeconds,
            Logger logger)
            throws LinuxException {
        this.name = name;
        this.target = target;
        this.writes = writes;
        this.logger = logger;
        terms = agreed.terms();
        delayNanos = TimeUnit.SECONDS.toNanos(delaySeconds);
        signal = EventFd.open();
        connect(agreed);
        thread = Thread.ofPlatform().daemon().name("blockwharf-" + name).unstarted(this::run);
    }

    /**
     * Reaches the server for the first time; waits.
     *
     * @param openSeconds how long to try again and again; 0 for one try
     * @param delaySeconds {@code reconnect-delay}
     * @param readOnly whether nothing will be written, even where the server lets us
     * @throws IOException why the last try failed
     */
    static Remote open(
            String name,
            Attempt.Target target,
            long openSeconds,
            long delaySeconds,
            boolean readOnly,
            Logger logger)
            throws IOException {
        Attempt first = Attempt.start(name, target, openSeconds > 0, 0, () -> {});
        first.await(openSeconds > 0 ? TimeUnit.SECONDS.toMillis(openSeconds) : LIMIT_MILLIS);
        var agreed = first.take();
        if (agreed.isEmpty()) {
            // Giving up fails it as well: that is not why
            Optional<IOException> failure = first.failure();
            first.abandon();
            throw failure.orElseGet(
                    () ->
                            new IOException(
                                    "Failed to connect to '%s': no answer"
                                            .formatted(target.address().text())));
        }
        boolean writes = !readOnly && !agreed.get().terms().has(TransmissionFlags.READ_ONLY);
        Remote remote;
        try {
            remote = new Remote(name, target, agreed.get(), writes, delaySeconds, logger);
        } catch (LinuxException e) {
            agreed.get().link().close();
            throw e;
        }
        remote.thread.start();
        return remote;
    }

    /** What was agreed on at first; what a later connection has is not worse. */
    Terms terms() {
        return terms;
    }

    /** Whether there is a connection at this moment. */
    synchronized boolean connected() {
        return connection != null;
    }

    // --- Requests ----------------------------------------------------------------------------

    /** Begins a chain of requests, linked by {@link Request#next}. From any thread. */
    void submit(Request chain) {
        boolean wake;
        synchronized (this) {
            if (closing) {
                throw new IllegalStateException("closed");
            }
            wake = connection == null ? park(chain) : send(chain);
        }
        if (wake) {
            wake();
        }
    }

    /** Whether the thread has something to do about it. */
    private boolean send(Request chain) {
        boolean before = connection.stalled();
        startAll(chain);
        try {
            if (broken == null) {
                connection.pump();
            }
        } catch (IOException e) {
            broken = e;
            return true;
        }
        return connection.anyFinished() || connection.stalled() != before;
    }

    private void startAll(Request chain) {
        for (Request request = chain; request != null; ) {
            Request next = request.next;
            connection.start(request);
            request = next;
        }
    }

    private boolean park(Request chain) {
        for (Request request = chain; request != null; request = request.next) {
            if (lastParked == null) {
                parked = request;
            } else {
                lastParked.next = request;
            }
            lastParked = request;
        }
        if (attempt == null && parked != null) {
            attemptEnd = System.nanoTime() + TimeUnit.MILLISECONDS.toNanos(LIMIT_MILLIS);
            attempt = Attempt.start(name, target, false, 0, this::wake);
        }
        return true;
    }

    private Request unpark() {
        Request chain = parked;
        parked = null;
        lastParked = null;
        return chain;
    }

    private void wake() {
        synchronized (this) {
            if (closed) {
                return;
            }
            try {
                signal.signal();
            } catch (LinuxException e) {
                throw new UncheckedIOException(e); // an eventfd that is open can be written
            }
        }
    }

    // --- The thread --------------------------------------------------------------------------

    private void run() {
        try {
            Connection current = next();
            while (current != null || !isClosing()) {
                await(current);
                if (current != null) {
                    serve(current);
                }
                current = next();
            }
        } catch (IOException | RuntimeException | Error e) {
            logger.error("{}: the connection's thread fails", name, e);
            fail(e);
        }
    }

    private synchronized boolean isClosing() {
        return closing;
    }

    /** A mistake of ours: nobody is to wait for ever. */
    private void fail(Throwable bug) {
        Request chain;
        synchronized (this) {
            closing = true;
            chain = connection == null ? null : failed(connection.close(false));
            connection = null;
        }
        tell(chain);
        synchronized (this) {
            chain = failed(unpark());
        }
        tell(chain);
    }

    /** Does what has come up. Returns the connection to serve; null for none. */
    private Connection next() {
        Request chain;
        Connection current;
        synchronized (this) {
            chain = follow();
            current = closing ? null : connection;
        }
        tell(chain);
        return current;
    }

    private void await(Connection current) throws IOException {
        int wanted = 0;
        int timeout = -1;
        synchronized (this) {
            if (current != null) {
                wanted = Poll.IN | (current.stalled() ? Poll.OUT : 0);
                timeout = current.hasInput() || current.anyFinished() ? 0 : -1;
            } else if (attempt != null) {
                long left = attemptEnd - System.nanoTime();
                timeout = Math.clamp(TimeUnit.NANOSECONDS.toMillis(left) + 1, 0, 60_000);
            }
        }
        poll.set(0, signal.fd(), Poll.IN);
        poll.set(1, current == null ? -1 : current.fd(), wanted);
        poll.await(timeout);
        if (poll.events(0) != 0) {
            signal.clear();
        }
    }

    /** Sends and receives what can be. */
    private void serve(Connection current) {
        IOException end = null;
        try {
            int events = poll.events(1);
            if ((events & Poll.OUT) != 0) {
                synchronized (this) {
                    current.pump();
                }
            }
            if ((events & ~Poll.OUT) != 0 || current.hasInput()) {
                current.receive();
            }
            synchronized (this) {
                if (broken == null) {
                    current.pump(); // the next commands of requests that take several
                }
            }
        } catch (IOException e) {
            end = e;
        } catch (RuntimeException e) {
            logger.error("{}: replies are misunderstood", name, e);
            end = new ProtocolException("unexpected failure: " + e);
        }
        Request chain;
        synchronized (this) {
            chain = current.takeFinished();
            broken = end == null ? broken : end;
        }
        tell(chain);
    }

    private static void tell(Request chain) {
        for (Request request = chain; request != null; ) {
            Request next = request.next;
            request.next = null;
            request.owner.finished(request);
            request = next;
        }
    }

    /** Makes a chain of requests fail. */
    private static Request failed(Request chain) {
        for (Request request = chain; request != null; request = request.next) {
            request.fail(Errno.EIO);
        }
        return chain;
    }

    // --- The connection's fate ---------------------------------------------------------------

    /** Follows it. Returns the requests whose owners are to be told. */
    private Request follow() {
        if (connection != null && broken != null) {
            return lost();
        } else if (connection == null && attempt != null && attempt.over()) {
            return reached();
        } else if (connection == null && attempt != null && attemptEnd - System.nanoTime() <= 0) {
            attempt.abandon();
            attempt = null;
            window = false;
            logger.warn("{}: {} does not come back", name, target.address().text());
            return failed(unpark());
        }
        return null;
    }

    private Request lost() {
        IOException why = broken;
        broken = null;
        Request told = connection.takeFinished();
        boolean progress = connection.progress();
        Request open = connection.close(false);
        connection = null;
        logger.warn("{}: lost {}: {}", name, target.address().text(), why.getMessage());
        if (delayNanos == 0 || closing || why instanceof ProtocolException) {
            window = false;
            return chained(told, failed(open));
        }
        long now = System.nanoTime();
        // Whoever accepts us only to hang up on the same requests does not get for ever
        if (!window || progress || open == null) {
            window = true;
            windowEnd = now + delayNanos;
        }
        attemptEnd = windowEnd;
        long pause = now - connectedAt < SHORT_LIFE_NANOS ? PAUSE_MILLIS : 0;
        attempt = Attempt.start(name, target, true, pause, this::wake);
        park(open);
        return told;
    }

    private Request reached() {
        var agreed = attempt.take();
        String failure = attempt.failure().map(IOException::getMessage).orElse("");
        attempt = null;
        if (agreed.isPresent()) {
            failure = mismatch(agreed.get().terms());
            if (failure.isEmpty()) {
                connect(agreed.get());
                logger.info("{}: reached {} again", name, target.address().text());
                startAll(unpark());
                try {
                    connection.pump();
                } catch (IOException e) {
                    broken = e;
                    return lost();
                }
                return connection.takeFinished();
            }
            agreed.get().link().close();
        }
        if (!complained) {
            complained = true;
            logger.warn("{}: cannot reach {}: {}", name, target.address().text(), failure);
        }
        window = false;
        return failed(unpark());
    }

    /** From now on users write, or write no more. */
    void writes(boolean will) {
        writes = will;
    }

    /** Why users cannot go on with what a server offers now; empty if they can. */
    private String mismatch(Terms now) {
        if (!now.replace(terms)) {
            return "the export has another size or other block sizes than it had";
        }
        return writes && now.has(TransmissionFlags.READ_ONLY)
                ? "request on write denied without write permission"
                : "";
    }

    private synchronized void connect(Negotiation.Outcome agreed) {
        connection =
                new Connection(
                        this,
                        agreed.link(),
                        agreed.terms(),
                        target.engine().isPresent(),
                        delayNanos > 0);
        complained = false;
        connectedAt = System.nanoTime();
    }

    private static Request chained(Request first, Request second) {
        if (first == null) {
            return second;
        }
        Request last = first;
        while (last.next != null) {
            last = last.next;
        }
        last.next = second;
        return first;
    }

    /** Leaves the server. No requests are under way. */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closing = true;
        }
        wake();
        boolean interrupted = false;
        while (thread.isAlive()) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        synchronized (this) {
            if (attempt != null) {
                attempt.abandon();
                attempt = null;
            }
            if (connection != null) {
                connection.close(true);
                connection = null;
            }
            closed = true;
            signal.close();
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }
}

package io.blockwharf.core.control;

import org.osgi.service.component.annotations.Component;

import java.util.concurrent.locks.ReentrantLock;

/**
 * The one lock of the control plane. Commands run under it, and so does whatever else changes
 * nodes, exports or objects: the coming and going of drivers, an export that ends by itself.
 * Threads that serve an export never take it.
 *
 * <pre>{@code
 * try (var _ = lock.take()) {
 *     …
 * }
 * }</pre>
 */
@Component(service = ControlLock.class)
public final class ControlLock {
    /** The lock, taken. */
    public interface Held extends AutoCloseable {
        /** Gives it back, on the thread that took it. */
        @Override
        void close();
    }

    private final ReentrantLock lock = new ReentrantLock();
    private final Held held = lock::unlock;

    /** Waits for the lock. Reentrant: as many closes as takes. */
    public Held take() {
        lock.lock();
        return held;
    }

    /** Whether this thread has the lock. */
    public boolean heldByCurrentThread() {
        return lock.isHeldByCurrentThread();
    }
}

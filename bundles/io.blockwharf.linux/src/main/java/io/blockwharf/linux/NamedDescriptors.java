package io.blockwharf.linux;

import java.util.HashMap;
import java.util.Map;
import java.util.Optional;

/**
 * The descriptors that clients of one monitor passed and gave names to ({@code getfd}). While a
 * command of that monitor is carried out ({@link #during}), {@link SocketAddress.Fd} means a name
 * in here, and whoever opens the address owns the descriptor from then on; a number means nothing
 * to somebody at the other end of a socket. Thread-safe.
 */
public final class NamedDescriptors implements AutoCloseable {
    /** Far more than anybody prepares; a client must not fill the descriptor table. */
    public static final int MAX = 256;

    private static final ScopedValue<NamedDescriptors> CURRENT = ScopedValue.newInstance();

    private final Map<String, Descriptor> byName = new HashMap<>();

    /** No descriptors. */
    public NamedDescriptors() {}

    /** Those of the command that this thread carries out; empty outside {@link #during}. */
    static Optional<NamedDescriptors> current() {
        return CURRENT.isBound() ? Optional.of(CURRENT.get()) : Optional.empty();
    }

    /**
     * Calls {@code operation} so that addresses never mean numbers: names of the set that this
     * thread is {@link #during} an operation of, or nothing.
     */
    public static <R, X extends Throwable> R withoutNumbers(ScopedValue.CallableOp<R, X> operation)
            throws X {
        return CURRENT.isBound()
                ? operation.call()
                : ScopedValue.where(CURRENT, new NamedDescriptors()).call(operation);
    }

    /** Calls {@code operation} with addresses that mean names in here. */
    public <R, X extends Throwable> R during(ScopedValue.CallableOp<R, X> operation) throws X {
        return ScopedValue.where(CURRENT, this).call(operation);
    }

    /**
     * Names a descriptor, and closes what had that name before.
     *
     * @param descriptor belongs to this object, also if it is refused
     * @throws LinuxException if the name begins with a digit, or there are {@link #MAX}
     */
    public void put(String name, Descriptor descriptor) throws LinuxException {
        Optional<Descriptor> before;
        synchronized (this) {
            boolean number = !name.isEmpty() && name.charAt(0) >= '0' && name.charAt(0) <= '9';
            if (number || !byName.containsKey(name) && byName.size() == MAX) {
                descriptor.close();
                throw number
                        ? LinuxException.sentence(
                                "Parameter 'fdname' expects a name not starting with a digit",
                                Errnos.EINVAL)
                        : LinuxException.sentence(
                                "Too many file descriptors with names", Errnos.EMFILE);
            }
            before = Optional.ofNullable(byName.put(name, descriptor));
        }
        before.ifPresent(Descriptor::close);
    }

    /** Closes the descriptor of that name; false if there is none. */
    public boolean drop(String name) {
        Optional<Descriptor> dropped = take(name);
        dropped.ifPresent(Descriptor::close);
        return dropped.isPresent();
    }

    /** Hands over the descriptor of that name; empty if there is none. */
    synchronized Optional<Descriptor> take(String name) {
        return Optional.ofNullable(byName.remove(name));
    }

    /** Closes all of them. Idempotent. */
    @Override
    public synchronized void close() {
        byName.values().forEach(Descriptor::close);
        byName.clear();
    }
}

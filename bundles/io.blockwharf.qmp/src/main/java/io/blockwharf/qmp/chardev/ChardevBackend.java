package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Wrapped;
import io.blockwharf.linux.SocketAddress;

import java.util.Optional;

/** QAPI {@code ChardevBackend}: the kinds of chardevs that there are. */
public sealed interface ChardevBackend {
    /**
     * Output goes to a file.
     *
     * @param in path of the file that input comes from (default: there is no input)
     * @param out its path
     * @param append whether to keep what the file has (default false)
     */
    record File(Optional<String> in, String out, Optional<Boolean> append)
            implements ChardevBackend {}

    /** No input; output is dropped. */
    record Null() implements ChardevBackend {}

    /**
     * Another name of {@link Ringbuf}.
     *
     * @param size as there
     */
    record Memory(Optional<Long> size) implements ChardevBackend {}

    /**
     * A FIFO for each direction, which must exist: {@code DEVICE.in} and {@code DEVICE.out}. If one
     * of them does not, {@code DEVICE} is both.
     *
     * @param device the path
     */
    record Pipe(String device) implements ChardevBackend {}

    /** A new pseudo terminal, whose device {@code chardev-add} returns. */
    record Pty() implements ChardevBackend {}

    /**
     * No input; the last output is kept for {@code ringbuf-read}.
     *
     * @param size bytes that are kept, a power of two (default 65536)
     */
    record Ringbuf(Optional<Long> size) implements ChardevBackend {}

    /**
     * A stream socket.
     *
     * @param addr where to listen or connect
     * @param server whether to listen (default true)
     * @param wait_ whether to wait for a client before going on (default false)
     * @param nodelay whether to send small packets at once, on TCP (default false)
     * @param reconnect seconds from the end of a connection to the next attempt; 0 (the default):
     *     none
     * @param reconnectMs the same in milliseconds
     */
    record Socket(
            @Wrapped SocketAddress addr,
            Optional<Boolean> server,
            Optional<Boolean> wait_,
            Optional<Boolean> nodelay,
            Optional<Long> reconnect,
            Optional<Long> reconnectMs)
            implements ChardevBackend {}

    /**
     * Standard input and output.
     *
     * @param signal whether the terminal's interrupt key ends the daemon (default true)
     */
    record Stdio(Optional<Boolean> signal) implements ChardevBackend {}
}

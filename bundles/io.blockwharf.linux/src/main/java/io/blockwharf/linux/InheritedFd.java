package io.blockwharf.linux;

/**
 * A descriptor that the parent process left open under a number that the user tells. Taking it
 * keeps it from child processes. Whoever gets its number closes it.
 *
 * @param fd the number
 */
public record InheritedFd(int fd) {

    /**
     * Takes descriptor {@code fd}.
     *
     * @throws LinuxException EBADF if it is not open
     */
    public static InheritedFd take(int fd) throws LinuxException {
        Descriptor.closeOnExec(fd);
        return new InheritedFd(fd);
    }

    /**
     * Takes the descriptor of an address; of a name in {@link ActivatedSockets} the first one,
     * which stays the process's.
     *
     * @throws LinuxException EBADF if it is not open
     * @throws NumberFormatException if it is neither a number nor such a name
     */
    public static InheritedFd take(SocketAddress.Fd address) throws LinuxException {
        return address.isActivated()
                ? new InheritedFd(ActivatedSockets.named(address.str()).getFirst())
                : take(Integer.parseInt(address.str()));
    }

    /** Whether it is a socket of any kind. */
    public boolean isSocket() {
        return SocketName.option(fd, Libc.SOL_SOCKET, Libc.SO_TYPE) >= 0;
    }

    /** Whether it is a socket that accepts connections. */
    public boolean isListening() {
        return SocketName.option(fd, Libc.SOL_SOCKET, Libc.SO_ACCEPTCONN) > 0;
    }

    /** Whether it is a terminal. */
    public boolean isTerminal() {
        return Libc.isatty(fd) == 1;
    }
}

package io.blockwharf.linux;

import com.sun.jna.Native;

import java.io.IOException;

/**
 * A system call that failed. The message is the sentence about what was attempted, then a colon and
 * the C library's text: {@code "Failed to bind socket to /x: No such file or directory"}.
 */
public final class LinuxException extends IOException {
    private final int errno;

    /**
     * A failure of {@code what} with the error number {@code errno}.
     *
     * @param errno positive error number, see {@link Errnos}
     */
    public LinuxException(String what, int errno) {
        this(errno, what + ": " + Errnos.text(errno));
    }

    private LinuxException(int errno, String message) {
        super(message);
        this.errno = errno;
    }

    /** A failure whose sentence is complete without the text of an error number. */
    static LinuxException sentence(String message, int errno) {
        return new LinuxException(errno, message);
    }

    /** The failure of the JNA call that this thread made last. */
    static LinuxException last(String what) {
        return new LinuxException(what, Native.getLastError());
    }

    /**
     * Passes the result of a call of {@link Libc} on, unless it says that the call failed.
     *
     * @throws LinuxException if {@code result} is negative
     */
    static int check(int result, String what) throws LinuxException {
        if (result < 0) {
            throw last(what);
        }
        return result;
    }

    /**
     * Passes the result of a call of {@link HotCalls} on, unless it is a negated error number.
     *
     * @throws LinuxException if {@code result} is negative
     */
    static long checkHot(long result, String what) throws LinuxException {
        if (result < 0) {
            throw new LinuxException(what, (int) -result);
        }
        return result;
    }

    /** The error number, one of {@link Errnos} or another positive number. */
    public int errno() {
        return errno;
    }

    /** The symbolic name of the error number, such as {@code "ENOENT"}. */
    public String errnoName() {
        return Errnos.name(errno);
    }

    /** Whether this is the error {@code expected}, one of {@link Errnos}. */
    public boolean is(int expected) {
        return errno == expected;
    }
}

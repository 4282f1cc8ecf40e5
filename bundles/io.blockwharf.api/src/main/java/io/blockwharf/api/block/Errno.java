package io.blockwharf.api.block;

/**
 * Why a data-plane request failed, by the names of POSIX {@code <errno.h>}; each protocol maps them
 * in one table of its own.
 */
public enum Errno {
    /** It did not fail. */
    OK(0),
    /** Not permitted. */
    EPERM(1),
    /** No such file. */
    ENOENT(2),
    /** Input/output error; also every error without a name here. */
    EIO(5),
    /** No such device. */
    ENXIO(6),
    /** Would block. */
    EAGAIN(11),
    /** Out of memory. */
    ENOMEM(12),
    /** No permission. */
    EACCES(13),
    /** Busy. */
    EBUSY(16),
    /** Invalid request. */
    EINVAL(22),
    /** The file would become too large. */
    EFBIG(27),
    /** No space left. */
    ENOSPC(28),
    /** Read-only. */
    EROFS(30),
    /** Not supported. */
    ENOTSUP(95),
    /** The other end is shutting down. */
    ESHUTDOWN(108),
    /** Timed out. */
    ETIMEDOUT(110),
    /** Over quota. */
    EDQUOT(122),
    /** Cancelled. */
    ECANCELED(125);

    private final int number;

    Errno(int number) {
        this.number = number;
    }

    /** Linux's number on this architecture. */
    public int number() {
        return number;
    }

    /** The name of a Linux error number, {@link #EIO} if it has none here. */
    public static Errno of(int number) {
        for (Errno errno : VALUES) {
            if (errno.number == number) {
                return errno;
            }
        }
        return EIO;
    }

    private static final Errno[] VALUES = values();
}

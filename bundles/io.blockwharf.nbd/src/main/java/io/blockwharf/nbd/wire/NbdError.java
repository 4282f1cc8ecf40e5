package io.blockwharf.nbd.wire;

import io.blockwharf.api.block.Errno;

/** Why a request failed, as the protocol numbers it. proto.md, "Error values". */
public enum NbdError {
    /** Operation not permitted: the export is read-only. */
    EPERM(1),
    /** Input/output error. */
    EIO(5),
    /** Cannot allocate memory. */
    ENOMEM(12),
    /** Invalid argument. */
    EINVAL(22),
    /** No space left on device. */
    ENOSPC(28),
    /** The request or its reply is too large. */
    EOVERFLOW(75),
    /** Not supported: WRITE_ZEROES with FAST_ZERO would not be fast. */
    ENOTSUP(95),
    /** The server is shutting down. */
    ESHUTDOWN(108);

    private final int number;

    NbdError(int number) {
        this.number = number;
    }

    /** The number on the wire. */
    public int number() {
        return number;
    }

    /**
     * Narrows a failure of the data plane to what the protocol knows. EROFS and the full disk go
     * where "Error values" sends them; what has no number of its own is EIO, as it is no fault of
     * the request (QEMU answers EINVAL).
     *
     * @param errno not {@link Errno#OK}
     */
    public static NbdError of(Errno errno) {
        return switch (errno) {
            case OK -> throw new IllegalArgumentException("not a failure");
            case EPERM, EROFS, EACCES -> EPERM;
            case ENOSPC, EDQUOT, EFBIG -> ENOSPC;
            case ENOMEM -> ENOMEM;
            case EINVAL -> EINVAL;
            case ENOTSUP -> ENOTSUP;
            case ESHUTDOWN, ECANCELED -> ESHUTDOWN;
            case EIO, ENOENT, ENXIO, EAGAIN, EBUSY, ETIMEDOUT -> EIO;
        };
    }

    /**
     * What the number in a server's reply means to the data plane; the other direction.
     *
     * @param number not 0
     */
    public static Errno errno(int number) {
        return switch (number) {
            case 1 -> Errno.EPERM;
            case 12 -> Errno.ENOMEM;
            case 22, 75 -> Errno.EINVAL; // EOVERFLOW has no name of its own: longer than allowed
            case 28 -> Errno.ENOSPC;
            case 95 -> Errno.ENOTSUP;
            case 108 -> Errno.ESHUTDOWN;
            default -> Errno.EIO;
        };
    }
}

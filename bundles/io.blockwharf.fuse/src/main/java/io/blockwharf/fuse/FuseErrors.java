package io.blockwharf.fuse;

import io.blockwharf.api.block.Errno;

/** The one translation of failed block requests into what a process sees in {@code errno}. */
final class FuseErrors {
    private FuseErrors() {}

    /** The positive error number. */
    static int of(Errno errno) {
        return switch (errno) {
            // A process that did not ask for non-blocking I/O does not expect these.
            case EAGAIN, ECANCELED -> Errno.EIO.number();
            // As after the end of the file system.
            case ESHUTDOWN -> ENOTCONN;
            case OK, EPERM, ENOENT, EIO, ENXIO, ENOMEM, EACCES, EBUSY, EINVAL, EFBIG, ENOSPC ->
                    errno.number();
            case EROFS, ENOTSUP, ETIMEDOUT, EDQUOT -> errno.number();
        };
    }

    /** The file system is gone, or going. */
    static final int ENOTCONN = 107;

    /** The kernel need not ask again. */
    static final int ENOSYS = 38;
}

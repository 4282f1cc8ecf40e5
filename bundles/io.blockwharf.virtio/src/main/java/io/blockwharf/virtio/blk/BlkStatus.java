package io.blockwharf.virtio.blk;

import io.blockwharf.api.block.Errno;

/** The status byte of a request, section 5.2.6. */
final class BlkStatus {
    static final byte OK = 0;
    static final byte IOERR = 1;
    static final byte UNSUPP = 2;

    private BlkStatus() {}

    /** The one translation from the data plane's errors. */
    static byte of(Errno errno) {
        return switch (errno) {
            case OK -> OK;
            case ENOTSUP -> UNSUPP;
            case EPERM, ENOENT, EIO, ENXIO, EAGAIN, ENOMEM, EACCES, EBUSY, EINVAL -> IOERR;
            case EFBIG, ENOSPC, EROFS, ESHUTDOWN, ETIMEDOUT, EDQUOT, ECANCELED -> IOERR;
        };
    }
}

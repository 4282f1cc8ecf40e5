package io.blockwharf.api.block;

import java.io.IOException;

/** A request to a block device failed. */
public final class BlockIoException extends IOException {
    private static final long serialVersionUID = 1;

    private final Errno errno;

    /** A failure with the reason for people. */
    public BlockIoException(Errno errno, String message) {
        super(message);
        this.errno = errno;
    }

    /** A failure with its cause. */
    public BlockIoException(Errno errno, String message, Throwable cause) {
        super(message, cause);
        this.errno = errno;
    }

    /** The reason for machines. */
    public Errno errno() {
        return errno;
    }
}

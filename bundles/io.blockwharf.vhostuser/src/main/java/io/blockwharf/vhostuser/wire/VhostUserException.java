package io.blockwharf.vhostuser.wire;

/** The front end broke the protocol: a message that cannot be answered ends the connection. */
public final class VhostUserException extends Exception {
    private static final long serialVersionUID = 1;

    /** What it did. */
    public VhostUserException(String message) {
        super(message);
    }
}

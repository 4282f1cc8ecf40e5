package io.blockwharf.it.process;

import java.io.IOException;
import java.net.ServerSocket;

/** TCP ports for the daemon to listen on. */
final class Ports {
    private Ports() {}

    /**
     * A port that was free a moment ago; the kernel hands out others before it comes back to this
     * one.
     */
    static int free() throws IOException {
        try (var socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }
}

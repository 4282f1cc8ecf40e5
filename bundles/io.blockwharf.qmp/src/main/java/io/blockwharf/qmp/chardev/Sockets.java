package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.log.Logger;

/** What sockets that listen and sockets that connect have in common. */
final class Sockets {
    private Sockets() {}

    /** An address as {@code query-chardev} writes it. */
    static String text(SocketAddress address) {
        return switch (address) {
            case SocketAddress.Inet inet -> "tcp:" + inet.text();
            case SocketAddress.Unix unix ->
                    "unix:"
                            + unix.path()
                            + (unix.abstract_().orElse(false)
                                    ? ",abstract=on,tight=" + onOff(unix.tight().orElse(true))
                                    : "");
            case SocketAddress.Fd fd -> fd.text();
            case SocketAddress.Vsock vsock -> vsock.text();
        };
    }

    private static String onOff(boolean on) {
        return on ? "on" : "off";
    }

    static void noDelay(FdSocket socket, boolean on, Logger logger) {
        try {
            if (on) {
                socket.noDelay(true);
            }
        } catch (LinuxException e) {
            logger.info("{}", e.getMessage());
        }
    }
}

package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;
import io.blockwharf.linux.StandardStreams;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.FileOutputStream;
import java.io.IOException;
import java.util.concurrent.TimeUnit;

/**
 * Standard input and output. The end of the input is not the end of the peer: it still gets what
 * happens.
 */
final class StdioPeer implements Peer {
    private static final int INPUT = 0;
    private static final int WAKE = 1;
    private static final long STTY_SECONDS = 5;

    // Not closed: the descriptors belong to the process.
    private final FileInputStream input = new FileInputStream(FileDescriptor.in);
    private final FileOutputStream output = new FileOutputStream(FileDescriptor.out);
    private final EventFd wake;
    private final Poll poll = new Poll(2);
    private final boolean signalsOff;
    private final Runnable onClose;
    private boolean ended;
    private volatile boolean shutDown;

    /**
     * Takes the streams.
     *
     * @param signal whether the terminal's interrupt key sends a signal
     */
    StdioPeer(boolean signal, Runnable onClose) throws LinuxException {
        this.onClose = onClose;
        wake = EventFd.open();
        signalsOff = !signal && StandardStreams.isTerminal();
        if (signalsOff) {
            terminal("-isig");
        }
    }

    @Override
    public int read(byte[] bytes) throws IOException {
        while (!shutDown) {
            poll.set(INPUT, ended ? -1 : 0, Poll.IN);
            poll.set(WAKE, wake.fd(), Poll.IN);
            poll.await(-1);
            if (poll.events(INPUT) != 0 && !shutDown) {
                int n = input.read(bytes);
                if (n > 0) {
                    return n;
                }
                ended = true;
            }
        }
        return -1;
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        output.write(bytes);
    }

    @Override
    public void shutdown() {
        shutDown = true;
        try {
            wake.signal();
        } catch (LinuxException e) {
            // closed: nobody waits
        }
    }

    @Override
    public void close() {
        wake.close();
        if (signalsOff) {
            terminal("isig");
        }
        onClose.run();
    }

    /**
     * termios(3), ISIG, through stty(1), which works on the terminal that is its standard input.
     */
    private static void terminal(String setting) {
        try {
            new ProcessBuilder("stty", setting)
                    .inheritIO()
                    .start()
                    .waitFor(STTY_SECONDS, TimeUnit.SECONDS);
        } catch (IOException e) {
            // Without stty the key works as it did before.
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }
}

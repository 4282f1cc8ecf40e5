package io.blockwharf.shell;

import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;

import java.io.FileDescriptor;
import java.io.FileInputStream;
import java.io.IOException;
import java.io.InputStream;

/** Standard input, which a thread can be woken from. */
final class TerminalInput extends InputStream {
    // Not closed: the descriptor belongs to the process.
    private final FileInputStream input = new FileInputStream(FileDescriptor.in);
    private final EventFd wake;
    private final Poll poll = new Poll(2);

    TerminalInput() throws LinuxException {
        wake = EventFd.open();
    }

    @Override
    public int read() throws IOException {
        byte[] one = new byte[1];
        return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
    }

    @Override
    public int read(byte[] bytes, int offset, int length) throws IOException {
        poll.set(0, 0, Poll.IN);
        poll.set(1, wake.fd(), Poll.IN);
        poll.await(-1);
        return poll.events(1) != 0 ? -1 : input.read(bytes, offset, length);
    }

    /** Lets reads find the end from now on, also one that is waiting. From any thread. */
    void end() {
        try {
            wake.signal();
        } catch (LinuxException e) {
            // closed: nobody reads
        }
    }

    @Override
    public void close() {
        wake.close();
    }
}

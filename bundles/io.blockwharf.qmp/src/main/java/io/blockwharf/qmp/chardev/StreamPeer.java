package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.Poll;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/** Bytes from one descriptor and to another, or the same: FIFOs, files, terminals. */
final class StreamPeer implements Peer {
    private static final int BUFFER_BYTES = 16 << 10;
    private static final int STREAM = 0;
    private static final int WAKE = 1;

    /** What the end of the input means. */
    enum AtEnd {
        /** The peer is gone. */
        GONE,
        /** It has said what it had to say, and still gets what happens. */
        SILENT
    }

    private final Optional<CharDevice> input;
    private final CharDevice output;
    private final AtEnd atEnd;
    private final Runnable onClose;
    private final EventFd wake;
    private final Poll reading = new Poll(2);
    private final Poll writing = new Poll(2);
    private final MemorySegment in = Arena.ofAuto().allocate(BUFFER_BYTES);
    private final MemorySegment out = Arena.ofAuto().allocate(BUFFER_BYTES);
    private boolean ended;
    private volatile boolean shutDown;

    /**
     * A peer at the other end of these.
     *
     * @param input without one the peer never says anything; reading from it does not block
     * @param onClose closes them
     */
    StreamPeer(Optional<CharDevice> input, CharDevice output, AtEnd atEnd, Runnable onClose)
            throws LinuxException {
        this.input = input;
        ended = input.isEmpty();
        this.output = output;
        this.atEnd = atEnd;
        this.onClose = onClose;
        wake = EventFd.open();
    }

    @Override
    public int read(byte[] bytes) throws IOException {
        while (!shutDown) {
            reading.set(STREAM, ended ? -1 : input.orElseThrow().fd(), Poll.IN);
            reading.set(WAKE, wake.fd(), Poll.IN);
            reading.await(-1);
            if (shutDown || reading.events(STREAM) == 0) {
                continue;
            }
            long n = receive(Math.min(bytes.length, BUFFER_BYTES));
            if (n > 0) {
                MemorySegment.copy(in, ValueLayout.JAVA_BYTE, 0, bytes, 0, (int) n);
                return (int) n;
            } else if (n == 0 && atEnd == AtEnd.GONE) {
                return -1;
            }
            ended = n == 0;
        }
        return -1;
    }

    /** Bytes received, 0 at the end, {@link CharDevice#WOULD_BLOCK}. */
    private long receive(int length) {
        try {
            return input.orElseThrow().read(in, 0, length);
        } catch (LinuxException e) {
            return 0; // EIO of a terminal that its user has closed, or what cannot be read
        }
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        int done = 0;
        while (done < bytes.length) {
            int length = Math.min(bytes.length - done, BUFFER_BYTES);
            MemorySegment.copy(bytes, done, out, ValueLayout.JAVA_BYTE, 0, length);
            long n = output.write(out, 0, length);
            if (n == CharDevice.WOULD_BLOCK) {
                awaitRoom();
            } else {
                done += (int) n;
            }
        }
    }

    private void awaitRoom() throws IOException {
        writing.set(STREAM, output.fd(), Poll.OUT);
        writing.set(WAKE, wake.fd(), Poll.IN);
        writing.await(-1);
        if (shutDown || (writing.events(STREAM) & (Poll.HUP | Poll.ERR)) != 0) {
            throw new IOException("the other end is gone");
        }
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
        onClose.run();
    }
}

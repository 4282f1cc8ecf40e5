package io.blockwharf.qmp.chardev;

import io.blockwharf.linux.Descriptor;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.ReceivedDescriptors;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/** The other end of a connected socket. */
final class SocketPeer implements Peer {
    private static final int BUFFER_BYTES = 16 << 10;

    private final FdSocket socket;
    private final Runnable onClose;
    private final MemorySegment input = Arena.ofAuto().allocate(BUFFER_BYTES);
    private final MemorySegment output = Arena.ofAuto().allocate(BUFFER_BYTES);

    private final ReceivedDescriptors received = new ReceivedDescriptors();

    /** Takes the socket over. */
    SocketPeer(FdSocket socket, Runnable onClose) {
        this.socket = socket;
        this.onClose = onClose;
    }

    @Override
    public int read(byte[] bytes) throws IOException {
        long n =
                socket.receiveWithDescriptors(
                        input, 0, Math.min(bytes.length, BUFFER_BYTES), 0, received);
        if (n <= 0) {
            return -1;
        }
        MemorySegment.copy(input, ValueLayout.JAVA_BYTE, 0, bytes, 0, (int) n);
        return (int) n;
    }

    @Override
    public Optional<Descriptor> takeDescriptor() {
        Optional<Descriptor> first =
                received.count() > 0 ? Optional.of(received.takeOwned(0)) : Optional.empty();
        received.close();
        return first;
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        int done = 0;
        while (done < bytes.length) {
            int n = Math.min(bytes.length - done, BUFFER_BYTES);
            MemorySegment.copy(bytes, done, output, ValueLayout.JAVA_BYTE, 0, n);
            socket.sendAll(output, 0, n, 0);
            done += n;
        }
    }

    @Override
    public void shutdown() {
        socket.shutdown();
    }

    @Override
    public void close() {
        received.close();
        socket.close();
        onClose.run();
    }
}

package io.blockwharf.nbd;

import io.blockwharf.linux.FdSocket;

import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSession;

/**
 * A connection through TLS, on the JDK's engine. Data is decrypted straight into the reader's
 * buffer where a whole record has room in it, and encrypted into a buffer of several records that
 * is sent at once.
 */
final class TlsLink implements Link {
    /** Records that are sent with one call, and received with one. */
    private static final int RECORDS = 16;

    /** TLSPlaintext: type 8, version 16, length 16. RFC 8446, 5.1. */
    private static final int RECORD_HEADER = 5;

    private static final int RANGES = 64;
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    private final FdSocket socket;
    private final SSLEngine engine;
    private final Arena arena = Arena.ofShared();

    /** What has arrived and is not decrypted yet is between position and limit. */
    private final MemorySegment netInMemory;

    private final ByteBuffer netIn;

    /** What is encrypted and not sent yet is between {@code netOutSent} and position. */
    private final MemorySegment netOutMemory;

    private final ByteBuffer netOut;
    private int netOutSent;

    /** What is decrypted and not taken yet is between position and limit. */
    private final ByteBuffer plain;

    private final MemorySegment plainMemory;

    /** Views of the buffers that were used last: making one allocates. */
    private MemorySegment viewedIn = MemorySegment.NULL;

    private ByteBuffer viewIn = NOTHING;
    private MemorySegment viewedOut = MemorySegment.NULL;
    private ByteBuffer viewOut = NOTHING;

    private final MemorySegment[] ranges = new MemorySegment[RANGES];
    private final long[] offsets = new long[RANGES];
    private final long[] lengths = new long[RANGES];
    private int first;
    private int count;

    private TlsLink(FdSocket socket, SSLEngine engine) {
        this.socket = socket;
        this.engine = engine;
        int packet = engine.getSession().getPacketBufferSize();
        netInMemory = arena.allocate((long) RECORDS * packet, 64);
        netIn = netInMemory.asByteBuffer().limit(0);
        netOutMemory = arena.allocate((long) RECORDS * packet, 64);
        netOut = netOutMemory.asByteBuffer();
        plainMemory = arena.allocate(engine.getSession().getApplicationBufferSize(), 64);
        plain = plainMemory.asByteBuffer().limit(0);
    }

    /**
     * Goes through the handshake, as the server; waits.
     *
     * @throws IOException if it fails; the peer has been told why, and the socket is still open
     */
    static TlsLink accept(FdSocket socket, SSLEngine engine) throws IOException {
        TlsLink link = new TlsLink(socket, engine);
        try {
            link.handshake();
            return link;
        } catch (IOException | RuntimeException e) {
            link.arena.close();
            throw e;
        }
    }

    private void handshake() throws IOException {
        engine.beginHandshake();
        try {
            while (true) {
                HandshakeStatus status = engine.getHandshakeStatus();
                switch (status) {
                    case NEED_TASK -> runTasks();
                    case NEED_WRAP -> {
                        wrap(NOTHING);
                        sendEncrypted();
                    }
                    case NEED_UNWRAP, NEED_UNWRAP_AGAIN -> {
                        if (unwrap(plain.clear()) == Status.BUFFER_UNDERFLOW && fill() <= 0) {
                            throw new SSLException("the client has gone during the handshake");
                        }
                        plain.flip();
                    }
                    case FINISHED, NOT_HANDSHAKING -> {
                        sendEncrypted();
                        return;
                    }
                }
            }
        } catch (SSLException e) {
            sayWhy();
            throw e;
        }
    }

    /** The alert that the engine has ready. */
    private void sayWhy() {
        try {
            engine.closeOutbound();
            while (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP) {
                if (wrap(NOTHING).bytesProduced() == 0) {
                    break;
                }
            }
            sendEncrypted();
        } catch (IOException e) {
            // It does not matter any more
        }
    }

    private void runTasks() {
        Runnable task;
        while ((task = engine.getDelegatedTask()) != null) {
            task.run();
        }
    }

    /** What was agreed on. */
    SSLSession session() {
        return engine.getSession();
    }

    // ---- receiving

    @Override
    public long receive(MemorySegment into, long offset, long length) throws IOException {
        while (true) {
            if (plain.hasRemaining()) {
                int n = (int) Math.min(length, plain.remaining());
                MemorySegment.copy(plainMemory, plain.position(), into, offset, n);
                plain.position(plain.position() + n);
                return n;
            }
            boolean direct = length >= plain.capacity();
            ByteBuffer target = direct ? viewIn(into, offset, length) : plain.clear();
            int before = target.position();
            Status status;
            try {
                status = unwrap(target);
            } catch (SSLException e) {
                sayWhy();
                throw e;
            }
            int decrypted = target.position() - before;
            if (!direct) {
                plain.flip();
            } else if (decrypted > 0) {
                return decrypted;
            }
            if (status == Status.CLOSED) {
                return 0;
            }
            if (engine.getHandshakeStatus() == HandshakeStatus.NEED_TASK) {
                runTasks();
            } else if (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP && hasRoom()) {
                wrap(NOTHING); // an answer to a key update; leaves with what is sent next
            }
            if (status == Status.BUFFER_UNDERFLOW) {
                long n = fill();
                if (n <= 0) {
                    return n;
                }
            }
        }
    }

    private ByteBuffer viewIn(MemorySegment into, long offset, long length) {
        if (viewedIn != into) {
            viewedIn = into;
            viewIn = into.asByteBuffer();
        }
        return viewIn.limit((int) (offset + length)).position((int) offset);
    }

    private Status unwrap(ByteBuffer target) throws SSLException {
        return engine.unwrap(netIn, target).getStatus();
    }

    /** Receives more of a record; as {@link FdSocket#receive}. */
    private long fill() throws IOException {
        int rest = netIn.remaining();
        if (rest > 0) {
            MemorySegment.copy(netInMemory, netIn.position(), netInMemory, 0, rest);
        }
        long n = socket.receive(netInMemory, rest, netInMemory.byteSize() - rest, 0);
        netIn.limit(rest + (int) Math.max(n, 0)).position(0);
        return n == FdSocket.WOULD_BLOCK ? WOULD_BLOCK : n;
    }

    @Override
    public boolean hasInput() {
        if (plain.hasRemaining()) {
            return true;
        }
        int at = netIn.position();
        return netIn.remaining() >= RECORD_HEADER
                && netIn.remaining() - RECORD_HEADER
                        >= Short.toUnsignedInt(netIn.getShort(at + RECORD_HEADER - 2));
    }

    // ---- sending

    @Override
    public boolean full() {
        return first + count == RANGES;
    }

    @Override
    public void add(MemorySegment from, long offset, long length) {
        if (length > 0) {
            ranges[first + count] = from;
            offsets[first + count] = offset;
            lengths[first + count] = length;
            count++;
        }
    }

    @Override
    public boolean sendsFiles() {
        return false;
    }

    @Override
    public void addFile(int fd, long position, long length, boolean pad) {
        throw new UnsupportedOperationException();
    }

    @Override
    public boolean fileFailed() {
        return false;
    }

    @Override
    public boolean flush(boolean more) throws IOException {
        while (count > 0) {
            ByteBuffer source = viewOut(ranges[first], offsets[first], lengths[first]);
            while (source.hasRemaining()) {
                if (!hasRoom() && !sendEncrypted()) {
                    keepRest(source);
                    return false;
                }
                SSLEngineResult result = wrap(source);
                if (result.getStatus() == Status.CLOSED) {
                    throw new SSLException("closed");
                }
            }
            ranges[first] = null;
            first++;
            count--;
        }
        first = 0;
        return sendEncrypted();
    }

    private void keepRest(ByteBuffer source) {
        lengths[first] = source.remaining();
        offsets[first] = source.position();
    }

    private ByteBuffer viewOut(MemorySegment from, long offset, long length) {
        if (viewedOut != from) {
            viewedOut = from;
            viewOut = from.asByteBuffer();
        }
        return viewOut.limit((int) (offset + length)).position((int) offset);
    }

    private boolean hasRoom() {
        return netOut.remaining() >= engine.getSession().getPacketBufferSize();
    }

    private SSLEngineResult wrap(ByteBuffer source) throws SSLException {
        return engine.wrap(source, netOut);
    }

    /** Sends all that is encrypted; false if the socket is full. */
    private boolean sendEncrypted() throws IOException {
        while (netOutSent < netOut.position()) {
            long n = socket.send(netOutMemory, netOutSent, netOut.position() - netOutSent, 0);
            if (n == FdSocket.WOULD_BLOCK) {
                return false;
            }
            netOutSent += (int) n;
        }
        netOut.clear();
        netOutSent = 0;
        return true;
    }

    @Override
    public void blocking(boolean on) throws IOException {
        socket.blocking(on);
    }

    @Override
    public int fd() {
        return socket.fd();
    }

    /** "the server MUST close down the TLS session": says so if the socket takes it at once. */
    @Override
    public void close() {
        try {
            socket.blocking(false);
            if (sendEncrypted()) {
                sayWhy();
            }
        } catch (IOException e) {
            // the client has gone
        }
        arena.close();
        socket.close();
    }
}

package io.blockwharf.nbd.link;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;

import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.NativeMemory;

import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLEngineResult.Status;
import javax.net.ssl.SSLException;
import javax.net.ssl.SSLSession;

/**
 * A connection through TLS, on the JDK's engine. Many records are received and sent with one call.
 *
 * <p>Each record passes through an array on its way between the engine and the network: the JDK's
 * ciphers are twice as fast on arrays as on memory outside the heap, where they copy piece by piece
 * to arrays of their own. The array is of one record and so stays in the CPU's cache. What is
 * decrypted goes straight into the reader's buffer where a whole record has room in it.
 */
public final class TlsLink implements Link {
    /** TLSPlaintext: type 8, version 16, length 16. RFC 8446, 5.1. */
    private static final int RECORD_HEADER = 5;

    /** Header, the longest plaintext, and what encryption may add to it. RFC 5246, 6.2.3. */
    private static final int MAX_RECORD = RECORD_HEADER + (1 << 14) + 2048;

    /** Records that a network buffer holds: at first, and once somebody sends or receives much. */
    private static final int FEW_RECORDS = 1;

    private static final int MANY_RECORDS = 16;

    /**
     * Records without data that a peer may send in a row: key updates (RFC 8446, 4.6.3), tickets,
     * empty ones. They cost more to take than to send, and there is no end to them.
     */
    private static final int MOST_WITHOUT_DATA = 32;

    private static final String TLS_13 = "TLSv1.3";
    private static final int RANGES = 64;
    private static final ByteBuffer NOTHING = ByteBuffer.allocate(0);

    private final FdSocket socket;
    private final SSLEngine engine;

    /** What has arrived and is not decrypted yet. */
    private final NetworkBuffer netIn = new NetworkBuffer();

    /** What is encrypted and not sent yet. */
    private final NetworkBuffer netOut = new NetworkBuffer();

    /** The record that the engine is working on. */
    private final ByteBuffer record = ByteBuffer.allocate(MAX_RECORD);

    /** What is decrypted and not taken yet is between position and limit. */
    private final ByteBuffer plain = ByteBuffer.allocate(MAX_RECORD).limit(0);

    private final MemorySegment plainMemory = MemorySegment.ofArray(plain.array());
    private final MemorySegment recordMemory = MemorySegment.ofArray(record.array());

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

    /** Records without data since the last one with some. */
    private int withoutData;

    private TlsLink(FdSocket socket, SSLEngine engine) {
        this.socket = socket;
        this.engine = engine;
    }

    /** Bytes between the engine and the socket: {@code [start, end)} of {@code memory}. */
    private static final class NetworkBuffer implements AutoCloseable {
        private NativeMemory owned = NativeMemory.allocate((long) FEW_RECORDS * MAX_RECORD, 64);
        private MemorySegment memory = owned.segment();
        private int start;
        private int end;

        int available() {
            return end - start;
        }

        int room() {
            return (int) memory.byteSize() - end;
        }

        /** Moves what is there to the beginning. */
        void compact() {
            int rest = available();
            if (rest > 0 && start > 0) {
                MemorySegment.copy(memory, start, memory, 0, rest);
            }
            start = 0;
            end = rest;
        }

        /** Makes room for many records, if that was not done before. */
        void grow() {
            if (memory.byteSize() > FEW_RECORDS * MAX_RECORD) {
                return;
            }
            NativeMemory larger = NativeMemory.allocate((long) MANY_RECORDS * MAX_RECORD, 64);
            MemorySegment.copy(memory, start, larger.segment(), 0, available());
            end = available();
            start = 0;
            owned.close();
            owned = larger;
            memory = larger.segment();
        }

        /** Length of the first record with its header, as far as it is known. */
        int recordLength() {
            return available() < RECORD_HEADER
                    ? RECORD_HEADER
                    : RECORD_HEADER
                            + (Byte.toUnsignedInt(memory.get(JAVA_BYTE, start + 3)) << 8
                                    | Byte.toUnsignedInt(memory.get(JAVA_BYTE, start + 4)));
        }

        @Override
        public void close() {
            memory = MemorySegment.NULL;
            owned.close();
        }
    }

    /**
     * Goes through the handshake on the side that the engine was made for; waits.
     *
     * @throws IOException if it fails; the peer has been told why, and the socket is still open
     */
    public static TlsLink open(FdSocket socket, SSLEngine engine) throws IOException {
        TlsLink link = new TlsLink(socket, engine);
        try {
            link.handshake();
            return link;
        } catch (IOException | RuntimeException e) {
            link.closeBuffers();
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
                        wrap(NOTHING); // all that was before is sent
                        sendEncrypted();
                    }
                    case NEED_UNWRAP, NEED_UNWRAP_AGAIN -> {
                        if (unwrap(plain.clear()) == Status.BUFFER_UNDERFLOW && fill() <= 0) {
                            throw new SSLException("the peer has gone during the handshake");
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
            while (engine.getHandshakeStatus() == HandshakeStatus.NEED_WRAP && hasRoom()) {
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
    public SSLSession session() {
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
                answer(status, target.position() > before);
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
            if (status == Status.BUFFER_UNDERFLOW) {
                long n = fill();
                if (n <= 0) {
                    return n;
                }
            }
        }
    }

    /**
     * Deals with what a record was besides data. A key update is answered; the answer leaves with
     * what is sent next, or when there is no room for more of them. A new handshake (TLS 1.2) is
     * refused, as by GnuTLS: it would be work that a client can ask for at will.
     */
    private void answer(Status status, boolean data) throws IOException {
        if (data) {
            withoutData = 0;
        } else if (status == Status.OK && ++withoutData > MOST_WITHOUT_DATA) {
            throw new SSLException("too many records without data");
        }
        HandshakeStatus next = engine.getHandshakeStatus();
        if (next == HandshakeStatus.NOT_HANDSHAKING || status == Status.CLOSED) {
            return;
        }
        if (next != HandshakeStatus.NEED_WRAP
                || !engine.getSession().getProtocol().equals(TLS_13)) {
            throw new SSLException("renegotiation is not allowed");
        }
        if (!hasRoom() && !sendEncrypted()) {
            throw new SSLException("answers to key updates are not taken");
        }
        wrap(NOTHING);
    }

    private ByteBuffer viewIn(MemorySegment into, long offset, long length) {
        if (viewedIn != into) {
            viewedIn = into;
            viewIn = into.asByteBuffer();
        }
        return viewIn.limit((int) (offset + length)).position((int) offset);
    }

    /** Decrypts a record if it is there in full. */
    private Status unwrap(ByteBuffer target) throws SSLException {
        int length = netIn.recordLength();
        if (length > MAX_RECORD) {
            throw new SSLException("a record that is too long");
        } else if (netIn.available() < length) {
            return Status.BUFFER_UNDERFLOW;
        }
        MemorySegment.copy(netIn.memory, netIn.start, recordMemory, 0, length);
        SSLEngineResult result = engine.unwrap(record.clear().limit(length), target);
        netIn.start += result.bytesConsumed();
        return result.getStatus();
    }

    /** Receives more of a record; as {@link FdSocket#receive}. */
    private long fill() throws IOException {
        netIn.compact();
        long n = socket.receive(netIn.memory, netIn.end, netIn.room(), 0);
        if (n == FdSocket.WOULD_BLOCK) {
            return WOULD_BLOCK;
        }
        netIn.end += (int) n;
        if (netIn.room() == 0) {
            netIn.grow();
        }
        return n;
    }

    @Override
    public boolean hasInput() {
        if (plain.hasRemaining()) {
            return true;
        }
        return netIn.available() >= RECORD_HEADER && netIn.available() >= netIn.recordLength();
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
        if (netOut.room() < MAX_RECORD) {
            netOut.grow();
        }
        return netOut.room() >= MAX_RECORD;
    }

    /** Makes a record; {@link #hasRoom} was asked. */
    private SSLEngineResult wrap(ByteBuffer source) throws SSLException {
        SSLEngineResult result = engine.wrap(source, record.clear());
        MemorySegment.copy(recordMemory, 0, netOut.memory, netOut.end, result.bytesProduced());
        netOut.end += result.bytesProduced();
        return result;
    }

    /** Sends all that is encrypted; false if the socket is full. */
    private boolean sendEncrypted() throws IOException {
        while (netOut.available() > 0) {
            long n = socket.send(netOut.memory, netOut.start, netOut.available(), 0);
            if (n == FdSocket.WOULD_BLOCK) {
                return false;
            }
            netOut.start += (int) n;
        }
        netOut.compact();
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
            // the peer has gone
        }
        closeBuffers();
        socket.close();
    }

    private void closeBuffers() {
        netIn.close();
        netOut.close();
    }
}

package io.blockwharf.benchmarks;

import java.io.EOFException;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.StandardProtocolFamily;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;

/**
 * An NBD client that keeps a fixed number of requests in flight on one connection. It takes all
 * replies that are there with one read, checks them, and sends the requests that replace them with
 * one write: two system calls for a batch, so that the server decides the speed. Owned by one
 * thread; allocates nothing while it runs.
 */
final class PipelinedClient implements AutoCloseable {
    static final int CLIENT_FLAGS = 3; // FIXED_NEWSTYLE | NO_ZEROES

    private final SocketChannel channel;
    private final boolean structured;
    private final long size;

    private boolean zeroes;

    private PipelinedClient(SocketChannel channel, boolean structured, long size) {
        this.channel = channel;
        this.structured = structured;
        this.size = size;
    }

    /**
     * Connects and reads the server's greeting, no more: what "ready to serve" means in the report.
     */
    static SocketChannel greeted(Path socket) throws IOException {
        var channel = SocketChannel.open(StandardProtocolFamily.UNIX);
        try {
            channel.connect(UnixDomainSocketAddress.of(socket));
            var greeting = receive(channel, 18);
            if (greeting.getLong() != Wire.NBDMAGIC || greeting.getLong() != Wire.IHAVEOPT) {
                throw new IOException("not a newstyle NBD server");
            }
            return channel;
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    static PipelinedClient connect(Path socket, String export, boolean structured)
            throws IOException {
        return negotiate(greeted(socket), export, structured);
    }

    /**
     * Goes through fixed newstyle negotiation up to NBD_OPT_GO; closes the channel if that fails.
     */
    static PipelinedClient negotiate(SocketChannel channel, String export, boolean structured)
            throws IOException {
        try {
            send(channel, ByteBuffer.allocate(4).putInt(CLIENT_FLAGS));
            if (structured) {
                option(channel, Wire.OPT_STRUCTURED_REPLY, ByteBuffer.allocate(0));
                if (awaitAck(channel) != -1) {
                    throw new IOException("server has no structured replies");
                }
            }
            byte[] name = export.getBytes(StandardCharsets.UTF_8);
            var go = ByteBuffer.allocate(4 + name.length + 2).putInt(name.length).put(name);
            option(channel, Wire.OPT_GO, go.putShort((short) 0));
            long size = awaitAck(channel);
            if (size <= 0) {
                throw new IOException("server did not tell the size of its export");
            }
            return new PipelinedClient(channel, structured, size);
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    /** Reads of this connection are to answer zeroes, not the marks of a {@link DataFile}. */
    PipelinedClient expectingZeroes() {
        zeroes = true;
        return this;
    }

    /**
     * Runs a load for a time and answers what it took. The server's CPU time is left at zero; the
     * caller has it.
     *
     * @throws IOException if a reply is not the one to a request of this client, reports an error
     *     or carries other data than the {@link DataFile} has there
     */
    Sample run(Load load, Duration duration) throws IOException {
        return new Run(load).go(duration.toNanos());
    }

    /** Tells the server, and closes. */
    @Override
    public void close() throws IOException {
        try (channel) {
            send(
                    channel,
                    request(ByteBuffer.allocate(Wire.REQUEST_BYTES), 0, Wire.CMD_DISC, 0, 0, 0));
        }
    }

    /** Closes the connection without a word to the server, which may have gone. */
    void drop() throws IOException {
        channel.close();
    }

    /** The state of one run. A slot is a request in flight; its number is the request's cookie. */
    private final class Run {
        private final Load load;
        private final int bytes;
        private final boolean write;
        private final int stride;
        private final ByteBuffer out;
        private final ByteBuffer in;
        private final long[] offsets;
        private final long[] sentAt;
        private final int[] missing;
        private final int[] due;
        private int dueCount;
        private final long blocks;
        private long random = 0x9e3779b97f4a7c15L;
        private long next;
        private final Latencies latencies = new Latencies();
        private long completed;

        Run(Load load) {
            this.load = load;
            bytes = load.bytes();
            write = load.access().writes();
            stride = Wire.REQUEST_BYTES + (write ? bytes : 0);
            out = ByteBuffer.allocateDirect(load.depth() * stride);
            if (write) {
                DataFile.fill(out);
            }
            in = ByteBuffer.allocateDirect(Math.max(1 << 20, 4 * bytes));
            offsets = new long[load.depth()];
            sentAt = new long[load.depth()];
            missing = new int[load.depth()];
            due = new int[load.depth()];
            blocks = size / bytes;
        }

        Sample go(long nanos) throws IOException {
            var threads = ManagementFactory.getThreadMXBean();
            long cpu = threads.getCurrentThreadCpuTime();
            long start = System.nanoTime();
            long deadline = start + nanos;
            long now = start;
            for (int slot = 0; slot < offsets.length; slot++) {
                due[dueCount++] = slot;
            }
            int inFlight = 0;
            in.clear().limit(0);
            while (true) {
                if (now - deadline < 0) {
                    inFlight += dueCount;
                    sendDue(now);
                }
                if (inFlight == 0) {
                    break;
                }
                int before = dueCount;
                receive();
                now = System.nanoTime();
                parse(now);
                inFlight -= dueCount - before;
            }
            return new Sample(
                    completed,
                    now - start,
                    0,
                    threads.getCurrentThreadCpuTime() - cpu,
                    latencies.percentile(0.5),
                    latencies.percentile(0.99),
                    latencies.percentile(1));
        }

        private void sendDue(long now) throws IOException {
            if (dueCount == 0) {
                return;
            }
            out.clear();
            for (int i = 0; i < dueCount; i++) {
                int slot = due[i];
                long offset = nextOffset();
                offsets[slot] = offset;
                sentAt[slot] = now;
                missing[slot] = write ? 0 : bytes;
                int at = i * stride;
                request(out, at, write ? Wire.CMD_WRITE : Wire.CMD_READ, slot, offset, bytes);
                if (write) {
                    DataFile.mark(out, at + Wire.REQUEST_BYTES, offset, bytes);
                }
            }
            out.rewind().limit(dueCount * stride);
            dueCount = 0;
            while (out.hasRemaining()) {
                channel.write(out);
            }
        }

        private long nextOffset() {
            if (load.access().random()) {
                random ^= random << 13; // xorshift64, Marsaglia 2003
                random ^= random >>> 7;
                random ^= random << 17;
                return (random >>> 1) % blocks * bytes;
            }
            long offset = next * bytes;
            next = next + 1 == blocks ? 0 : next + 1;
            return offset;
        }

        private void receive() throws IOException {
            if (!in.hasRemaining()) {
                in.clear();
            } else {
                in.compact();
            }
            if (channel.read(in) < 0) {
                throw new EOFException("server closed the connection");
            }
            in.flip();
        }

        private void parse(long now) throws IOException {
            while (structured && !write ? parseChunk(now) : parseSimple(now)) {}
        }

        private boolean parseSimple(long now) throws IOException {
            int at = in.position();
            int length = Wire.SIMPLE_REPLY_BYTES + (write ? 0 : bytes);
            if (in.remaining() < length
                    && (in.remaining() < 4 || in.getInt(at) == Wire.SIMPLE_REPLY_MAGIC)) {
                return false;
            }
            if (in.getInt(at) != Wire.SIMPLE_REPLY_MAGIC) {
                return parseChunk(now); // a server may answer a write with a chunk
            }
            if (in.getInt(at + 4) != 0) {
                throw new IOException("server answered error " + in.getInt(at + 4));
            }
            int slot = slot(in.getLong(at + 8));
            if (!write) {
                check(slot, at + Wire.SIMPLE_REPLY_BYTES, offsets[slot], bytes);
            }
            complete(slot, now);
            in.position(at + length);
            return true;
        }

        private boolean parseChunk(long now) throws IOException {
            int at = in.position();
            if (in.remaining() < Wire.CHUNK_BYTES) {
                return false;
            }
            if (in.getInt(at) != Wire.STRUCTURED_REPLY_MAGIC) {
                throw new IOException("not a reply: " + Integer.toHexString(in.getInt(at)));
            }
            int flags = in.getShort(at + 4);
            int type = in.getShort(at + 6);
            int length = in.getInt(at + 16);
            if (type != Wire.CHUNK_NONE && type != Wire.CHUNK_OFFSET_DATA
                    || length < 0
                    || length > 8 + bytes) {
                throw new IOException(
                        "unexpected chunk of type " + type + ", " + length + " bytes");
            }
            if (in.remaining() - Wire.CHUNK_BYTES < length) {
                return false;
            }
            int slot = slot(in.getLong(at + 8));
            if (type == Wire.CHUNK_OFFSET_DATA) {
                check(
                        slot,
                        at + Wire.CHUNK_BYTES + 8,
                        in.getLong(at + Wire.CHUNK_BYTES),
                        length - 8);
            }
            if ((flags & Wire.CHUNK_DONE) != 0) {
                complete(slot, now);
            }
            in.position(at + Wire.CHUNK_BYTES + length);
            return true;
        }

        private int slot(long cookie) throws IOException {
            if (cookie < 0 || cookie >= offsets.length || offsets[(int) cookie] < 0) {
                throw new IOException("reply to a request that is not in flight: " + cookie);
            }
            return (int) cookie;
        }

        private void check(int slot, int at, long offset, int length) throws IOException {
            if (offset < offsets[slot] || offset - offsets[slot] > bytes - length) {
                throw new IOException("data of offset " + offset + " was not asked for");
            }
            boolean right =
                    zeroes
                            ? DataFile.isZero(in, at, length)
                            : DataFile.isMarked(in, at, offset, length);
            if (!right) {
                throw new IOException("wrong data at offset " + offset);
            }
            missing[slot] -= length;
        }

        private void complete(int slot, long now) throws IOException {
            if (missing[slot] != 0) {
                throw new IOException("reply lacks " + missing[slot] + " bytes");
            }
            latencies.record(now - sentAt[slot]);
            offsets[slot] = -1;
            due[dueCount++] = slot;
            completed++;
        }
    }

    /** Writes one request at an absolute position, proto.md "Request message". */
    static ByteBuffer request(
            ByteBuffer to, int at, int command, long cookie, long offset, int length) {
        return to.putInt(at, Wire.REQUEST_MAGIC)
                .putShort(at + 4, (short) 0)
                .putShort(at + 6, (short) command)
                .putLong(at + 8, cookie)
                .putLong(at + 16, offset)
                .putInt(at + 24, length)
                .position(at + Wire.REQUEST_BYTES);
    }

    static void option(SocketChannel channel, int option, ByteBuffer data) throws IOException {
        data.flip();
        send(
                channel,
                ByteBuffer.allocate(16 + data.remaining())
                        .putLong(Wire.IHAVEOPT)
                        .putInt(option)
                        .putInt(data.remaining())
                        .put(data));
    }

    /**
     * Reads option replies up to the acknowledgement and answers the size of NBD_INFO_EXPORT if it
     * came, else -1.
     */
    static long awaitAck(SocketChannel channel) throws IOException {
        long size = -1;
        while (true) {
            var header = receive(channel, 20);
            if (header.getLong() != Wire.OPTION_REPLY_MAGIC) {
                throw new IOException("not an option reply");
            }
            header.getInt();
            int type = header.getInt();
            int length = header.getInt();
            if (length < 0 || length > 1 << 16) {
                throw new IOException("option reply of " + length + " bytes");
            }
            var data = receive(channel, length);
            if (type == Wire.REP_ACK) {
                return size;
            }
            if (type != Wire.REP_INFO && type != Wire.REP_META_CONTEXT) {
                throw new IOException(
                        "server answered an option with " + Integer.toHexString(type));
            }
            if (type == Wire.REP_INFO && data.getShort() == Wire.INFO_EXPORT) {
                size = data.getLong();
            }
        }
    }

    static void send(SocketChannel channel, ByteBuffer message) throws IOException {
        message.flip();
        while (message.hasRemaining()) {
            channel.write(message);
        }
    }

    static ByteBuffer receive(SocketChannel channel, int length) throws IOException {
        var buffer = ByteBuffer.allocate(length);
        while (buffer.hasRemaining()) {
            if (channel.read(buffer) < 0) {
                throw new EOFException("server closed the connection");
            }
        }
        return buffer.flip();
    }
}

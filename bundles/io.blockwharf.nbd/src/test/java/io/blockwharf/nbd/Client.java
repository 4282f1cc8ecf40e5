package io.blockwharf.nbd;

import java.io.EOFException;
import java.io.IOException;
import java.net.UnixDomainSocketAddress;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/** A client that says what a test wants it to say, right or wrong. */
final class Client implements AutoCloseable {
    static final int FUA = 1;
    static final int NO_HOLE = 2;
    static final int DF = 4;
    static final int REQ_ONE = 8;
    static final int FAST_ZERO = 16;
    static final int PAYLOAD_LEN = 32;

    static final int READ = 0;
    static final int WRITE = 1;
    static final int DISC = 2;
    static final int FLUSH = 3;
    static final int TRIM = 4;
    static final int CACHE = 5;
    static final int WRITE_ZEROES = 6;
    static final int BLOCK_STATUS = 7;

    static final int NONE = 0;
    static final int OFFSET_DATA = 1;
    static final int OFFSET_HOLE = 2;
    static final int STATUS = 5;
    static final int STATUS_EXT = 6;
    static final int ERROR = 0x8001;
    static final int ERROR_OFFSET = 0x8002;

    private final SocketChannel channel;
    private boolean extended;
    private boolean structured;

    /** A reply to an option. */
    record OptionAnswer(int type, byte[] data) {
        boolean failed() {
            return type < 0;
        }

        String text() {
            return new String(data, StandardCharsets.UTF_8);
        }

        ByteBuffer buffer() {
            return ByteBuffer.wrap(data);
        }
    }

    /** A simple reply (type -1, without data) or a chunk. */
    record Chunk(long cookie, int type, boolean done, int error, byte[] payload) {
        String text() {
            ByteBuffer in = ByteBuffer.wrap(payload);
            in.getInt();
            byte[] text = new byte[in.getShort()];
            in.get(text);
            return new String(text, StandardCharsets.UTF_8);
        }
    }

    Client(Path socket) throws IOException {
        channel = SocketChannel.open(UnixDomainSocketAddress.of(socket));
    }

    /** Takes the greeting and answers it. */
    Client greet(int flags) throws IOException {
        receive(18);
        return send(ByteBuffer.allocate(4).putInt(flags));
    }

    Client send(ByteBuffer bytes) throws IOException {
        bytes.flip();
        while (bytes.hasRemaining()) {
            channel.write(bytes);
        }
        return this;
    }

    ByteBuffer receive(int bytes) throws IOException {
        ByteBuffer in = ByteBuffer.allocate(bytes);
        while (in.hasRemaining()) {
            if (channel.read(in) < 0) {
                throw new EOFException();
            }
        }
        return in.flip();
    }

    /** Whether the server has closed the connection, after whatever it still sent. */
    boolean isClosed() throws IOException {
        try {
            ByteBuffer in = ByteBuffer.allocate(4096);
            while (channel.read(in) >= 0) {
                in.clear();
            }
        } catch (IOException e) {
            return true; // reset
        }
        return true;
    }

    void option(int option, byte[] data) throws IOException {
        send(
                ByteBuffer.allocate(16 + data.length)
                        .putLong(0x49484156454F5054L)
                        .putInt(option)
                        .putInt(data.length)
                        .put(data));
    }

    OptionAnswer optionAnswer(int option) throws IOException {
        ByteBuffer header = receive(20);
        if (header.getLong() != 0x3e889045565a9L || header.getInt() != option) {
            throw new IOException("not a reply to option " + option);
        }
        int type = header.getInt();
        return new OptionAnswer(type, receive(header.getInt()).array());
    }

    /** All answers to an option, the final one last. */
    List<OptionAnswer> ask(int option, byte[] data) throws IOException {
        option(option, data);
        List<OptionAnswer> answers = new ArrayList<>();
        OptionAnswer answer;
        do {
            answer = optionAnswer(option);
            answers.add(answer);
        } while (answer.type() != 1 && !answer.failed());
        if (answer.type() == 1 && option == 8) {
            structured = true;
        }
        if (answer.type() == 1 && option == 11) {
            extended = true;
        }
        return answers;
    }

    static byte[] infoData(String name, int... requests) {
        byte[] n = name.getBytes(StandardCharsets.UTF_8);
        ByteBuffer out =
                ByteBuffer.allocate(6 + n.length + 2 * requests.length)
                        .putInt(n.length)
                        .put(n)
                        .putShort((short) requests.length);
        for (int request : requests) {
            out.putShort((short) request);
        }
        return out.array();
    }

    static byte[] contextData(String export, String... queries) {
        ByteBuffer out = ByteBuffer.allocate(8192);
        byte[] e = export.getBytes(StandardCharsets.UTF_8);
        out.putInt(e.length).put(e).putInt(queries.length);
        for (String query : queries) {
            byte[] q = query.getBytes(StandardCharsets.UTF_8);
            out.putInt(q.length).put(q);
        }
        return java.util.Arrays.copyOf(out.array(), out.position());
    }

    /** Negotiates: 0 simple, 8 structured, 11 extended; with all the contexts given. */
    static Client ready(Path socket, String export, int style, String... contexts)
            throws IOException {
        Client client = new Client(socket).greet(3);
        if (style != 0) {
            client.ask(style, new byte[0]);
        }
        if (contexts.length > 0) {
            client.ask(10, contextData(export, contexts));
        }
        List<OptionAnswer> answers = client.ask(7, infoData(export, 3));
        if (answers.getLast().failed()) {
            throw new IOException(answers.getLast().text());
        }
        return client;
    }

    ByteBuffer header(int type, int flags, long cookie, long offset, long length, int payload) {
        ByteBuffer out = ByteBuffer.allocate(32 + payload);
        out.putInt(extended ? 0x21e41c71 : 0x25609513)
                .putShort((short) flags)
                .putShort((short) type)
                .putLong(cookie)
                .putLong(offset);
        return extended ? out.putLong(length) : out.putInt((int) length);
    }

    Client request(int type, int flags, long cookie, long offset, long length) throws IOException {
        return send(header(type, flags, cookie, offset, length, 0));
    }

    /** A request and right behind it, in one piece, the end of the session. */
    Client requestAndLeave(int type, long cookie, long offset, long length) throws IOException {
        ByteBuffer last = header(type, 0, cookie, offset, length, 0);
        ByteBuffer leave = header(DISC, 0, cookie, 0, 0, 0);
        return send(
                ByteBuffer.allocate(last.position() + leave.position())
                        .put(last.flip())
                        .put(leave.flip()));
    }

    Client write(int flags, long cookie, long offset, byte[] data) throws IOException {
        int all = extended ? flags | PAYLOAD_LEN : flags;
        return send(header(WRITE, all, cookie, offset, data.length, data.length).put(data));
    }

    /** The next simple reply or chunk. */
    Chunk chunk() throws IOException {
        ByteBuffer start = receive(16);
        int magic = start.getInt();
        if (magic == 0x67446698) {
            if (extended) {
                throw new IOException("simple reply over extended headers");
            }
            int error = start.getInt();
            return new Chunk(start.getLong(), -1, true, error, new byte[0]);
        }
        if (magic != (extended ? 0x6e8a278c : 0x668e33ef)) {
            throw new IOException("bad magic 0x" + Integer.toHexString(magic));
        }
        int flags = start.getShort();
        int type = Short.toUnsignedInt(start.getShort());
        long cookie = start.getLong();
        int length;
        if (extended) {
            ByteBuffer rest = receive(16);
            rest.getLong();
            length = (int) rest.getLong();
        } else {
            length = receive(4).getInt();
        }
        byte[] payload = receive(length).array();
        int error = type >= 0x8000 ? ByteBuffer.wrap(payload).getInt() : 0;
        return new Chunk(cookie, type, (flags & 1) != 0, error, payload);
    }

    /** All chunks of one reply. */
    List<Chunk> reply() throws IOException {
        List<Chunk> chunks = new ArrayList<>();
        do {
            chunks.add(chunk());
        } while (!chunks.getLast().done());
        return chunks;
    }

    /** The error number of a reply, 0 for success. */
    int result() throws IOException {
        return reply().stream().mapToInt(Chunk::error).filter(e -> e != 0).findFirst().orElse(0);
    }

    /** Reads and puts the chunks together. */
    byte[] read(long offset, int length, int flags) throws IOException {
        request(READ, flags, 77, offset, length);
        if (!structured && !extended) {
            Chunk simple = chunk();
            if (simple.error() != 0) {
                throw new IOException("error " + simple.error());
            }
            return receive(length).array();
        }
        byte[] data = new byte[length];
        int covered = 0;
        for (Chunk chunk : reply()) {
            ByteBuffer in = ByteBuffer.wrap(chunk.payload());
            switch (chunk.type()) {
                case NONE -> {}
                case OFFSET_DATA -> {
                    int at = (int) (in.getLong() - offset);
                    int n = in.remaining();
                    in.get(data, at, n);
                    covered += n;
                }
                case OFFSET_HOLE -> {
                    in.getLong();
                    covered += in.getInt();
                }
                default -> throw new IOException("error " + chunk.error() + " " + chunk.text());
            }
        }
        if (covered != length) {
            throw new IOException("only " + covered + " bytes");
        }
        return data;
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

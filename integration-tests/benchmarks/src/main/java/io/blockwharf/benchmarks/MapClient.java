package io.blockwharf.benchmarks;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;

/**
 * An NBD client that asks for the allocation of a whole export, one request at a time, as a backup
 * tool does before it copies. Owned by one thread.
 */
final class MapClient implements AutoCloseable {
    /** The longest request that every server takes, NBD_CMD_BLOCK_STATUS, in whole blocks. */
    private static final long MOST = (1L << 32) - (1 << 20);

    private static final int HOLE_AND_ZERO = 3;

    private final SocketChannel channel;
    private final long size;

    private MapClient(SocketChannel channel, long size) {
        this.channel = channel;
        this.size = size;
    }

    /**
     * What a walk has found.
     *
     * @param runs neighbours of different state
     * @param data bytes that are stored
     * @param requests that it took
     */
    record Walk(long runs, long data, long requests) {}

    /** Negotiates structured replies and {@code base:allocation}. */
    static MapClient connect(Path socket, String export) throws IOException {
        SocketChannel channel = PipelinedClient.greeted(socket);
        try {
            PipelinedClient.send(
                    channel, ByteBuffer.allocate(4).putInt(PipelinedClient.CLIENT_FLAGS));
            PipelinedClient.option(channel, Wire.OPT_STRUCTURED_REPLY, ByteBuffer.allocate(0));
            PipelinedClient.awaitAck(channel);
            byte[] name = export.getBytes(StandardCharsets.UTF_8);
            byte[] context = "base:allocation".getBytes(StandardCharsets.UTF_8);
            PipelinedClient.option(
                    channel,
                    Wire.OPT_SET_META_CONTEXT,
                    ByteBuffer.allocate(12 + name.length + context.length)
                            .putInt(name.length)
                            .put(name)
                            .putInt(1)
                            .putInt(context.length)
                            .put(context));
            PipelinedClient.awaitAck(channel);
            PipelinedClient.option(
                    channel,
                    Wire.OPT_GO,
                    ByteBuffer.allocate(6 + name.length)
                            .putInt(name.length)
                            .put(name)
                            .putShort((short) 0));
            return new MapClient(channel, PipelinedClient.awaitAck(channel));
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    /** Asks for all of the export. */
    Walk walk() throws IOException {
        ByteBuffer request = ByteBuffer.allocate(Wire.REQUEST_BYTES);
        long runs = 0;
        long data = 0;
        long requests = 0;
        int state = -1;
        for (long at = 0; at < size; ) {
            int length = (int) Math.min(MOST, size - at);
            request.clear();
            PipelinedClient.request(request, 0, Wire.CMD_BLOCK_STATUS, requests, at, length);
            PipelinedClient.send(channel, request);
            requests++;
            ByteBuffer extents = extents();
            while (extents.hasRemaining()) {
                long bytes = Integer.toUnsignedLong(extents.getInt());
                int flags = extents.getInt();
                if (bytes == 0) {
                    throw new IOException("an extent without a byte");
                }
                if (flags != state) {
                    runs++;
                    state = flags;
                }
                data += flags == HOLE_AND_ZERO ? 0 : bytes;
                at += bytes;
            }
        }
        return new Walk(runs, data, requests);
    }

    /** Reads chunks up to the last one of a reply. */
    private ByteBuffer extents() throws IOException {
        ByteBuffer extents = ByteBuffer.allocate(0);
        while (true) {
            ByteBuffer header = PipelinedClient.receive(channel, Wire.CHUNK_BYTES);
            if (header.getInt() != Wire.STRUCTURED_REPLY_MAGIC) {
                throw new IOException("not a chunk");
            }
            int flags = header.getShort();
            int type = header.getShort();
            header.getLong();
            ByteBuffer payload = PipelinedClient.receive(channel, header.getInt());
            if (type == Wire.CHUNK_BLOCK_STATUS) {
                payload.getInt(); // the context: there is only one
                extents = payload;
            } else if (type != Wire.CHUNK_NONE) {
                throw new IOException("unexpected chunk of type " + type);
            }
            if ((flags & Wire.CHUNK_DONE) != 0) {
                return extents;
            }
        }
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }
}

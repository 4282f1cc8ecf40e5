package io.blockwharf.security;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;

import javax.net.ssl.SSLEngine;
import javax.net.ssl.SSLEngineResult.HandshakeStatus;
import javax.net.ssl.SSLException;

/** Two engines with two buffers for a network between them. */
final class Engines {
    private static final int BYTES = 1 << 17;

    private final SSLEngine server;
    private final SSLEngine client;
    private final ByteBuffer toServer = ByteBuffer.allocate(BYTES);
    private final ByteBuffer toClient = ByteBuffer.allocate(BYTES);

    Engines(SSLEngine server, SSLEngine client) {
        this.server = server;
        this.client = client;
    }

    /** Lets them talk until both are content. */
    Engines shake() throws SSLException {
        server.beginHandshake();
        client.beginHandshake();
        for (int i = 0; i < 100; i++) {
            step(client, toClient, toServer);
            step(server, toServer, toClient);
        }
        assertEquals(HandshakeStatus.NOT_HANDSHAKING, server.getHandshakeStatus());
        assertEquals(HandshakeStatus.NOT_HANDSHAKING, client.getHandshakeStatus());
        return this;
    }

    private static void step(SSLEngine engine, ByteBuffer in, ByteBuffer out) throws SSLException {
        Runnable task;
        while ((task = engine.getDelegatedTask()) != null) {
            task.run();
        }
        switch (engine.getHandshakeStatus()) {
            case NEED_WRAP -> engine.wrap(ByteBuffer.allocate(0), out);
            case NEED_UNWRAP, NEED_UNWRAP_AGAIN, NOT_HANDSHAKING -> {
                in.flip();
                engine.unwrap(in, ByteBuffer.allocate(BYTES));
                in.compact();
            }
            default -> {}
        }
    }

    /** What of some bytes arrives at the server. */
    byte[] toServer(byte[] data) throws SSLException {
        return send(client, data, toServer, server);
    }

    /** What of some bytes arrives at the client. */
    byte[] toClient(byte[] data) throws SSLException {
        return send(server, data, toClient, client);
    }

    private static byte[] send(SSLEngine from, byte[] data, ByteBuffer through, SSLEngine to)
            throws SSLException {
        ByteBuffer source = ByteBuffer.wrap(data);
        ByteBuffer target = ByteBuffer.allocate(data.length + BYTES);
        while (source.hasRemaining()) {
            from.wrap(source, through);
            through.flip();
            int before;
            do {
                before = through.remaining();
                to.unwrap(through, target);
            } while (through.remaining() < before);
            through.compact();
        }
        byte[] arrived = new byte[target.position()];
        target.flip().get(arrived);
        return arrived;
    }

    /** The client says goodbye. */
    void closeClient() throws SSLException {
        client.closeOutbound();
        client.wrap(ByteBuffer.allocate(0), toServer);
        toServer.flip();
        server.unwrap(toServer, ByteBuffer.allocate(BYTES));
        toServer.compact();
    }
}

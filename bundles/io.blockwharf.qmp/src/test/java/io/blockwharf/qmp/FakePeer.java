package io.blockwharf.qmp;

import io.blockwharf.qmp.chardev.Peer;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;

/** A client whose words the test says. */
final class FakePeer implements Peer {
    private static final byte[] GONE = {};

    private final BlockingQueue<byte[]> said = new LinkedBlockingQueue<>();
    private final BlockingQueue<String> heard = new LinkedBlockingQueue<>();
    private final ByteArrayOutputStream partial = new ByteArrayOutputStream();
    private boolean reading = true;

    void say(String words) {
        said.add(words.getBytes(StandardCharsets.UTF_8));
    }

    void hangUp() {
        said.add(GONE);
    }

    /** The next line that was sent to the client. */
    String line() {
        try {
            return heard.take();
        } catch (InterruptedException e) {
            throw new IllegalStateException(e);
        }
    }

    synchronized void stopReading() {
        reading = false;
    }

    synchronized void goOnReading() {
        reading = true;
        notifyAll();
    }

    @Override
    public int read(byte[] bytes) throws IOException {
        try {
            byte[] words = said.take();
            if (words == GONE) {
                said.add(GONE);
                return -1;
            }
            System.arraycopy(words, 0, bytes, 0, words.length);
            return words.length;
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
    }

    @Override
    public synchronized void write(byte[] bytes) throws IOException {
        try {
            while (!reading) {
                wait();
            }
        } catch (InterruptedException e) {
            throw new IOException(e);
        }
        for (byte b : bytes) {
            if (b == '\n') {
                heard.add(partial.toString(StandardCharsets.UTF_8).stripTrailing());
                partial.reset();
            } else {
                partial.write(b);
            }
        }
    }

    @Override
    public void shutdown() {
        hangUp();
        goOnReading();
    }

    @Override
    public void close() {}
}

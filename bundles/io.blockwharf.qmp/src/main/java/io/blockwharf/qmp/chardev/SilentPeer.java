package io.blockwharf.qmp.chardev;

import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.CountDownLatch;

/** A peer that never says anything: output goes to a stream. */
final class SilentPeer implements Peer {
    private final OutputStream output;
    private final CountDownLatch shutDown = new CountDownLatch(1);

    SilentPeer(OutputStream output) {
        this.output = output;
    }

    @Override
    public int read(byte[] bytes) {
        try {
            shutDown.await();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        return -1;
    }

    @Override
    public void write(byte[] bytes) throws IOException {
        output.write(bytes);
        output.flush();
    }

    @Override
    public void shutdown() {
        shutDown.countDown();
    }

    @Override
    public void close() {
        shutdown();
        try {
            output.close();
        } catch (IOException e) {
            // What was written is written; there is nobody to tell.
        }
    }
}

package io.blockwharf.nbd;

import io.blockwharf.nbd.link.Link;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A client that has said all it will say, in portions, and whose answers are kept. */
public final class ScriptedLink implements Link {
    private final byte[] script;
    private final int portion;
    private final boolean pauses;
    private boolean pausing;
    private int flushesLeft = Integer.MAX_VALUE;
    private int position;
    private final ByteArrayOutputStream sent = new ByteArrayOutputStream();
    private final ByteArrayOutputStream added = new ByteArrayOutputStream();

    public ScriptedLink(byte[] script, int from, int portion) {
        this(script, from, portion, false);
    }

    /** The same; between two portions nothing is there if it pauses. */
    public ScriptedLink(byte[] script, int from, int portion, boolean pauses) {
        this.pauses = pauses;
        this.script = script;
        this.position = from;
        this.portion = portion;
    }

    /** The peer is found to be gone after so many flushes. */
    public void breakAfter(int flushes) {
        flushesLeft = flushes;
    }

    public byte[] sent() {
        return sent.toByteArray();
    }

    @Override
    public long receive(MemorySegment into, long offset, long length) {
        pausing = pauses && !pausing;
        if (pausing) {
            return WOULD_BLOCK;
        }
        int n = (int) Math.min(Math.min(portion, length), script.length - position);
        MemorySegment.copy(script, position, into, ValueLayout.JAVA_BYTE, offset, n);
        position += n;
        return n;
    }

    @Override
    public boolean hasInput() {
        return true;
    }

    @Override
    public boolean full() {
        return false;
    }

    @Override
    public void add(MemorySegment from, long offset, long length) {
        added.writeBytes(from.asSlice(offset, length).toArray(ValueLayout.JAVA_BYTE));
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
        if (flushesLeft-- <= 0) {
            throw new IOException("broken pipe");
        }
        added.writeTo(sent);
        added.reset();
        return true;
    }

    @Override
    public void blocking(boolean on) {}

    @Override
    public int fd() {
        return -1;
    }

    @Override
    public void close() {}
}

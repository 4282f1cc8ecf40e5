package io.blockwharf.nbd.link;

import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.IoVec;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.NativeMemory;

import java.io.EOFException;
import java.io.IOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.Optional;

/** A connection without TLS: gathered writes and sendfile, straight from and into the socket. */
public final class PlainLink implements Link {
    private static final int RANGES = 64;

    /** More than any file system demands of direct I/O. */
    private static final int COPY_ALIGNMENT = 64 << 10;

    /** Stands in for what a file did not have; never written. */
    private static final MemorySegment ZEROES = Arena.global().allocate(64 << 10);

    private final FdSocket socket;
    private final IoVec ranges = new IoVec(RANGES);
    private int file;
    private long filePosition;
    private long fileLeft;
    private boolean pad;
    private boolean fileFailed;

    /** What the file has to be copied through, made when that is so for the first time. */
    private Optional<NativeMemory> buffer = Optional.empty();

    private boolean copies;

    /** A link that waits; it closes the socket with itself. */
    public PlainLink(FdSocket socket) {
        this.socket = socket;
    }

    @Override
    public long receive(MemorySegment into, long offset, long length) throws IOException {
        return socket.receive(into, offset, length, 0);
    }

    @Override
    public boolean hasInput() {
        return false;
    }

    @Override
    public boolean full() {
        return fileLeft > 0 || ranges.isFull();
    }

    @Override
    public void add(MemorySegment from, long offset, long length) {
        ranges.add(from, offset, length);
    }

    @Override
    public boolean sendsFiles() {
        return true;
    }

    @Override
    public void addFile(int fd, long position, long length, boolean pad) {
        file = fd;
        this.pad = pad;
        filePosition = position;
        fileLeft = length;
        fileFailed = false;
        copies = false;
    }

    @Override
    public boolean fileFailed() {
        return fileFailed;
    }

    @Override
    public boolean flush(boolean more) throws IOException {
        int flags = more || fileLeft > 0 ? FdSocket.MORE : 0;
        while (!ranges.isEmpty()) {
            if (socket.send(ranges, flags) == FdSocket.WOULD_BLOCK) {
                return false;
            }
        }
        while (fileLeft > 0) {
            long n = fileFailed ? sendZeroes() : sendFile();
            if (n == FdSocket.WOULD_BLOCK) {
                return false;
            }
            fileLeft -= n;
        }
        return true;
    }

    private long sendFile() throws IOException {
        long n = 0;
        try {
            n = copies ? copyFile() : socket.sendFile(file, filePosition, fileLeft);
        } catch (LinuxException e) {
            if (!copies && e.is(Errnos.EINVAL)) {
                copies = true;
            } else {
                // Of the file or of the socket: if it is the socket, the zeroes will fail as well
                fileEnds(e);
            }
            return 0;
        }
        if (n == 0) {
            fileEnds(new EOFException("the file is shorter than it was"));
        } else if (n > 0) {
            filePosition += n;
        }
        return n;
    }

    /** A file that was reopened for direct I/O meanwhile has nothing to give at odd positions. */
    private long copyFile() throws LinuxException {
        if (buffer.isEmpty()) {
            buffer = Optional.of(NativeMemory.allocate(2 * COPY_ALIGNMENT, COPY_ALIGNMENT));
        }
        return socket.copyFile(
                file, filePosition, fileLeft, COPY_ALIGNMENT, buffer.get().segment());
    }

    private void fileEnds(IOException reason) throws IOException {
        if (!pad) {
            throw reason;
        }
        fileFailed = true;
    }

    private long sendZeroes() throws IOException {
        return socket.send(ZEROES, 0, Math.min(fileLeft, ZEROES.byteSize()), 0);
    }

    @Override
    public void blocking(boolean on) throws IOException {
        socket.blocking(on);
    }

    @Override
    public int fd() {
        return socket.fd();
    }

    @Override
    public void close() {
        buffer.ifPresent(NativeMemory::close);
        buffer = Optional.empty();
        socket.close();
    }
}

package io.blockwharf.shell;

import io.blockwharf.linux.FdSocket;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;

/** A socket as the shell wants it. Closing the streams leaves it open. */
final class SocketStreams {
    private static final int BUFFER_BYTES = 8 << 10;

    private SocketStreams() {}

    static InputStream input(FdSocket socket) {
        MemorySegment buffer = Arena.ofAuto().allocate(BUFFER_BYTES);
        return new InputStream() {
            @Override
            public int read() throws IOException {
                byte[] one = new byte[1];
                return read(one, 0, 1) < 0 ? -1 : Byte.toUnsignedInt(one[0]);
            }

            @Override
            public int read(byte[] bytes, int offset, int length) throws IOException {
                long n = socket.receive(buffer, 0, Math.min(length, BUFFER_BYTES), 0);
                if (n <= 0) {
                    return -1;
                }
                MemorySegment.copy(buffer, ValueLayout.JAVA_BYTE, 0, bytes, offset, (int) n);
                return (int) n;
            }
        };
    }

    static OutputStream output(FdSocket socket) {
        MemorySegment buffer = Arena.ofAuto().allocate(BUFFER_BYTES);
        return new OutputStream() {
            @Override
            public void write(int b) throws IOException {
                write(new byte[] {(byte) b}, 0, 1);
            }

            @Override
            public void write(byte[] bytes, int offset, int length) throws IOException {
                for (int done = 0; done < length; ) {
                    int n = Math.min(length - done, BUFFER_BYTES);
                    MemorySegment.copy(bytes, offset + done, buffer, ValueLayout.JAVA_BYTE, 0, n);
                    socket.sendAll(buffer, 0, n, 0);
                    done += n;
                }
            }
        };
    }
}

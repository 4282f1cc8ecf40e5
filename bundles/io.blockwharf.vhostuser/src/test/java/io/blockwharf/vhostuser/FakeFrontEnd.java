package io.blockwharf.vhostuser;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.MemFd;
import io.blockwharf.linux.ReceivedDescriptors;
import io.blockwharf.virtio.queue.SharedMemory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * A front end, written from the vhost-user specification: shared memory at guest address {@link
 * SharedMemory#BASE} and user address {@link #USER}, and messages byte by byte.
 */
final class FakeFrontEnd implements AutoCloseable {
    static final long USER = 0x7f00_0000_0000L;
    static final int MEMORY = 1 << 20;
    static final int NEED_REPLY = 1 << 3;

    final FdSocket socket;
    final MemFd file = MemFd.create("guest", MEMORY);
    final MappedRegion memory = file.map(MEMORY);
    final ReceivedDescriptors received = new ReceivedDescriptors();
    private final MemorySegment buffer = Arena.ofAuto().allocate(4096, 8);

    FakeFrontEnd(FdSocket socket) throws LinuxException {
        this.socket = socket;
    }

    static ByteBuffer payload(int size) {
        return ByteBuffer.allocate(size).order(ByteOrder.nativeOrder());
    }

    static byte[] u64(long value) {
        return payload(8).putLong(value).array();
    }

    static byte[] state(int index, int value) {
        return payload(8).putInt(index).putInt(value).array();
    }

    void send(int number, int flags, byte[] payload, int... fds) throws LinuxException {
        raw(
                payload(12 + payload.length)
                        .putInt(number)
                        .putInt(1 | flags)
                        .putInt(payload.length)
                        .put(payload)
                        .array(),
                fds);
    }

    void raw(byte[] bytes, int... fds) throws LinuxException {
        buffer.asSlice(0, bytes.length).copyFrom(MemorySegment.ofArray(bytes));
        socket.sendWithDescriptors(buffer, 0, bytes.length, fds);
    }

    /** The next message's payload; descriptors are in {@link #received}. */
    ByteBuffer reply(int number) throws LinuxException {
        long n = socket.receiveWithDescriptors(buffer, 0, 12, FdSocket.WAIT_ALL, received);
        assertEquals(12, n, "the connection ended");
        ByteBuffer header = buffer.asSlice(0, 12).asByteBuffer().order(ByteOrder.nativeOrder());
        assertEquals(number, header.getInt());
        assertEquals(1 | 1 << 2, header.getInt(), "flags");
        int size = header.getInt();
        assertEquals(
                size, size == 0 ? 0 : socket.receive(buffer, 0, size, FdSocket.WAIT_ALL), "size");
        var copy = payload(size);
        copy.put(buffer.asSlice(0, size).asByteBuffer()).flip();
        return copy;
    }

    /** Sends a message without payload and returns the number in its reply. */
    long ask(int number) throws LinuxException {
        send(number, 0, new byte[0]);
        return reply(number).getLong();
    }

    /** Sends a message that wants to be acknowledged and returns 0 for success. */
    long acked(int number, byte[] payload, int... fds) throws LinuxException {
        send(number, NEED_REPLY, payload, fds);
        return reply(number).getLong();
    }

    void good(int number, byte[] payload, int... fds) throws LinuxException {
        assertEquals(0, acked(number, payload, fds), "message " + number);
    }

    void bad(int number, byte[] payload, int... fds) throws LinuxException {
        assertEquals(1, acked(number, payload, fds), "message " + number);
    }

    /** Whether the back end has hung up. */
    boolean disconnected() throws LinuxException {
        try {
            return socket.receive(buffer, 0, 1, 0) == 0;
        } catch (LinuxException e) {
            return true; // it left something unread
        }
    }

    /** A region of SET_MEM_TABLE and ADD_MEM_REG. */
    static byte[] region(long guest, long size, long user, long offset) {
        return payload(32).putLong(guest).putLong(size).putLong(user).putLong(offset).array();
    }

    /** The payload of ADD_MEM_REG and REM_MEM_REG. */
    static byte[] slot(long guest, long size, long user, long offset) {
        return payload(40).putLong(0).put(region(guest, size, user, offset)).array();
    }

    /** The payload of SET_MEM_TABLE. */
    static byte[] table(byte[]... regions) {
        var out = payload(8 + 32 * regions.length).putInt(regions.length).putInt(0);
        for (byte[] region : regions) {
            out.put(region);
        }
        return out.array();
    }

    static byte[] address(int index, long descriptors, long used, long available) {
        return payload(40)
                .putInt(index)
                .putInt(0)
                .putLong(descriptors)
                .putLong(used)
                .putLong(available)
                .putLong(0)
                .array();
    }

    /** Replaces the memory's sharing: the whole file in one region. */
    void shareMemory() throws LinuxException {
        good(5, table(region(SharedMemory.BASE, MEMORY, USER, 0)), file.fd());
    }

    /** Sets a ring up and starts it. */
    void startRing(int index, int size, long avail, long used, int base, EventFd kick, EventFd call)
            throws LinuxException {
        good(8, state(index, size));
        good(10, state(index, base));
        good(9, address(index, USER, USER + used, USER + avail));
        good(13, u64(index), call.fd());
        good(12, u64(index), kick.fd());
        good(18, state(index, 1));
    }

    @Override
    public void close() {
        received.close();
        memory.close();
        file.close();
        socket.close();
    }
}

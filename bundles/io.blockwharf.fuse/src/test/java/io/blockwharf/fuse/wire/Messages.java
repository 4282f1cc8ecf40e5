package io.blockwharf.fuse.wire;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HexFormat;

/** Requests as the kernel writes them, for tests. */
public final class Messages {
    private Messages() {}

    /** {@code struct fuse_in_header} and what follows it. */
    public static byte[] request(int opcode, long unique, byte[] body) {
        return header(Request.HEADER_BYTES + body.length, opcode, unique).put(body).array();
    }

    private static ByteBuffer header(int length, int opcode, long unique) {
        return ByteBuffer.allocate(length)
                .order(ByteOrder.nativeOrder())
                .putInt(length)
                .putInt(opcode)
                .putLong(unique)
                .putLong(Attributes.INODE)
                .putInt(1000) // uid
                .putInt(1001) // gid
                .putInt(4711) // pid
                .putInt(0);
    }

    /** Numbers in the byte order of the host: Integer as 32, Long as 64 bits. */
    public static byte[] body(Number... numbers) {
        ByteBuffer buffer = ByteBuffer.allocate(8 * numbers.length).order(ByteOrder.nativeOrder());
        for (Number number : numbers) {
            switch (number) {
                case Integer i -> buffer.putInt(i);
                case Long l -> buffer.putLong(l);
                default -> throw new IllegalArgumentException(number.getClass().getName());
            }
        }
        byte[] bytes = new byte[buffer.position()];
        buffer.flip().get(bytes);
        return bytes;
    }

    /** READ or WRITE, without data. */
    public static byte[] transfer(long offset, int size) {
        return body(1L, offset, size, 0, 0L, 0, 0);
    }

    /** Native memory with these bytes and {@code room} more, at an odd address. */
    public static MemorySegment inMemory(Arena arena, byte[] message, int room) {
        MemorySegment segment = arena.allocate(1L + message.length + room, 8).asSlice(1);
        MemorySegment.copy(MemorySegment.ofArray(message), 0, segment, 0, message.length);
        return segment;
    }

    /** 32-bit words in hexadecimal, for comparison with what the header file says. */
    public static String words(MemorySegment segment, long at, int bytes) {
        ByteBuffer buffer =
                segment.asSlice(at, bytes).asByteBuffer().order(ByteOrder.nativeOrder());
        StringBuilder text = new StringBuilder();
        while (buffer.hasRemaining()) {
            text.append(text.isEmpty() ? "" : " ").append(Integer.toHexString(buffer.getInt()));
        }
        return text.toString();
    }

    /** Bytes from hexadecimal digits. */
    public static byte[] hex(String digits) {
        return HexFormat.of().parseHex(digits.replace(" ", ""));
    }
}

package io.blockwharf.vhostuser.wire;

import io.blockwharf.vhostuser.wire.Request.Type;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;

/**
 * Messages as bytes, vhost-user specification, "Header" and "Payload". All numbers are in host byte
 * order. Pure functions.
 */
public final class Codec {
    /** The size of a header in bytes: request, flags, size of the payload. */
    public static final int HEADER_BYTES = 12;

    /** No message has a larger payload: a full memory table, or a full configuration space. */
    public static final int MAX_PAYLOAD_BYTES = 512;

    /** The most regions of SET_MEM_TABLE, "Multiple memory regions description". */
    public static final int MAX_TABLE_REGIONS = 8;

    /** The most bytes of configuration space in one message (VHOST_USER_MAX_CONFIG_SIZE). */
    public static final int MAX_CONFIG_BYTES = 256;

    private static final int VERSION = 1;
    private static final int VERSION_MASK = 3;
    private static final int FLAG_REPLY = 1 << 2;
    private static final int FLAG_NEED_REPLY = 1 << 3;

    private static final int REGION_BYTES = 32;
    private static final int INDEX_MASK = 0xff;
    private static final int NO_DESCRIPTOR = 1 << 8;

    /** CONFIG_CHANGE_MSG of the back end, "Back-end message types". */
    private static final int BACKEND_CONFIG_CHANGE = 2;

    private static final Type[] BY_NUMBER = new Type[64];

    static {
        for (Type type : Type.values()) {
            BY_NUMBER[type.number] = type;
        }
    }

    private Codec() {}

    /**
     * A header.
     *
     * @param number of the message
     * @param needReply whether the front end wants to know how it went ("REPLY_ACK")
     * @param size of the payload that follows, 0 to {@value #MAX_PAYLOAD_BYTES}
     */
    public record Header(int number, boolean needReply, int size) {}

    /** Decodes the header, {@value #HEADER_BYTES} bytes. */
    public static Header header(ByteBuffer in) throws VhostUserException {
        in.order(ByteOrder.nativeOrder());
        int number = in.getInt();
        int flags = in.getInt();
        long size = Integer.toUnsignedLong(in.getInt());
        if ((flags & VERSION_MASK) != VERSION) {
            throw new VhostUserException("message of version " + (flags & VERSION_MASK));
        }
        if ((flags & FLAG_REPLY) != 0) {
            throw new VhostUserException("a reply to nothing");
        }
        if (size > MAX_PAYLOAD_BYTES) {
            throw new VhostUserException("payload of " + size + " bytes");
        }
        return new Header(number, (flags & FLAG_NEED_REPLY) != 0, (int) size);
    }

    /** Decodes the payload; exactly the bytes that the header announced. */
    public static Request request(Header header, ByteBuffer in) {
        in.order(ByteOrder.nativeOrder());
        int n = header.number();
        Type type = n >= 0 && n < BY_NUMBER.length ? BY_NUMBER[n] : null;
        int size = in.remaining();
        var unknown = new Request.Unknown(n, size);
        return type == null
                ? unknown
                : switch (type) {
                    case GET_FEATURES,
                            SET_OWNER,
                            RESET_OWNER,
                            GET_PROTOCOL_FEATURES,
                            GET_QUEUE_NUM,
                            SET_BACKEND_REQ_FD,
                            SET_LOG_FD,
                            RESET_DEVICE,
                            GET_MAX_MEM_SLOTS,
                            GET_STATUS ->
                            // Front ends differ in whether these carry a number to be ignored.
                            size == 0 || size == 8 ? new Request.Plain(type) : unknown;
                    case SET_FEATURES, SET_PROTOCOL_FEATURES, SET_STATUS ->
                            size == 8 ? new Request.Number(type, in.getLong()) : unknown;
                    case SET_VRING_NUM, SET_VRING_BASE, GET_VRING_BASE, SET_VRING_ENABLE ->
                            size == 8
                                    ? new Request.VringState(type, in.getInt(), in.getInt())
                                    : unknown;
                    case SET_VRING_KICK, SET_VRING_CALL, SET_VRING_ERR ->
                            size == 8 ? vringDescriptor(type, in.getLong()) : unknown;
                    case SET_VRING_ADDR -> size == 40 ? vringAddress(in) : unknown;
                    case SET_MEM_TABLE -> memoryTable(in, unknown);
                    case ADD_MEM_REG, REM_MEM_REG ->
                            size == 8 + REGION_BYTES
                                    ? new Request.MemoryRegionChange(
                                            type, region(in.position(in.position() + 8)))
                                    : unknown;
                    case SET_LOG_BASE ->
                            size == 16 ? new Request.LogBase(in.getLong(), in.getLong()) : unknown;
                    case GET_CONFIG -> getConfig(in, unknown);
                    case SET_CONFIG -> setConfig(in, unknown);
                    case GET_INFLIGHT_FD, SET_INFLIGHT_FD ->
                            size >= 20
                                    ? new Request.InFlight(
                                            type,
                                            in.getLong(),
                                            in.getLong(),
                                            in.getShort() & 0xffff,
                                            in.getShort() & 0xffff)
                                    : unknown;
                };
    }

    private static Request vringDescriptor(Type type, long value) {
        return new Request.VringDescriptor(
                type, (int) (value & INDEX_MASK), (value & NO_DESCRIPTOR) == 0);
    }

    private static Request vringAddress(ByteBuffer in) {
        int index = in.getInt();
        boolean log = (in.getInt() & 1) != 0;
        return new Request.VringAddress(
                index, log, in.getLong(), in.getLong(), in.getLong(), in.getLong());
    }

    private static Request memoryTable(ByteBuffer in, Request unknown) {
        if (in.remaining() < 8) {
            return unknown;
        }
        int count = in.getInt();
        in.getInt();
        if (count < 0 || count > MAX_TABLE_REGIONS || in.remaining() != count * REGION_BYTES) {
            return unknown;
        }
        var regions = new ArrayList<Request.MemoryRegion>(count);
        for (int i = 0; i < count; i++) {
            regions.add(region(in));
        }
        return new Request.MemoryTable(regions);
    }

    private static Request.MemoryRegion region(ByteBuffer in) {
        return new Request.MemoryRegion(in.getLong(), in.getLong(), in.getLong(), in.getLong());
    }

    private static Request getConfig(ByteBuffer in, Request unknown) {
        if (in.remaining() < 12) {
            return unknown;
        }
        int offset = in.getInt();
        int size = in.getInt();
        int flags = in.getInt();
        return in.remaining() == size && offset >= 0 && offset <= MAX_CONFIG_BYTES - size
                ? new Request.GetConfig(offset, size, flags)
                : unknown;
    }

    private static Request setConfig(ByteBuffer in, Request unknown) {
        if (in.remaining() < 12) {
            return unknown;
        }
        int offset = in.getInt();
        int size = in.getInt();
        int flags = in.getInt();
        if (in.remaining() != size || offset < 0 || offset > MAX_CONFIG_BYTES - size) {
            return unknown;
        }
        var bytes = new byte[size];
        in.get(bytes);
        return new Request.SetConfig(offset, flags, bytes);
    }

    private static ByteBuffer message(int number, int flags, int size) {
        return ByteBuffer.allocate(HEADER_BYTES + size)
                .order(ByteOrder.nativeOrder())
                .putInt(number)
                .putInt(VERSION | flags)
                .putInt(size);
    }

    /** A reply with one number. */
    public static ByteBuffer reply(Header to, long value) {
        return message(to.number(), FLAG_REPLY, 8).putLong(value).flip();
    }

    /** The reply to GET_VRING_BASE. */
    public static ByteBuffer replyVringState(Header to, int index, int value) {
        return message(to.number(), FLAG_REPLY, 8).putInt(index).putInt(value).flip();
    }

    /** The reply to GET_CONFIG; no bytes tell that the range is not there. */
    public static ByteBuffer replyConfig(
            Header to, Request.GetConfig request, byte[] configuration) {
        int size = request.size();
        var out =
                message(to.number(), FLAG_REPLY, 12 + size)
                        .putInt(request.offset())
                        .putInt(size)
                        .putInt(request.flags());
        for (int i = 0; i < size; i++) {
            int at = request.offset() + i;
            out.put(at < configuration.length ? configuration[at] : 0);
        }
        return out.flip();
    }

    /** The reply to GET_INFLIGHT_FD; a descriptor goes with it. */
    public static ByteBuffer replyInFlight(Header to, long size, int queues, int queueSize) {
        // 20 bytes in the specification, but front ends expect the C structure with its padding.
        return message(to.number(), FLAG_REPLY, 24)
                .putLong(size)
                .putLong(0)
                .putShort((short) queues)
                .putShort((short) queueSize)
                .putInt(0)
                .flip();
    }

    /** The back end's message that the configuration space has changed. */
    public static ByteBuffer configChange() {
        return message(BACKEND_CONFIG_CHANGE, 0, 0).flip();
    }
}

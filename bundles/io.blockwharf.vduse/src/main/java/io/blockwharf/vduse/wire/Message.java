package io.blockwharf.vduse.wire;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;

import java.lang.foreign.MemorySegment;

/** {@code struct vduse_dev_request}, what is read from the device; each message is answered. */
public sealed interface Message {
    /** The size of the structure, and of {@code struct vduse_dev_response}. */
    int BYTES = 152;

    /** Where the members of the request lie; those of its kinds begin at {@link #BODY}. */
    int TYPE = 0;

    /** See {@link #TYPE}. */
    int REQUEST_ID = 4;

    /** See {@link #TYPE}; of both structures. */
    int BODY = 24;

    /** Where the position lies in the body of GET_VQ_STATE's request and response. */
    int BODY_STATE = 4;

    /** Where the last address lies in the body of UPDATE_IOTLB. */
    int BODY_LAST = 8;

    /** Where the members of the response lie. */
    int RESPONSE_ID = 0;

    /** See {@link #RESPONSE_ID}. */
    int RESPONSE_RESULT = 4;

    /** {@code enum vduse_req_type}. */
    int GET_VQ_STATE = 0;

    /** {@code enum vduse_req_type}. */
    int SET_STATUS = 1;

    /** {@code enum vduse_req_type}. */
    int UPDATE_IOTLB = 2;

    /** Where is the device in this queue? Answered with {@link #answerPosition}. */
    record GetQueueState(int id, int index) implements Message {}

    /** The device's status has changed (VIRTIO 1.3 section 2.1). */
    record SetStatus(int id, int status) implements Message {}

    /** The memory from one address to another, both included, has changed. */
    record UpdateIotlb(int id, long start, long last) implements Message {}

    /** A message of a later kernel. */
    record Unknown(int id, int type) implements Message {}

    /** The number that the answer repeats. */
    int id();

    /** Reads a request of {@link #BYTES}. */
    static Message decode(MemorySegment bytes) {
        int id = bytes.get(JAVA_INT, REQUEST_ID);
        int type = bytes.get(JAVA_INT, TYPE);
        return switch (type) {
            case GET_VQ_STATE -> new GetQueueState(id, bytes.get(JAVA_INT, BODY));
            case SET_STATUS -> new SetStatus(id, Byte.toUnsignedInt(bytes.get(JAVA_BYTE, BODY)));
            case UPDATE_IOTLB ->
                    new UpdateIotlb(
                            id, bytes.get(JAVA_LONG, BODY), bytes.get(JAVA_LONG, BODY + BODY_LAST));
            default -> new Unknown(id, type);
        };
    }

    /** Writes a response of {@link #BYTES} to this message. */
    default void answer(MemorySegment bytes, boolean success) {
        bytes.fill((byte) 0);
        bytes.set(JAVA_INT, RESPONSE_ID, id());
        bytes.set(JAVA_INT, RESPONSE_RESULT, success ? 0 : 1);
    }

    /** Writes the response to {@link GetQueueState}. */
    static void answerPosition(
            MemorySegment bytes, GetQueueState request, boolean packed, int position) {
        request.answer(bytes, true);
        bytes.set(JAVA_INT, BODY, request.index);
        QueuePosition.encode(bytes, BODY + BODY_STATE, packed, position);
    }
}

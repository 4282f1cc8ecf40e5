package io.blockwharf.vhostuser.wire;

import java.util.List;

/**
 * A message of the front end, vhost-user specification, "Front-end message types". File descriptors
 * travel beside it. Addresses and sizes are unsigned 64-bit numbers of a hostile peer.
 */
public sealed interface Request {
    /** A message without a payload. */
    record Plain(Type type) implements Request {}

    /** A message with one number. */
    record Number(Type type, long value) implements Request {}

    /** A message about a vring: its index and a number. */
    record VringState(Type type, int index, int value) implements Request {}

    /** SET_VRING_ADDR: where a vring lies, in the front end's own address space. */
    record VringAddress(
            int index, boolean log, long descriptors, long used, long available, long logAddress)
            implements Request {}

    /** SET_VRING_KICK, _CALL and _ERR: a vring's event descriptor, if one comes along. */
    record VringDescriptor(Type type, int index, boolean present) implements Request {}

    /** SET_MEM_TABLE: all shared memory, a descriptor each. */
    record MemoryTable(List<MemoryRegion> regions) implements Request {
        /** Copies the list. */
        public MemoryTable {
            regions = List.copyOf(regions);
        }
    }

    /** ADD_MEM_REG and REM_MEM_REG. */
    record MemoryRegionChange(Type type, MemoryRegion region) implements Request {}

    /** SET_LOG_BASE: the dirty log, with a descriptor. */
    record LogBase(long size, long offset) implements Request {}

    /** GET_CONFIG. */
    record GetConfig(int offset, int size, int flags) implements Request {}

    /** SET_CONFIG; the bytes are at most 256. */
    record SetConfig(int offset, int flags, byte[] bytes) implements Request {}

    /** GET_INFLIGHT_FD and SET_INFLIGHT_FD. */
    record InFlight(Type type, long size, long offset, int queues, int queueSize)
            implements Request {}

    /** A message that is not known here, or whose payload has not the size it must have. */
    record Unknown(int number, int size) implements Request {}

    /** "Memory region description". */
    record MemoryRegion(long guestAddress, long size, long userAddress, long mmapOffset) {}

    /** The numbers of the messages that are known here. */
    enum Type {
        GET_FEATURES(1),
        SET_FEATURES(2),
        SET_OWNER(3),
        RESET_OWNER(4),
        SET_MEM_TABLE(5),
        SET_LOG_BASE(6),
        SET_LOG_FD(7),
        SET_VRING_NUM(8),
        SET_VRING_ADDR(9),
        SET_VRING_BASE(10),
        GET_VRING_BASE(11),
        SET_VRING_KICK(12),
        SET_VRING_CALL(13),
        SET_VRING_ERR(14),
        GET_PROTOCOL_FEATURES(15),
        SET_PROTOCOL_FEATURES(16),
        GET_QUEUE_NUM(17),
        SET_VRING_ENABLE(18),
        SET_BACKEND_REQ_FD(21),
        GET_CONFIG(24),
        SET_CONFIG(25),
        GET_INFLIGHT_FD(31),
        SET_INFLIGHT_FD(32),
        RESET_DEVICE(34),
        GET_MAX_MEM_SLOTS(36),
        ADD_MEM_REG(37),
        REM_MEM_REG(38),
        SET_STATUS(39),
        GET_STATUS(40);

        final int number;

        Type(int number) {
            this.number = number;
        }
    }
}

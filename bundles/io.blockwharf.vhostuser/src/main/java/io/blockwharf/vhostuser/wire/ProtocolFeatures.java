package io.blockwharf.vhostuser.wire;

/** Bits of the vhost-user specification, "Protocol features". */
public final class ProtocolFeatures {
    /** Several queues. */
    public static final long MQ = 1L << 0;

    /** The dirty log comes as shared memory. */
    public static final long LOG_SHMFD = 1L << 1;

    /** Messages can be acknowledged. */
    public static final long REPLY_ACK = 1L << 3;

    /** The back end can send messages of its own. */
    public static final long BACKEND_REQ = 1L << 5;

    /** Configuration space messages. */
    public static final long CONFIG = 1L << 9;

    /** Buffers in flight are kept in shared memory. */
    public static final long INFLIGHT_SHMFD = 1L << 12;

    /** RESET_DEVICE. */
    public static final long RESET_DEVICE = 1L << 13;

    /** Memory regions come and go one by one. */
    public static final long CONFIGURE_MEM_SLOTS = 1L << 15;

    /** The device status is passed on. */
    public static final long STATUS = 1L << 16;

    /** All that is offered. */
    public static final long ALL =
            MQ
                    | LOG_SHMFD
                    | REPLY_ACK
                    | BACKEND_REQ
                    | CONFIG
                    | INFLIGHT_SHMFD
                    | RESET_DEVICE
                    | CONFIGURE_MEM_SLOTS
                    | STATUS;

    /** Virtio feature bit that stands for the negotiation of protocol features. */
    public static final long F_PROTOCOL_FEATURES = 1L << 30;

    /** Virtio feature bit that switches the dirty log on (VHOST_F_LOG_ALL). */
    public static final long F_LOG_ALL = 1L << 26;

    private ProtocolFeatures() {}
}

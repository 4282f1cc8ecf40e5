package io.blockwharf.fuse.wire;

/** What a request asks for: {@code enum fuse_opcode}. */
public enum Opcode {
    /** Find a name in a directory. */
    LOOKUP(1, 0, true),
    /** The kernel forgets a node. */
    FORGET(2, 8, false),
    /** {@code struct fuse_getattr_in}. */
    GETATTR(3, 16, true),
    /** {@code struct fuse_setattr_in}. */
    SETATTR(4, 88, true),
    /** {@code struct fuse_open_in}. */
    OPEN(14, 8, true),
    /** {@code struct fuse_read_in}. */
    READ(15, 40, true),
    /** {@code struct fuse_write_in}, then the data. */
    WRITE(16, 40, true),
    /** The state of the file system. */
    STATFS(17, 0, true),
    /** {@code struct fuse_release_in}: the last reference to an open file is gone. */
    RELEASE(18, 24, true),
    /** {@code struct fuse_fsync_in}. */
    FSYNC(20, 16, true),
    /** {@code struct fuse_flush_in}: a descriptor of an open file was closed. */
    FLUSH(25, 24, true),
    /** {@code struct fuse_init_in}; 16 bytes of it are always there. */
    INIT(26, 16, true),
    /** {@code struct fuse_interrupt_in}. */
    INTERRUPT(36, 8, false),
    /** The file system is gone. */
    DESTROY(38, 0, true),
    /** {@code struct fuse_poll_in}. */
    POLL(40, 24, true),
    /** {@code struct fuse_batch_forget_in}, then the nodes. */
    BATCH_FORGET(42, 8, false),
    /** {@code struct fuse_fallocate_in}. */
    FALLOCATE(43, 32, true),
    /** {@code struct fuse_lseek_in}. */
    LSEEK(46, 24, true),
    /** Any other number: a value, for which there is an answer. */
    UNKNOWN(-1, 0, true),
    /** Not a number at all, but a request that ends too early or contradicts itself. */
    INVALID(-2, 0, true);

    private static final Opcode[] BY_NUMBER = new Opcode[64];

    static {
        java.util.Arrays.fill(BY_NUMBER, UNKNOWN);
        for (Opcode opcode : values()) {
            if (opcode.number >= 0) {
                BY_NUMBER[opcode.number] = opcode;
            }
        }
    }

    private final int number;
    private final int argumentBytes;
    private final boolean answered;

    Opcode(int number, int argumentBytes, boolean answered) {
        this.number = number;
        this.argumentBytes = argumentBytes;
        this.answered = answered;
    }

    /** The operation of a number, {@link #UNKNOWN} for those that are not listed here. */
    public static Opcode of(int number) {
        return number >= 0 && number < BY_NUMBER.length ? BY_NUMBER[number] : UNKNOWN;
    }

    /** The number on the wire; negative for the two that have none. */
    public int number() {
        return number;
    }

    /** The size of the fixed part of the argument in bytes. */
    public int argumentBytes() {
        return argumentBytes;
    }

    /** Whether the kernel waits for a reply. */
    public boolean answered() {
        return answered;
    }
}

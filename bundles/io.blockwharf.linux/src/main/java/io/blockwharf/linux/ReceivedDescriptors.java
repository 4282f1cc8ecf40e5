package io.blockwharf.linux;

/**
 * The file descriptors that came with a message (SCM_RIGHTS, unix(7)). Whatever is not {@link #take
 * taken} is closed with this object or when the next message is received into it, so that a peer
 * cannot fill the descriptor table. Owned by the receiving thread.
 */
public final class ReceivedDescriptors implements AutoCloseable {
    /** Most descriptors that are accepted with one message; the kernel drops and closes others. */
    public static final int MAX = Scratch.MAX_DESCRIPTORS;

    private final int[] descriptors = new int[MAX];
    private int count;
    private boolean truncated;

    /** How many came, taken ones included. */
    public int count() {
        return count;
    }

    /** Whether more than {@link #MAX} were sent, or this process has no room for more. */
    public boolean truncated() {
        return truncated;
    }

    /**
     * The descriptor at {@code index}, which is closed with this object: use it before that.
     *
     * @throws IndexOutOfBoundsException if there is none
     * @throws IllegalStateException if it was taken before
     */
    public int get(int index) {
        int fd = descriptors[java.util.Objects.checkIndex(index, count)];
        if (fd < 0) {
            throw new IllegalStateException("the descriptor has been taken");
        }
        return fd;
    }

    /**
     * Hands over the descriptor at {@code index}: it is the caller's to close now.
     *
     * @throws IndexOutOfBoundsException if there is none
     * @throws IllegalStateException if it was taken before
     */
    public int take(int index) {
        int fd = get(index);
        descriptors[index] = -1;
        return fd;
    }

    /**
     * As {@link #take}, with an owner.
     *
     * @throws IndexOutOfBoundsException if there is none
     * @throws IllegalStateException if it was taken before
     */
    public Descriptor takeOwned(int index) {
        return new Descriptor(take(index));
    }

    /** Closes what was not taken. The object can be used for the next message. */
    @Override
    public void close() {
        for (int i = 0; i < count; i++) {
            if (descriptors[i] >= 0) {
                Libc.close(descriptors[i]);
            }
        }
        count = 0;
        truncated = false;
    }

    void add(int fd) {
        if (count == MAX) {
            Libc.close(fd);
            truncated = true;
        } else {
            descriptors[count++] = fd;
        }
    }

    void markTruncated() {
        truncated = true;
    }
}

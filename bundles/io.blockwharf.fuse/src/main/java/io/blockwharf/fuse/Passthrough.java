package io.blockwharf.fuse;

import static java.lang.foreign.ValueLayout.JAVA_INT;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.block.DirectAccess;
import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.LinuxException;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;

/**
 * The kernel reads and writes the image itself while the file is open (FOPEN_PASSTHROUGH).
 *
 * <p>The kernel wants all open files of a node to pass through to the same image, or none. So the
 * decision is made when the file is opened by its first user, and stands until the last one has
 * closed it. {@link #begin} and {@link #end} are called in turn.
 */
final class Passthrough {
    private static final long FUSE_DEV_IOC_BACKING_OPEN = 0x4010e501L;
    private static final long FUSE_DEV_IOC_BACKING_CLOSE = 0x4004e502L;

    private final BlockNode node;
    private final boolean writable;
    private final boolean growable;

    /** Null where it is switched off, not offered by the kernel, or not allowed. */
    private volatile CharDevice device;

    private volatile String unavailable;
    private volatile DirectAccess access;
    private volatile int backing;

    /**
     * For an export of {@code node}.
     *
     * @param unavailable why it cannot be had, empty if it can
     */
    Passthrough(
            BlockNode node,
            boolean writable,
            boolean growable,
            CharDevice device,
            String unavailable) {
        this.node = node;
        this.writable = writable;
        this.growable = growable;
        this.device = unavailable.isEmpty() ? device : null;
        this.unavailable = unavailable;
    }

    /**
     * The first user opens the file: tries to let the kernel do the work until the last is gone.
     */
    synchronized void begin() {
        CharDevice connection = device;
        if (connection == null) {
            return;
        }
        // Mappings of a file that is open for writing go to the image in any case.
        DirectAccess leave = node.directAccess(writable).orElse(null);
        if (leave == null) {
            return;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment map = arena.allocate(16, 8); // struct fuse_backing_map
            map.set(JAVA_INT, 0, leave.fd());
            backing = connection.ioctl(FUSE_DEV_IOC_BACKING_OPEN, map, "FUSE_DEV_IOC_BACKING_OPEN");
            access = leave;
        } catch (LinuxException e) {
            leave.close();
            unavailable = e.getMessage();
            device = null; // It will not be better next time.
        }
    }

    /** The last user has closed the file. */
    synchronized void end() {
        DirectAccess leave = access;
        if (leave == null) {
            return;
        }
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment id = arena.allocate(4, 4);
            id.set(JAVA_INT, 0, backing);
            device.ioctl(FUSE_DEV_IOC_BACKING_CLOSE, id, "FUSE_DEV_IOC_BACKING_CLOSE");
        } catch (LinuxException e) {
            // The connection has ended, and the kernel has let go of the file with it.
        }
        backing = 0;
        access = null;
        try {
            if (growable) {
                leave.sizeChanged();
            }
        } catch (BlockIoException e) {
            // Whoever needs the size next gets the error.
        }
        leave.close();
    }

    /** The kernel's number of the image, 0 if requests come to the daemon. */
    int backingId() {
        return backing;
    }

    boolean active() {
        return access != null;
    }

    /** Takes over the size of an image that the kernel may have extended. */
    synchronized void refreshSize() throws BlockIoException {
        DirectAccess leave = access;
        if (leave != null && growable && writable) {
            leave.sizeChanged();
        }
    }

    /** For people. */
    String state() {
        if (active()) {
            return "in use";
        }
        String reason = unavailable;
        return reason.isEmpty() ? "when the node allows it" : "no: " + reason;
    }
}

package io.blockwharf.vduse;

import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.vduse.wire.Ioctl;

import java.lang.foreign.MemorySegment;

/**
 * An open file of {@code /dev/vduse}: the kernel's, or a test's. Ioctls and writes may come from
 * any thread.
 */
interface DeviceFile extends AutoCloseable {
    /** Opens files of {@code /dev/vduse}. */
    @FunctionalInterface
    interface Opener {
        /** Opens a file by its path. */
        DeviceFile open(String path) throws LinuxException;
    }

    /** The descriptor, for poll(2). */
    int fd();

    /**
     * An ioctl.
     *
     * @param argument the structure, {@link MemorySegment#NULL} for none
     * @return the result, not negative
     */
    int ioctl(Ioctl request, MemorySegment argument) throws LinuxException;

    /** Reads one message if there is one. */
    boolean read(MemorySegment message) throws LinuxException;

    /** Writes one message. */
    void write(MemorySegment message) throws LinuxException;

    @Override
    void close();

    /** Opens a file of the kernel. */
    static DeviceFile open(String path) throws LinuxException {
        CharDevice device = CharDevice.open(path);
        try {
            device.blocking(false); // what poll(2) announced may have been taken back by a timeout
        } catch (LinuxException e) {
            device.close();
            throw e;
        }
        return new DeviceFile() {
            @Override
            public int fd() {
                return device.fd();
            }

            @Override
            public int ioctl(Ioctl request, MemorySegment argument) throws LinuxException {
                return argument.address() == 0
                        ? device.ioctl(request.number(), 0, request.name())
                        : device.ioctl(request.number(), argument, request.name());
            }

            @Override
            public boolean read(MemorySegment message) throws LinuxException {
                return device.read(message, 0, message.byteSize()) > 0;
            }

            @Override
            public void write(MemorySegment message) throws LinuxException {
                device.write(message, 0, message.byteSize());
            }

            @Override
            public void close() {
                device.close();
            }
        };
    }
}

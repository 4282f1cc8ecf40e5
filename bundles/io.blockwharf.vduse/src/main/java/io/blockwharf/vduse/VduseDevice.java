package io.blockwharf.vduse;

import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.HostFile;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.vduse.wire.ConfigData;
import io.blockwharf.vduse.wire.DeviceConfig;
import io.blockwharf.vduse.wire.Ioctl;
import io.blockwharf.vduse.wire.IotlbEntry;
import io.blockwharf.vduse.wire.Message;
import io.blockwharf.vduse.wire.QueueInfo;
import io.blockwharf.vduse.wire.QueueSetup;
import io.blockwharf.virtio.queue.GuestMemory;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.util.Optional;

/**
 * A device of the kernel, {@code /dev/vduse/NAME}, made by this process or taken over from one that
 * has died: kernel documentation, "VDUSE - vDPA Device in Userspace". May be used by any thread,
 * but for messages, which one thread reads and answers.
 */
final class VduseDevice implements AutoCloseable {
    private static final String DIRECTORY = "/dev/vduse/";
    private static final String CONTROL = DIRECTORY + "control";
    private static final long API_VERSION = 0;

    /** A piece of the driver's memory, mapped. */
    record Mapped(GuestMemory.Region region, MappedRegion mapping) {}

    private final DeviceFile.Opener opener;
    private final String name;
    private final DeviceFile file;
    private final boolean takenOver;
    private final Arena arena = Arena.ofShared();
    private final MemorySegment message = arena.allocate(Message.BYTES, 8);

    private VduseDevice(DeviceFile.Opener opener, String name, DeviceFile file, boolean takenOver) {
        this.opener = opener;
        this.name = name;
        this.file = file;
        this.takenOver = takenOver;
    }

    /**
     * Makes a device, or takes over the one of that name if it is attached and nobody serves it.
     * What is left of a process that has died before its device was attached is made anew.
     *
     * @param queueSize the most entries of a ring
     * @throws LinuxException with nothing left behind; EBUSY if another process has it
     */
    static VduseDevice claim(DeviceFile.Opener opener, DeviceConfig config, int queueSize)
            throws LinuxException {
        boolean takenOver;
        try (DeviceFile control = control(opener);
                Arena arena = Arena.ofConfined()) {
            MemorySegment description = config.encode(arena);
            takenOver = !create(control, description);
            if (takenOver && destroyed(control, config.name())) {
                takenOver = !create(control, description);
            }
        }
        VduseDevice device = null;
        try {
            device =
                    new VduseDevice(
                            opener,
                            config.name(),
                            opener.open(DIRECTORY + config.name()),
                            takenOver);
            if (takenOver) {
                device.check(config.queues());
            } else {
                device.setUp(config.queues(), queueSize);
            }
            return device;
        } catch (LinuxException e) {
            if (device != null) {
                device.close();
            }
            if (!takenOver) {
                destroy(opener, config.name());
            }
            throw e;
        }
    }

    private static DeviceFile control(DeviceFile.Opener opener) throws LinuxException {
        DeviceFile control = opener.open(CONTROL);
        try (Arena arena = Arena.ofConfined()) {
            MemorySegment version = arena.allocate(ValueLayout.JAVA_LONG);
            version.set(ValueLayout.JAVA_LONG, 0, API_VERSION);
            control.ioctl(Ioctl.VDUSE_SET_API_VERSION, version);
            return control;
        } catch (LinuxException e) {
            control.close();
            throw e;
        }
    }

    /** Whether it was made: false if there is one of that name. */
    private static boolean create(DeviceFile control, MemorySegment description)
            throws LinuxException {
        try {
            control.ioctl(Ioctl.VDUSE_CREATE_DEV, description);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errnos.EEXIST)) {
                return false;
            }
            throw e;
        }
    }

    /** Whether it is gone: not while it is attached to the vDPA bus, nor while somebody has it. */
    private static boolean destroyed(DeviceFile control, String name) throws LinuxException {
        try (Arena arena = Arena.ofConfined()) {
            control.ioctl(Ioctl.VDUSE_DESTROY_DEV, DeviceConfig.encodeName(arena, name));
            return true;
        } catch (LinuxException e) {
            if (e.is(Errnos.EBUSY)) {
                return false;
            }
            if (e.is(Errnos.EINVAL)) {
                return true; // somebody else was quicker
            }
            throw e;
        }
    }

    private static boolean destroy(DeviceFile.Opener opener, String name) {
        try (DeviceFile control = control(opener)) {
            return destroyed(control, name);
        } catch (LinuxException e) {
            return false;
        }
    }

    private void setUp(int queues, int queueSize) throws LinuxException {
        try (Arena own = Arena.ofConfined()) {
            for (int i = 0; i < queues; i++) {
                file.ioctl(Ioctl.VDUSE_VQ_SETUP, QueueSetup.encode(own, i, queueSize));
            }
        }
    }

    /** What is taken over must have as many queues: its driver uses them all. */
    private void check(int queues) throws LinuxException {
        try {
            queue(queues - 1, false);
        } catch (LinuxException e) {
            throw e.is(Errnos.EINVAL) ? otherQueues() : e;
        }
        try {
            queue(queues, false);
        } catch (LinuxException e) {
            if (e.is(Errnos.EINVAL)) {
                return;
            }
            throw e;
        }
        throw otherQueues();
    }

    private LinuxException otherQueues() {
        return new LinuxException(
                "'" + name + "' is attached with another number of queues", Errnos.EBUSY);
    }

    /** Whether a driver may be using it already. */
    boolean takenOver() {
        return takenOver;
    }

    /** Polls readable when there is a message. */
    int fd() {
        return file.fd();
    }

    /** The next message, if there is one. */
    Optional<Message> receive() throws LinuxException {
        return file.read(message) ? Optional.of(Message.decode(message)) : Optional.empty();
    }

    /** Answers a message. */
    void answer(Message request, boolean success) throws LinuxException {
        request.answer(message, success);
        file.write(message);
    }

    /** Answers with {@code Virtqueue.position()}. */
    void answer(Message.GetQueueState request, boolean packed, int position) throws LinuxException {
        Message.answerPosition(message, request, packed, position);
        file.write(message);
    }

    /** The features that the driver has accepted; 0 if it has not yet. */
    long features() throws LinuxException {
        try (Arena own = Arena.ofConfined()) {
            MemorySegment features = own.allocate(ValueLayout.JAVA_LONG);
            file.ioctl(Ioctl.VDUSE_DEV_GET_FEATURES, features);
            return features.get(ValueLayout.JAVA_LONG, 0);
        }
    }

    /** A virtqueue as the driver has set it up. */
    QueueInfo queue(int index, boolean packed) throws LinuxException {
        try (Arena own = Arena.ofConfined()) {
            MemorySegment info = QueueInfo.request(own, index);
            file.ioctl(Ioctl.VDUSE_VQ_GET_INFO, info);
            return QueueInfo.decode(info, packed);
        }
    }

    /** Has the driver's kicks of a queue signalled; those that nobody heard, too, at once. */
    void kick(int index, EventFd eventFd) throws LinuxException {
        try (Arena own = Arena.ofConfined()) {
            MemorySegment argument = own.allocate(ValueLayout.JAVA_INT, 2);
            argument.setAtIndex(ValueLayout.JAVA_INT, 0, index);
            argument.setAtIndex(ValueLayout.JAVA_INT, 1, eventFd.fd());
            file.ioctl(Ioctl.VDUSE_VQ_SETUP_KICKFD, argument);
        }
    }

    /** The argument of {@link #interrupt}, kept so that an interrupt allocates nothing. */
    MemorySegment interruptOf(int index) {
        MemorySegment argument = arena.allocate(ValueLayout.JAVA_INT);
        argument.set(ValueLayout.JAVA_INT, 0, index);
        return argument;
    }

    /**
     * Interrupts the driver for a queue.
     *
     * @return false if the driver is not running (yet): nobody was interrupted
     */
    boolean interrupt(MemorySegment queue) throws LinuxException {
        return interrupt(Ioctl.VDUSE_VQ_INJECT_IRQ, queue);
    }

    private boolean interrupt(Ioctl request, MemorySegment argument) throws LinuxException {
        try {
            file.ioctl(request, argument);
            return true;
        } catch (LinuxException e) {
            if (e.is(Errnos.EINVAL)) {
                return false;
            }
            throw e;
        }
    }

    /** Replaces the configuration space and tells the driver, if there is one. */
    void config(byte[] config) throws LinuxException {
        try (Arena own = Arena.ofConfined()) {
            file.ioctl(Ioctl.VDUSE_DEV_SET_CONFIG, ConfigData.encode(own, config));
        }
        interrupt(Ioctl.VDUSE_DEV_INJECT_CONFIG_IRQ, MemorySegment.NULL);
    }

    /** Maps the memory around one of the driver's addresses; empty if there is none. */
    Optional<Mapped> map(long address) throws LinuxException {
        IotlbEntry entry;
        HostFile memory;
        try (Arena own = Arena.ofConfined()) {
            MemorySegment argument = IotlbEntry.request(own, address);
            memory = HostFile.of(file.ioctl(Ioctl.VDUSE_IOTLB_GET_FD, argument));
            entry = IotlbEntry.decode(argument);
        } catch (LinuxException e) {
            if (e.is(Errnos.EINVAL)) {
                return Optional.empty();
            }
            throw e;
        }
        try (memory) {
            boolean writable = (entry.permission() & IotlbEntry.WRITE) != 0;
            MappedRegion mapping =
                    MappedRegion.map(
                            memory.fd(),
                            entry.offset(),
                            entry.last() - entry.start() + 1,
                            writable ? MappedRegion.Access.READ_WRITE : MappedRegion.Access.READ);
            return Optional.of(
                    new Mapped(
                            new GuestMemory.Region(entry.start(), mapping.segment(), writable),
                            mapping));
        }
    }

    /**
     * Lets go of the device and destroys it.
     *
     * @return false if it is attached: it stays, for a process that takes it over
     */
    boolean destroy() {
        close();
        return destroy(opener, name);
    }

    /** Lets go of the device. Idempotent; the driver waits until somebody takes it over. */
    @Override
    public void close() {
        file.close();
        if (arena.scope().isAlive()) {
            arena.close();
        }
    }
}

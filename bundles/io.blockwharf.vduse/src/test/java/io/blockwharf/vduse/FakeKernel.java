package io.blockwharf.vduse;

import static java.lang.foreign.ValueLayout.JAVA_BYTE;
import static java.lang.foreign.ValueLayout.JAVA_INT;
import static java.lang.foreign.ValueLayout.JAVA_LONG;
import static java.lang.foreign.ValueLayout.JAVA_SHORT;

import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.Errnos;
import io.blockwharf.linux.EventFd;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.linux.MemFd;
import io.blockwharf.vduse.wire.ConfigData;
import io.blockwharf.vduse.wire.DeviceConfig;
import io.blockwharf.vduse.wire.Ioctl;
import io.blockwharf.vduse.wire.IotlbEntry;
import io.blockwharf.vduse.wire.Message;
import io.blockwharf.vduse.wire.QueueInfo;
import io.blockwharf.vduse.wire.QueueSetup;
import io.blockwharf.virtio.queue.SharedMemory;
import io.blockwharf.virtio.queue.Virtqueue;

import java.io.UncheckedIOException;
import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.nio.charset.StandardCharsets;
import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Map;
import java.util.Queue;
import java.util.concurrent.CompletableFuture;

/**
 * The kernel's VDUSE module, as drivers/vdpa/vdpa_user of Linux 6.12 behaves, and the vDPA bus and
 * driver behind it. Its structures are written down here once more, from the header.
 */
final class FakeKernel implements DeviceFile.Opener {
    private static final long F_CONFIG_WCE = 1L << 11;
    private static final long F_ACCESS_PLATFORM = 1L << 33;

    final Map<String, Device> devices = new HashMap<>();

    /** A virtqueue, as the driver sets it up. */
    static final class Ring {
        int maxSize;
        int size;
        long descriptors;
        long driver;
        long device;
        int position;
        boolean ready;
        int kickFd = -1;
        boolean kicked;
        final EventFd interrupts = open();

        private static EventFd open() {
            try {
                return EventFd.open();
            } catch (LinuxException e) {
                throw new UncheckedIOException(e);
            }
        }

        /** The driver's kick, remembered if nobody listens. */
        void kick() throws LinuxException {
            if (kickFd < 0) {
                kicked = true;
            } else {
                EventFd.of(kickFd).signal(); // not ours to close
            }
        }
    }

    /** A device. */
    final class Device {
        final String name;
        final long features;
        final byte[] config;
        final Ring[] rings;
        final EventFd configInterrupts = EventFd.open();
        private final EventFd messages = EventFd.open();
        private final Queue<MemorySegment> pending = new ArrayDeque<>();
        private final Map<Integer, CompletableFuture<byte[]>> unanswered = new HashMap<>();
        MemFd memory;
        MappedRegion mapping;
        int permission = 3;
        boolean attached;
        boolean connected;
        long accepted;
        volatile int status;

        /** How many interrupts get lost because DRIVER_OK is not noted yet. */
        int early;

        private int nextId = 100;

        Device(String name, long features, byte[] config, int queues) throws LinuxException {
            this.name = name;
            this.features = features;
            this.config = config;
            rings = new Ring[queues];
            Arrays.setAll(rings, _ -> new Ring());
            newMemory();
        }

        /** The driver shares other memory, at {@link SharedMemory#BASE}. */
        void newMemory() throws LinuxException {
            memory = MemFd.create("driver", SharedMemory.BYTES);
            mapping = memory.map(SharedMemory.BYTES);
        }

        MemorySegment bytes() {
            return mapping.segment();
        }

        private synchronized CompletableFuture<byte[]> send(int type, long first, long second)
                throws LinuxException {
            MemorySegment message = Arena.ofAuto().allocate(Message.BYTES, 8);
            message.set(JAVA_INT, 0, type);
            message.set(JAVA_INT, 4, nextId);
            message.set(JAVA_LONG, 24, first);
            message.set(JAVA_LONG, 32, second);
            var answer = new CompletableFuture<byte[]>();
            unanswered.put(nextId++, answer);
            pending.add(message);
            messages.signal();
            return answer;
        }

        /** Sends a message and returns the body of its answer, if it was taken on. */
        byte[] ask(int type, long first, long second) throws Exception {
            byte[] answer = send(type, first, second).get();
            MemorySegment bytes = MemorySegment.ofArray(answer);
            boolean refused = bytes.get(JAVA_INT.withByteAlignment(1), 4) != 0;
            return refused ? null : Arrays.copyOfRange(answer, 24, answer.length);
        }

        /** The driver's new status; false if the device does not take it on. */
        boolean status(int value) throws Exception {
            boolean taken = ask(1, value, 0) != null;
            if (taken) {
                status = value;
                if (value == 0) {
                    for (Ring ring : rings) {
                        ring.ready = false; // vduse_dev_reset
                        ring.kicked = false;
                        ring.kickFd = -1;
                    }
                    accepted = 0;
                }
            }
            return taken;
        }

        /** Features negotiated, one ring where {@code FakeVirtqueue.Split} puts it, DRIVER_OK. */
        void start(int ring, int size, long features, long avail, long used) throws Exception {
            status(1);
            status(3);
            accepted = features | F_ACCESS_PLATFORM;
            status(11);
            Ring each = rings[ring];
            each.size = size;
            each.descriptors = SharedMemory.BASE;
            each.driver = SharedMemory.BASE + avail;
            each.device = SharedMemory.BASE + used;
            each.ready = true;
            status(15);
        }

        /** What a process that dies now leaves, as another kernel's. */
        Device copyInto(FakeKernel other) throws LinuxException {
            Device copy = other.new Device(name, features, config.clone(), rings.length);
            copy.bytes().copyFrom(bytes());
            copy.attached = true;
            copy.accepted = accepted;
            copy.status = status;
            for (int i = 0; i < rings.length; i++) {
                copy.rings[i].size = rings[i].size;
                copy.rings[i].descriptors = rings[i].descriptors;
                copy.rings[i].driver = rings[i].driver;
                copy.rings[i].device = rings[i].device;
                copy.rings[i].ready = rings[i].ready;
            }
            other.devices.put(name, copy);
            return copy;
        }

        private synchronized boolean next(MemorySegment into) throws LinuxException {
            MemorySegment message = pending.poll();
            if (message == null) {
                messages.clear();
                return false;
            }
            into.copyFrom(message);
            return true;
        }

        private synchronized void answered(MemorySegment message) {
            unanswered.remove(message.get(JAVA_INT, 0)).complete(message.toArray(JAVA_BYTE));
        }

        private int ioctl(Ioctl request, MemorySegment argument) throws LinuxException {
            switch (request) {
                case VDUSE_DEV_GET_FEATURES -> argument.set(JAVA_LONG, 0, accepted);
                case VDUSE_DEV_SET_CONFIG -> {
                    int offset = argument.get(JAVA_INT, ConfigData.OFFSET);
                    int length = argument.get(JAVA_INT, ConfigData.LENGTH);
                    demand(length > 0 && offset + length <= config.length);
                    MemorySegment.copy(argument, JAVA_BYTE, 8, config, offset, length);
                }
                case VDUSE_DEV_INJECT_CONFIG_IRQ -> {
                    demand((status & 4) != 0);
                    configInterrupts.signal();
                }
                case VDUSE_VQ_SETUP ->
                        ring(argument).maxSize = argument.get(JAVA_SHORT, QueueSetup.MAX_SIZE);
                case VDUSE_VQ_GET_INFO -> {
                    Ring ring = ring(argument);
                    argument.set(JAVA_INT, QueueInfo.NUM, ring.size);
                    argument.set(JAVA_LONG, QueueInfo.DESC_ADDR, ring.descriptors);
                    argument.set(JAVA_LONG, QueueInfo.DRIVER_ADDR, ring.driver);
                    argument.set(JAVA_LONG, QueueInfo.DEVICE_ADDR, ring.device);
                    if ((accepted & Virtqueue.F_RING_PACKED) != 0) {
                        argument.set(JAVA_SHORT, QueueInfo.STATE, (short) 1);
                        argument.set(JAVA_SHORT, QueueInfo.STATE + 2, (short) 0);
                        argument.set(JAVA_SHORT, QueueInfo.STATE + 4, (short) 1);
                        argument.set(JAVA_SHORT, QueueInfo.STATE + 6, (short) 0);
                    } else {
                        argument.set(JAVA_SHORT, QueueInfo.STATE, (short) ring.position);
                    }
                    argument.set(JAVA_BYTE, QueueInfo.READY, (byte) (ring.ready ? 1 : 0));
                }
                case VDUSE_VQ_SETUP_KICKFD -> {
                    Ring ring = ring(argument);
                    ring.kickFd = argument.get(JAVA_INT, 4);
                    if (ring.ready && ring.kicked) {
                        ring.kicked = false;
                        ring.kick();
                    }
                }
                case VDUSE_VQ_INJECT_IRQ -> {
                    synchronized (this) {
                        demand(early-- <= 0);
                    }
                    ring(argument).interrupts.signal();
                }
                case VDUSE_IOTLB_GET_FD -> {
                    long start = argument.get(JAVA_LONG, IotlbEntry.START);
                    demand(start >= SharedMemory.BASE && start < SharedMemory.SECOND);
                    argument.set(JAVA_LONG, IotlbEntry.OFFSET, 0);
                    argument.set(JAVA_LONG, IotlbEntry.START, SharedMemory.BASE);
                    argument.set(JAVA_LONG, IotlbEntry.LAST, SharedMemory.SECOND - 1);
                    argument.set(JAVA_BYTE, IotlbEntry.PERM, (byte) permission);
                    return CharDevice.open("/proc/self/fd/" + memory.fd()).release();
                }
                default -> throw new LinuxException(request.name(), Errnos.ENOTTY);
            }
            return 0;
        }

        private Ring ring(MemorySegment argument) throws LinuxException {
            int index = argument.get(JAVA_INT, 0);
            demand(index >= 0 && index < rings.length);
            return rings[index];
        }
    }

    private static void demand(boolean condition) throws LinuxException {
        if (!condition) {
            throw new LinuxException("fake", Errnos.EINVAL);
        }
    }

    private int control(Ioctl request, MemorySegment argument) throws LinuxException {
        switch (request) {
            case VDUSE_SET_API_VERSION -> demand(argument.get(JAVA_LONG, 0) == 0);
            case VDUSE_CREATE_DEV -> {
                String name = argument.getString(0, StandardCharsets.UTF_8);
                if (devices.containsKey(name)) {
                    throw new LinuxException("VDUSE_CREATE_DEV", Errnos.EEXIST);
                }
                long features = argument.get(JAVA_LONG, DeviceConfig.FEATURES);
                int size = argument.get(JAVA_INT, DeviceConfig.CONFIG_SIZE);
                // vduse_validate_config
                demand(argument.get(JAVA_INT, DeviceConfig.DEVICE_ID) == 2);
                demand((features & F_ACCESS_PLATFORM) != 0 && (features & F_CONFIG_WCE) == 0);
                demand(size <= 4096 && argument.get(JAVA_INT, DeviceConfig.VQ_ALIGN) <= 4096);
                for (int i = 280; i < 332; i++) {
                    demand(argument.get(JAVA_BYTE, i) == 0);
                }
                byte[] config = argument.asSlice(336, size).toArray(JAVA_BYTE);
                int queues = argument.get(JAVA_INT, DeviceConfig.VQ_NUM);
                devices.put(name, new Device(name, features, config, queues));
            }
            case VDUSE_DESTROY_DEV -> {
                Device device = devices.get(argument.getString(0, StandardCharsets.UTF_8));
                demand(device != null);
                if (device.attached || device.connected) {
                    throw new LinuxException("VDUSE_DESTROY_DEV", Errnos.EBUSY);
                }
                devices.remove(device.name);
            }
            default -> throw new LinuxException(request.name(), Errnos.ENOTTY);
        }
        return 0;
    }

    @Override
    public DeviceFile open(String path) throws LinuxException {
        if (path.equals("/dev/vduse/control")) {
            return new File(null);
        }
        Device device = devices.get(path.substring("/dev/vduse/".length()));
        if (device == null || device.connected) {
            throw new LinuxException(
                    "Failed to open " + path, device == null ? Errnos.ENOENT : Errnos.EBUSY);
        }
        device.connected = true;
        return new File(device);
    }

    /** An open file; without a device it is the control file. */
    private final class File implements DeviceFile {
        private final Device device;

        File(Device device) {
            this.device = device;
        }

        @Override
        public int fd() {
            return device.messages.fd();
        }

        @Override
        public int ioctl(Ioctl request, MemorySegment argument) throws LinuxException {
            return device == null ? control(request, argument) : device.ioctl(request, argument);
        }

        @Override
        public boolean read(MemorySegment message) throws LinuxException {
            return device.next(message);
        }

        @Override
        public void write(MemorySegment message) {
            device.answered(message);
        }

        @Override
        public void close() {
            if (device != null) {
                device.connected = false;
                for (Ring ring : device.rings) {
                    ring.kickFd = -1;
                }
            }
        }
    }
}

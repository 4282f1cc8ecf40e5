package io.blockwharf.core.config;

import io.blockwharf.linux.CharDevice;
import io.blockwharf.linux.FdSocket;
import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MemFd;
import io.blockwharf.linux.ReceivedDescriptors;

import java.lang.foreign.Arena;
import java.lang.foreign.MemorySegment;
import java.util.List;

/**
 * Something of the host that an export type cannot do without.
 *
 * @param condition the switch, and the id of the Condition service
 * @param exportType the type that depends on it
 * @param name of the facility, for people
 * @param probe tries it
 */
record Facility(String condition, String exportType, String name, Probe probe) {
    /** Tries a facility of the host. */
    interface Probe {
        /** Leaves nothing behind; throws if the facility is not there. */
        void run() throws LinuxException;
    }

    /** The facilities that QEMU knows as switches of its build. */
    static final List<Facility> ALL =
            List.of(
                    device("CONFIG_FUSE", "fuse", "/dev/fuse"),
                    new Facility(
                            "CONFIG_VHOST_USER_BLK_SERVER",
                            "vhost-user-blk",
                            "passing a memfd over a local socket",
                            Facility::passMemory),
                    device("CONFIG_VDUSE_BLK_EXPORT", "vduse-blk", "/dev/vduse/control"));

    private static Facility device(String condition, String exportType, String path) {
        return new Facility(condition, exportType, path, () -> CharDevice.open(path).close());
    }

    /** What a vhost-user front end does first: vhost-user, "Communication". */
    private static void passMemory() throws LinuxException {
        FdSocket[] ends = FdSocket.pair();
        try (FdSocket sender = ends[0];
                FdSocket receiver = ends[1];
                MemFd memory = MemFd.create("blockwharf-probe", 1);
                ReceivedDescriptors received = new ReceivedDescriptors();
                Arena arena = Arena.ofConfined()) {
            MemorySegment message = arena.allocate(1);
            sender.sendWithDescriptors(message, 0, 1, memory.fd());
            receiver.receiveWithDescriptors(message, 0, 1, FdSocket.DONT_WAIT, received);
        }
    }
}

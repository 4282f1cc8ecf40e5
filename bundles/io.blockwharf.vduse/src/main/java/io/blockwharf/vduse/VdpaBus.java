package io.blockwharf.vduse;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;

/**
 * The kernel's vDPA bus, to which {@code vdpa dev add} attaches a device, as sysfs shows it.
 *
 * @param root {@code /sys/bus/vdpa}
 */
record VdpaBus(Path root) {
    /** The one of this host. */
    static final VdpaBus HOST = new VdpaBus(Path.of("/sys/bus/vdpa"));

    /** Whether a device is attached, be it used or not. */
    boolean attached(String name) {
        return Files.exists(root.resolve("devices").resolve(name), LinkOption.NOFOLLOW_LINKS);
    }

    /** Whether the kernel itself uses a device, as a disk. */
    boolean isDisk(String name) {
        return Files.exists(disks().resolve(name), LinkOption.NOFOLLOW_LINKS);
    }

    /**
     * Unplugs the disk that is made of a device: whoever uses it gets I/O errors from then on.
     * Returns when the kernel has written back what it had cached and let go of the device, which
     * has to be served meanwhile.
     */
    void unplug(String name) throws IOException {
        Files.writeString(disks().resolve("unbind"), name);
    }

    private Path disks() {
        return root.resolve("drivers/virtio_vdpa");
    }
}

package io.blockwharf.it.guest;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.nio.file.Path;
import java.util.List;

/**
 * The daemon inside a guest whose kernel has VDUSE and the NBD client. One boot for all: under
 * emulation Java takes longer to start than all that is proven.
 */
@Timeout(1000)
class VduseGuestIT {
    private static final int LIMIT_SECONDS = 900;

    /** What {@code vduse-life.sh} proves, in its order. */
    private static final List<String> PROVEN =
            List.of(
                    "ok daemon started without VDUSE",
                    "ok the type comes with the module, without a restart",
                    "ok disk with two queues",
                    "ok verified I/O on two queues, ext4, flush, fsck",
                    "ok discard",
                    "ok resize",
                    "ok removal: safe refused, hard under a mounted file system, then vdpa dev del",
                    "ok vdpa dev del first, then safe removal",
                    "ok kernel NBD client: verified I/O, ext4, disconnect, reconnect",
                    "ok daemon killed under load, device taken over, all data verified",
                    "ok daemon ended");

    @Test
    void aKernelLivesOnItsDisks() throws Exception {
        Path image = Guest.image();
        try (var guest = Guest.withDaemon(image, "vduse-life.sh", LIMIT_SECONDS)) {
            assertEquals(
                    PROVEN,
                    guest.succeeds()
                            .lines()
                            .filter(line -> line.startsWith("ok "))
                            .map(line -> line.substring(0, line.lastIndexOf(" (")))
                            .toList());
        }
    }
}

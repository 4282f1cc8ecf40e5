package io.blockwharf.it.guest;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

import java.util.List;

/** NBD over vsock, in a guest: few hosts have the kernel's loopback. */
@Timeout(500)
class VsockGuestIT {
    private static final int LIMIT_SECONDS = 400;

    @Test
    void clientsAreServedOverVsock() throws Exception {
        try (var guest = Guest.withDaemon(Guest.image(), "vsock.sh", LIMIT_SECONDS)) {
            assertEquals(
                    List.of("SIZES", "WRITTEN", "READ", "ENDED"),
                    guest.succeeds().lines().filter(line -> line.matches("[A-Z]+")).toList());
        }
    }
}

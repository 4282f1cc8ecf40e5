package io.blockwharf.vduse;

import io.blockwharf.linux.LinuxException;
import io.blockwharf.virtio.queue.GuestMemory;

import org.osgi.service.log.Logger;

import java.util.ArrayList;
import java.util.List;

/**
 * The driver's memory as far as it was used: pieces are mapped when a queue first meets an address
 * in them, and forgotten when the kernel says that they have changed. Looked up by all queues at
 * once; changed while none is running.
 */
final class IovaMap implements AutoCloseable {
    /** More than a driver has: the kernel has one piece, a virtual machine a few hundred. */
    private static final int MAX_PIECES = 4096;

    private final VduseDevice device;
    private final Logger log;

    /** Replaced, never changed: read without the lock. */
    private volatile List<VduseDevice.Mapped> pieces = List.of();

    IovaMap(VduseDevice device, Logger log) {
        this.device = device;
        this.log = log;
    }

    /** How one queue sees the memory, until it changes. */
    GuestMemory view() {
        return new GuestMemory() {
            @Override
            protected Region find(long address) {
                return IovaMap.this.find(address);
            }
        };
    }

    private GuestMemory.Region find(long address) {
        GuestMemory.Region known = lookUp(address);
        return known != GuestMemory.Region.NONE ? known : map(address);
    }

    private GuestMemory.Region lookUp(long address) {
        List<VduseDevice.Mapped> all = pieces;
        for (int i = 0; i < all.size(); i++) {
            GuestMemory.Region region = all.get(i).region();
            if (Long.compareUnsigned(address - region.address(), region.bytes().byteSize()) < 0) {
                return region;
            }
        }
        return GuestMemory.Region.NONE;
    }

    private synchronized GuestMemory.Region map(long address) {
        GuestMemory.Region known = lookUp(address); // another queue may have been quicker
        if (known != GuestMemory.Region.NONE || pieces.size() == MAX_PIECES) {
            return known;
        }
        try {
            return device.map(address)
                    .map(
                            piece -> {
                                var all = new ArrayList<>(pieces);
                                all.add(piece);
                                pieces = List.copyOf(all);
                                return piece.region();
                            })
                    .orElse(GuestMemory.Region.NONE);
        } catch (LinuxException e) {
            log.debug("address 0x{}: {}", Long.toHexString(address), e.getMessage());
            return GuestMemory.Region.NONE;
        }
    }

    /** Forgets what overlaps with the addresses from one to another, both included and unsigned. */
    synchronized void forget(long start, long last) {
        var rest = new ArrayList<VduseDevice.Mapped>();
        var gone = new ArrayList<VduseDevice.Mapped>();
        for (VduseDevice.Mapped piece : pieces) {
            long first = piece.region().address();
            long end = first + piece.region().bytes().byteSize() - 1;
            boolean overlaps =
                    Long.compareUnsigned(first, last) <= 0 && Long.compareUnsigned(start, end) <= 0;
            (overlaps ? gone : rest).add(piece);
        }
        pieces = List.copyOf(rest);
        gone.forEach(piece -> piece.mapping().close());
    }

    /** How many pieces are mapped. */
    int size() {
        return pieces.size();
    }

    /** Forgets everything. Idempotent. */
    @Override
    public void close() {
        forget(0, -1);
    }
}

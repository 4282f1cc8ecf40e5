package io.blockwharf.vhostuser;

import io.blockwharf.linux.LinuxException;
import io.blockwharf.linux.MappedRegion;
import io.blockwharf.vhostuser.wire.Request.MemoryRegion;
import io.blockwharf.virtio.queue.GuestMemory;

import java.util.ArrayList;
import java.util.List;
import java.util.OptionalLong;

/**
 * The memory that the front end shares, mapped. An immutable snapshot: a change makes a new one,
 * and what is not in it any more is unmapped when no vring uses it.
 */
final class MemoryTable {
    /** More regions than any front end has: QEMU stops at 509. */
    static final int MAX_SLOTS = 1024;

    /**
     * The most bytes of all regions. A process has 128 TiB of addresses, and memory that is not
     * there yet costs whoever shares it nothing: without a limit one front end could leave none for
     * the others and for the daemon itself.
     */
    static final long MAX_BYTES = 8L << 40;

    static final MemoryTable EMPTY = new MemoryTable(List.of());

    private record Slot(MemoryRegion place, MappedRegion mapping) {}

    private final List<Slot> slots;

    private MemoryTable(List<Slot> slots) {
        this.slots = List.copyOf(slots);
    }

    /**
     * This table and one more region.
     *
     * @param fd of the memory; stays the caller's
     */
    MemoryTable with(MemoryRegion place, int fd) throws LinuxException {
        if (slots.size() == MAX_SLOTS) {
            throw new IllegalArgumentException("more than " + MAX_SLOTS + " memory regions");
        }
        long mapped = slots.stream().mapToLong(s -> s.place.size()).sum();
        if (place.size() > MAX_BYTES - mapped) {
            throw new IllegalArgumentException("more than " + MAX_BYTES + " bytes of memory");
        }
        // Neither address range may wrap around, nor overlap with another region's.
        if (place.size() <= 0
                || wraps(place.guestAddress(), place.size())
                || wraps(place.userAddress(), place.size())
                || slots.stream().anyMatch(s -> overlap(s.place, place))) {
            throw new IllegalArgumentException("memory region " + place + " overlaps or wraps");
        }
        var all = new ArrayList<>(slots);
        all.add(
                new Slot(
                        place,
                        MappedRegion.mapReceived(
                                fd,
                                place.mmapOffset(),
                                place.size(),
                                MappedRegion.Access.READ_WRITE)));
        return new MemoryTable(all);
    }

    private static boolean wraps(long address, long size) {
        return Long.compareUnsigned(address + size - 1, address) < 0;
    }

    private static boolean overlap(MemoryRegion a, MemoryRegion b) {
        return Long.compareUnsigned(a.guestAddress() - b.guestAddress(), b.size()) < 0
                || Long.compareUnsigned(b.guestAddress() - a.guestAddress(), a.size()) < 0;
    }

    /** This table without a region; "REM_MEM_REG": the offset and descriptor are ignored. */
    MemoryTable without(MemoryRegion place) {
        var rest = slots.stream().filter(s -> !samePlace(s.place, place)).toList();
        if (rest.size() == slots.size()) {
            throw new IllegalArgumentException("there is no memory region " + place);
        }
        return new MemoryTable(rest);
    }

    private static boolean samePlace(MemoryRegion a, MemoryRegion b) {
        return a.guestAddress() == b.guestAddress()
                && a.userAddress() == b.userAddress()
                && a.size() == b.size();
    }

    /** Unmaps what is not in another table. No vring may use this table any more. */
    void retire(MemoryTable successor) {
        for (Slot slot : slots) {
            if (!successor.slots.contains(slot)) {
                slot.mapping.close();
            }
        }
    }

    /** The guest's address of an address in the front end's own address space. */
    OptionalLong guestAddress(long userAddress) {
        return slots.stream()
                .map(Slot::place)
                .filter(p -> Long.compareUnsigned(userAddress - p.userAddress(), p.size()) < 0)
                .mapToLong(p -> userAddress - p.userAddress() + p.guestAddress())
                .findFirst();
    }

    /** How one vring's thread sees the memory. */
    GuestMemory view() {
        var regions =
                slots.stream()
                        .map(
                                s ->
                                        new GuestMemory.Region(
                                                s.place.guestAddress(), s.mapping.segment(), true))
                        .sorted((a, b) -> Long.compareUnsigned(a.address(), b.address()))
                        .toArray(GuestMemory.Region[]::new);
        return new GuestMemory() {
            @Override
            protected Region find(long address) {
                int low = 0;
                int high = regions.length; // the first region behind the address is in low..high
                while (low < high) {
                    int middle = (low + high) >>> 1;
                    if (Long.compareUnsigned(regions[middle].address(), address) <= 0) {
                        low = middle + 1;
                    } else {
                        high = middle;
                    }
                }
                return low > 0 && regions[low - 1].contains(address)
                        ? regions[low - 1]
                        : Region.NONE;
            }
        };
    }
}

package io.blockwharf.virtio.queue;

import io.blockwharf.api.block.IoVector;

import java.lang.foreign.MemorySegment;

/**
 * The memory that a driver shares with the device, as the driver addresses it: guest-physical
 * addresses of vhost-user, I/O virtual addresses of VDUSE.
 *
 * <p>An instance is used by one thread at a time. A range counts as shared only if every byte of it
 * is; it may span several regions. The segments stay mapped for as long as a queue uses them.
 */
public abstract class GuestMemory {
    /**
     * A run of shared memory.
     *
     * @param address the driver's address of the first byte
     * @param bytes the memory as this process sees it
     * @param writable whether the device may write to it
     */
    public record Region(long address, MemorySegment bytes, boolean writable) {
        /** No memory: what is found where nothing is shared. */
        public static final Region NONE = new Region(0, MemorySegment.NULL, false);

        /** Whether an address lies in it. */
        public boolean contains(long position) {
            return Long.compareUnsigned(position - address, bytes.byteSize()) < 0;
        }

        /** Whether all of a range lies in it; {@code length} is not negative. */
        boolean contains(long position, long length) {
            return contains(position) && length <= bytes.byteSize() - (position - address);
        }
    }

    private Region last = Region.NONE;

    /** The region that contains an address, {@link Region#NONE} if it is not shared. */
    protected abstract Region find(long address);

    /** Forgets what was looked up, after the regions have changed. */
    protected final void forget() {
        last = Region.NONE;
    }

    /**
     * Appends a range of shared memory to a list of buffers.
     *
     * @param write whether the device is going to write to it
     * @return false, with part of the range appended, if the range is not shared for that purpose
     *     or the list is full
     */
    public final boolean append(long address, long length, boolean write, IoVector to) {
        // Nearly always: all of it where the one before was
        if (length > 0 && last.contains(address, length)) {
            return append(last, address, length, write, to);
        }
        long position = address;
        long rest = length;
        while (rest > 0) {
            Region region = region(position);
            long n = Math.min(rest, region.bytes.byteSize() - (position - region.address));
            if (region == Region.NONE || !append(region, position, n, write, to)) {
                return false;
            }
            position += n;
            rest -= n;
        }
        return true;
    }

    private static boolean append(
            Region region, long address, long length, boolean write, IoVector to) {
        if (write && !region.writable || to.count() == to.capacity()) {
            return false;
        }
        to.add(region.bytes, address - region.address, length);
        return true;
    }

    /**
     * A range of shared memory in one piece, as rings need it.
     *
     * @param what its name in the message
     * @param alignment of the driver's address and of ours, a power of two
     * @throws VirtqueueException if the range is not shared, spans regions, or is misaligned
     */
    public final MemorySegment slice(
            String what, long address, long length, int alignment, boolean write)
            throws VirtqueueException {
        Region region = region(what, address, length);
        if (write && !region.writable) {
            throw notShared(what, address);
        }
        MemorySegment bytes = region.bytes.asSlice(address - region.address, length);
        // Ours too: a region may begin anywhere in a file
        if (((address | bytes.address()) & (alignment - 1)) != 0) {
            throw new VirtqueueException(
                    what + " at 0x" + Long.toHexString(address) + " is misaligned");
        }
        return bytes;
    }

    /**
     * The region that contains all of a range.
     *
     * @param what the range's name in the message
     * @throws VirtqueueException if the range is not shared or spans regions
     */
    final Region region(String what, long address, long length) throws VirtqueueException {
        Region region = region(address);
        if (!region.contains(address, length)) {
            throw notShared(what, address);
        }
        return region;
    }

    private static VirtqueueException notShared(String what, long address) {
        return new VirtqueueException(
                what + " at 0x" + Long.toHexString(address) + " is not in shared memory");
    }

    private Region region(long address) {
        Region region = last;
        if (!region.contains(address)) {
            region = find(address);
            last = region;
        }
        return region;
    }
}

package io.blockwharf.virtio.blk;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockNode;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.virtio.queue.Virtqueue;

import java.lang.foreign.MemorySegment;
import java.lang.foreign.ValueLayout;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;

/**
 * A virtio-blk device: what it offers and how large it is. Shared by all queues of an export and
 * immutable, except that the node's size may change, that the driver decides about the node's write
 * cache, and that it may be told to {@link #refuse}.
 *
 * <p>The write cache is on if the driver can flush it ({@link #negotiated}), unless it has switched
 * it off ({@link #setWriteback}) or the node was given with its cache off: nothing that a driver
 * does turns that on. One thread at a time calls the methods that change the cache, the one that
 * speaks with the transport's other side; requests may be under way, and each of them finds the
 * cache on or off.
 */
public final class VirtioBlk {
    /** The device's number, section 5.2.1. */
    public static final int DEVICE_ID = 2;

    /** The unit of all addresses on the wire in bytes, section 5.2.4. */
    public static final int SECTOR_BYTES = 512;

    /** Feature bits of section 5.2.3. */
    public static final long F_SIZE_MAX = 1L << 1;

    /** See section 5.2.3. */
    public static final long F_SEG_MAX = 1L << 2;

    /** See section 5.2.3. */
    public static final long F_RO = 1L << 5;

    /** See section 5.2.3. */
    public static final long F_BLK_SIZE = 1L << 6;

    /** See section 5.2.3. */
    public static final long F_FLUSH = 1L << 9;

    /** See section 5.2.3. */
    public static final long F_TOPOLOGY = 1L << 10;

    /** See section 5.2.3. */
    public static final long F_CONFIG_WCE = 1L << 11;

    /** See section 5.2.3. */
    public static final long F_MQ = 1L << 12;

    /** See section 5.2.3. */
    public static final long F_DISCARD = 1L << 13;

    /** See section 5.2.3. */
    public static final long F_WRITE_ZEROES = 1L << 14;

    /** The size of {@code struct virtio_blk_config} up to write_zeroes, section 5.2.4. */
    public static final int CONFIG_BYTES = 60;

    /** Where {@code seg_max} lies, four bytes. */
    public static final int CONFIG_SEG_MAX = 12;

    /** Where {@code writeback} lies, the only field that a driver may write. */
    public static final int CONFIG_WRITEBACK = 32;

    /** The most bytes of a segment: whole pages of what fits a number with sign. */
    public static final int SIZE_MAX = Integer.MAX_VALUE & -4096;

    /** The most data segments of a request. */
    public static final int SEG_MAX = 126;

    /** The most segments of a discard or write-zeroes request. */
    public static final int RANGE_SEGMENTS = 32;

    /** The most sectors of one segment of a discard or write-zeroes request. */
    public static final int RANGE_SECTORS = Integer.MAX_VALUE / SECTOR_BYTES;

    /** The length of the answer to GET_ID, section 5.2.6. */
    public static final int ID_BYTES = 20;

    private static final int MAX_BLOCK_BYTES = 2 << 20;

    /** What tells whether a driver counts on a write cache, section 5.2.5.1. */
    private static final long CACHE_FEATURES = F_FLUSH | F_CONFIG_WCE;

    private static final ValueLayout.OfShort U16 =
            ValueLayout.JAVA_SHORT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfInt U32 =
            ValueLayout.JAVA_INT_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);
    private static final ValueLayout.OfLong U64 =
            ValueLayout.JAVA_LONG_UNALIGNED.withOrder(ByteOrder.LITTLE_ENDIAN);

    private final BlockNode node;
    private final boolean writable;
    private final int blockSize;
    private final int queues;
    private final byte[] id;

    /** Whether the node came with its write cache on: without it no driver gets one. */
    private final boolean cached;

    private volatile boolean refusing;

    /** What the requests of all its queues take of {@link RequestBudget}. */
    final RequestBudget.Share requests = RequestBudget.OF_THE_PROCESS.share();

    // Of the thread that speaks with the other side
    private long cacheFeatures = CACHE_FEATURES;
    private boolean writeback = true;

    /**
     * The block size that an export's option {@code logical-block-size} asks for.
     *
     * @throws QmpException if it is not a power of two from 512 to 2 MiB
     */
    public static int logicalBlockSize(Optional<Long> option) {
        long size = option.filter(value -> value != 0).orElse((long) SECTOR_BYTES);
        if (size < SECTOR_BYTES || size > MAX_BLOCK_BYTES || Long.bitCount(size) != 1) {
            throw QmpException.generic(
                    "parameter logical-block-size must be a power of 2 between %d and %d",
                    SECTOR_BYTES, MAX_BLOCK_BYTES);
        }
        return (int) size;
    }

    /**
     * How many queues an export's option {@code num-queues} asks for.
     *
     * @throws QmpException if that is none
     */
    public static int queueCount(Optional<Integer> option) {
        int queues = option.orElse(1);
        if (queues == 0) {
            throw QmpException.generic("num-queues must be greater than 0");
        }
        return queues;
    }

    /**
     * A device.
     *
     * @param node what it stores its data in; stays the caller's, but its write cache is the
     *     device's business from now on
     * @param writable whether the driver may write
     * @param blockSize the logical block size in bytes, a power of two from 512 to 2 MiB
     * @param queues how many request queues there are, 1 to 65535
     * @param serial the answer to GET_ID; what exceeds {@value #ID_BYTES} bytes is cut off
     */
    public VirtioBlk(BlockNode node, boolean writable, int blockSize, int queues, String serial) {
        this.node = node;
        this.writable = writable;
        this.blockSize = blockSize;
        this.queues = queues;
        this.id = Arrays.copyOf(serial.getBytes(StandardCharsets.UTF_8), ID_BYTES);
        this.cached = node.writeCache();
    }

    /** The node. */
    public BlockNode node() {
        return node;
    }

    /** Whether the driver may write. */
    public boolean writable() {
        return writable;
    }

    /** The logical block size in bytes. */
    public int blockSize() {
        return blockSize;
    }

    /** The answer to GET_ID. */
    MemorySegment id() {
        return MemorySegment.ofArray(id);
    }

    /** The size that the driver sees, in sectors: whole logical blocks. */
    public long capacity() {
        return (node.length() & -(long) blockSize) / SECTOR_BYTES;
    }

    /** The feature bits that the device and its queues offer. */
    public long features() {
        return F_SIZE_MAX
                | F_SEG_MAX
                | F_BLK_SIZE
                | F_FLUSH
                | F_TOPOLOGY
                | F_CONFIG_WCE
                | (queues > 1 ? F_MQ : 0)
                | (writable ? F_DISCARD | F_WRITE_ZEROES : F_RO)
                | Virtqueue.F_VERSION_1
                | Virtqueue.F_INDIRECT_DESC
                | Virtqueue.F_EVENT_IDX
                | Virtqueue.F_RING_PACKED;
    }

    /** The configuration space as it is now, {@value #CONFIG_BYTES} bytes, section 5.2.4. */
    public byte[] config() {
        var bytes = new byte[CONFIG_BYTES];
        var config = MemorySegment.ofArray(bytes);
        config.set(U64, 0, capacity());
        config.set(U32, 8, SIZE_MAX);
        config.set(U32, CONFIG_SEG_MAX, SEG_MAX);
        config.set(U32, 20, blockSize);
        int physical = Math.max(blockSize, node.limits().requestAlignment());
        config.set(
                ValueLayout.JAVA_BYTE,
                24,
                (byte) Integer.numberOfTrailingZeros(physical / blockSize));
        config.set(U16, 26, (short) 1); // min_io_size, in blocks
        config.set(U32, 28, Math.max(1, node.limits().optimalTransfer() / blockSize));
        config.set(ValueLayout.JAVA_BYTE, CONFIG_WRITEBACK, (byte) (node.writeCache() ? 1 : 0));
        config.set(U16, 34, (short) queues);
        if (writable) {
            int alignment = Math.max(blockSize, node.limits().discardAlignment()) / SECTOR_BYTES;
            config.set(U32, 36, RANGE_SECTORS);
            config.set(U32, 40, RANGE_SEGMENTS);
            config.set(U32, 44, alignment);
            config.set(U32, 48, RANGE_SECTORS);
            config.set(U32, 52, RANGE_SEGMENTS);
            config.set(ValueLayout.JAVA_BYTE, 56, (byte) 1); // write_zeroes_may_unmap
        }
        return bytes;
    }

    /** From now on every request fails. From any thread. */
    public void refuse() {
        refusing = true;
    }

    /** Whether requests fail. */
    boolean refusing() {
        return refusing;
    }

    /**
     * The driver has accepted these features; those of other layers among them are ignored. A
     * driver without F_FLUSH may take it that what is written is on stable storage (sections
     * 5.2.5.1 and 5.2.6.2), so there is no write cache for it. The same features once more change
     * nothing.
     */
    public void negotiated(long features) {
        cacheFeatures = features & CACHE_FEATURES;
        switchCache();
    }

    /**
     * The device is reset: until a driver has negotiated, the configuration space shows what it
     * will find if it accepts all features. What was written to {@code writeback} stays, as section
     * 5.2.5 allows: front ends keep a copy of that field, which they neither drop at a reset, nor
     * tell us of again when all they did was to pause their guest.
     */
    public void reset() {
        negotiated(CACHE_FEATURES);
    }

    /**
     * Carries out a write of the driver to {@code writeback}, section 5.2.5. When the cache is
     * switched off, what it holds is flushed: a driver flushes no more from then on.
     *
     * @throws BlockIoException if that flush fails; the cache is as it was
     */
    public void setWriteback(boolean on) throws BlockIoException {
        boolean before = writeback;
        boolean cache = node.writeCache();
        writeback = on;
        switchCache();
        if (writable && cache && !node.writeCache()) {
            try {
                node.flush();
            } catch (BlockIoException e) {
                writeback = before;
                switchCache();
                throw e;
            }
        }
    }

    /** What was written to {@code writeback} last; true if nothing was. */
    public boolean writeback() {
        return writeback;
    }

    /** Another driver, which knows nothing of this one, finds the device as it was at first. */
    public void forgetDriver() {
        writeback = true;
        reset();
    }

    private void switchCache() {
        boolean flushes = (cacheFeatures & F_FLUSH) != 0;
        boolean switches = (cacheFeatures & F_CONFIG_WCE) != 0;
        // 5.2.5.2: with F_CONFIG_WCE alone writeback is 0 at first; here it stays so
        boolean on = cached && flushes && (writeback || !switches);
        if (on != node.writeCache()) {
            node.writeCache(on);
        }
    }
}

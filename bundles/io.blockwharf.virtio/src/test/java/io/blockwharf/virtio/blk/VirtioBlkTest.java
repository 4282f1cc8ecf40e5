package io.blockwharf.virtio.blk;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.blockwharf.api.block.BlockIoException;
import io.blockwharf.api.block.BlockLimits;
import io.blockwharf.api.block.Errno;
import io.blockwharf.api.qmp.QmpException;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import java.util.Optional;

/** VIRTIO 1.3 sections 5.2.3 to 5.2.5: features, configuration space and write cache. */
class VirtioBlkTest {
    private static final long DISK = (1 << 20) + 512;

    /** Bits of section 5.2.3 and of chapter 6, by their numbers there. */
    private static long bits(int... numbers) {
        long all = 0;
        for (int number : numbers) {
            all |= 1L << number;
        }
        return all;
    }

    private final MemoryNode node = new MemoryNode(DISK);

    private VirtioBlk device(boolean writable, int blockSize, int queues) {
        return new VirtioBlk(node, writable, blockSize, queues, "");
    }

    @Test
    void featuresFollowTheDevice() {
        // SIZE_MAX, SEG_MAX, BLK_SIZE, FLUSH, TOPOLOGY, CONFIG_WCE; INDIRECT_DESC, EVENT_IDX,
        // VERSION_1, RING_PACKED
        long always = bits(1, 2, 6, 9, 10, 11, 28, 29, 32, 34);
        long ranges = bits(13, 14); // DISCARD, WRITE_ZEROES
        assertEquals(always | ranges, device(true, 512, 1).features());
        assertEquals(always | ranges | bits(12), device(true, 512, 4).features(), "MQ");
        assertEquals(always | bits(5), device(false, 512, 1).features(), "RO");
    }

    /** Every field by its offset in {@code struct virtio_blk_config}. */
    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    capacity                 |  0 | 8 |       2049 |       2048 | 2049
                    size_max                 |  8 | 4 | 2147479552 | 2147479552 | 2147479552
                    seg_max                  | 12 | 4 |        126 |        126 | 126
                    blk_size                 | 20 | 4 |        512 |       4096 | 512
                    physical_block_exp       | 24 | 1 |          3 |          0 | 3
                    alignment_offset         | 25 | 1 |          0 |          0 | 0
                    min_io_size              | 26 | 2 |          1 |          1 | 1
                    opt_io_size              | 28 | 4 |        128 |         16 | 128
                    writeback                | 32 | 1 |          1 |          1 | 1
                    num_queues               | 34 | 2 |          4 |          4 | 4
                    max_discard_sectors      | 36 | 4 |    4194303 |    4194303 | 0
                    max_discard_seg          | 40 | 4 |         32 |         32 | 0
                    discard_sector_alignment | 44 | 4 |          2 |          8 | 0
                    max_write_zeroes_sectors | 48 | 4 |    4194303 |    4194303 | 0
                    max_write_zeroes_seg     | 52 | 4 |         32 |         32 | 0
                    write_zeroes_may_unmap   | 56 | 1 |          1 |          1 | 0
                    """)
    void theConfigurationIsThatOfTheDevice(
            String field, int offset, int length, long writable, long largeBlocks, long readOnly) {
        node.limits = new BlockLimits(4096, 1, 65536, 1 << 30, 1024);
        assertEquals(writable, field(device(true, 512, 4), offset, length));
        assertEquals(largeBlocks, field(device(true, 4096, 4), offset, length));
        assertEquals(readOnly, field(device(false, 512, 4), offset, length));
    }

    private static long field(VirtioBlk device, int offset, int length) {
        byte[] config = device.config();
        assertEquals(60, config.length);
        var bytes = ByteBuffer.wrap(config).order(ByteOrder.LITTLE_ENDIAN);
        return switch (length) {
            case 1 -> bytes.get(offset);
            case 2 -> bytes.getShort(offset);
            case 4 -> bytes.getInt(offset);
            default -> bytes.getLong(offset);
        };
    }

    /**
     * Sections 5.2.5.1, 5.2.5.2 and 5.2.6.2, and the other order: front ends pass a driver's write
     * to {@code writeback} on before they tell its features.
     */
    @ParameterizedTest(name = "FLUSH {0}, CONFIG_WCE {1}, writeback {2}")
    @CsvSource(
            delimiter = '|',
            textBlock =
                    """
                    false | false |       | false
                    true  | false |       | true
                    false | true  |       | false
                    true  | true  |       | true
                    true  | true  | false | false
                    true  | true  | true  | true
                    true  | false | false | true
                    false | true  | true  | false
                    """)
    void theWriteCacheIsWhatTheDriverCountsOn(
            boolean flush, boolean configWce, Boolean writeback, boolean cache)
            throws BlockIoException {
        // VERSION_1 and vhost-user's PROTOCOL_FEATURES besides
        long features = bits(32, 30) | (flush ? bits(9) : 0) | (configWce ? bits(11) : 0);
        VirtioBlk device = device(true, 512, 1);
        for (boolean first : new boolean[] {true, false}) {
            if (first) {
                device.negotiated(features);
            }
            if (writeback != null) {
                device.setWriteback(writeback);
            }
            if (!first) {
                device.negotiated(features);
            }
            assertEquals(cache, node.writeCache());
            assertEquals(cache ? 1 : 0, field(device, 32, 1), "writeback");
            device.forgetDriver();
            assertTrue(node.writeCache());
        }
    }

    @ParameterizedTest
    @ValueSource(booleans = {false, true})
    void aWriteCacheThatIsOffStaysOff(boolean flush) throws BlockIoException {
        node.writeCache(false);
        VirtioBlk device = device(true, 512, 1);
        assertEquals(0, field(device, 32, 1), "writeback");
        device.negotiated(flush ? bits(32, 9, 11) : bits(32));
        device.setWriteback(true);
        device.reset();
        device.forgetDriver();
        assertFalse(node.writeCache());
        assertEquals(0, field(device, 32, 1), "writeback");
        assertEquals(1, node.cacheSwitches, "by this test only");
    }

    @Test
    void theSameFeaturesOnceMoreChangeNothing() throws BlockIoException {
        VirtioBlk device = device(true, 512, 1);
        device.negotiated(bits(32));
        assertEquals(1, node.cacheSwitches);
        device.negotiated(bits(32, 26)); // LOG_ALL
        device.negotiated(bits(32));
        assertEquals(1, node.cacheSwitches);
    }

    /** A reset ends what was negotiated; front ends keep their copy of the field. */
    @Test
    void aResetKeepsWritebackOnly() throws BlockIoException {
        VirtioBlk device = device(true, 512, 1);
        device.negotiated(bits(32));
        device.reset();
        assertTrue(node.writeCache());
        device.negotiated(bits(32, 9, 11));
        device.setWriteback(false);
        device.reset();
        assertFalse(node.writeCache());
        device.negotiated(bits(32, 9, 11));
        assertFalse(node.writeCache());
        device.forgetDriver();
        assertTrue(node.writeCache());
    }

    @Test
    void whatIsCachedIsFlushedWhenTheCacheIsSwitchedOff() throws BlockIoException {
        VirtioBlk device = device(true, 512, 1);
        device.setWriteback(true);
        assertEquals(List.of(), node.calls);
        node.failure = Errno.EIO;
        assertThrows(BlockIoException.class, () -> device.setWriteback(false));
        assertTrue(node.writeCache() && device.writeback(), "the driver still has to flush");
        node.failure = Errno.OK;
        device.setWriteback(false);
        device.setWriteback(false);
        assertEquals(List.of("flush"), node.calls);
        assertFalse(node.writeCache());
        assertFalse(device.writeback());
    }

    /** Words of qemu-storage-daemon 10. */
    @ParameterizedTest
    @ValueSource(longs = {1, 511, 513, 1536, 4 << 20, Long.MAX_VALUE, Long.MIN_VALUE})
    void aBlockSizeIsAPowerOfTwoInItsRange(long size) {
        assertEquals(
                "parameter logical-block-size must be a power of 2 between 512 and 2097152",
                assertThrows(
                                QmpException.class,
                                () -> VirtioBlk.logicalBlockSize(Optional.of(size)))
                        .getMessage());
    }

    @Test
    void optionsHaveDefaults() {
        assertEquals(512, VirtioBlk.logicalBlockSize(Optional.empty()));
        assertEquals(512, VirtioBlk.logicalBlockSize(Optional.of(0L)), "as QEMU's");
        assertEquals(2 << 20, VirtioBlk.logicalBlockSize(Optional.of(2L << 20)));
        assertEquals(1, VirtioBlk.queueCount(Optional.empty()));
        assertEquals(65535, VirtioBlk.queueCount(Optional.of(65535)));
        assertEquals(
                "num-queues must be greater than 0",
                assertThrows(QmpException.class, () -> VirtioBlk.queueCount(Optional.of(0)))
                        .getMessage());
    }
}
